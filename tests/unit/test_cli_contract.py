"""The command line as another program uses it: one JSON document, one line a record, no traceback."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sam_ui.cli_output import fail_politely, print_json
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine
from tests.unit.test_cli import Command, sam, write  # noqa: F401 (a fixture)


@pytest.fixture
def engine(sam: Command, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:  # noqa: F811
    settings = Settings()
    fake = FakeEngine(settings, open_pool(settings))
    monkeypatch.setattr("sam_ui.cli._engine", lambda: fake)
    return fake


@pytest.fixture
def run(sam: Command, engine: FakeEngine) -> Any:  # noqa: F811
    return sam


def jsonl(*records: dict[str, object], end: str = "\n") -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + end for r in records).encode()


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


TEXTS = [
    "Ada met Grace.",
    "",
    "Ada met Grace.",
    " 😀 Grace\r\nI\u2028x ",
    "\u0645\u0631 Ada",
    "e\u0301 Ada",
]


@pytest.mark.parametrize("name", ["c.jsonl", "c.ndjson", "c.json", "c.jl", "c.txt", "c"])
def test_predictions_go_line_by_line_whatever_the_ending(
    run: Any, tmp_path: Path, name: str
) -> None:
    corpus = write(tmp_path / name, jsonl(*({"text": t} for t in TEXTS), end="\r\n"))
    code, printed, error = run(
        "predict", corpus, "--types", "person", "--out", tmp_path / "out", "--json"
    )
    assert code == 0, error
    assert json.loads(printed)["texts"] == len(TEXTS)
    rows = read_jsonl(tmp_path / "out")
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        for entity in row["entities"]:
            assert set(entity) == {"start", "end", "label", "score"}
            assert row["text"][entity["start"]].isupper()


def test_tables_and_conll_give_their_sentences(run: Any, tmp_path: Path) -> None:
    table = write(tmp_path / "c.csv", b"id,text\n1,Ada met Grace.\n2,Bob left.\n")
    tagged = write(tmp_path / "c.conll", b"Ada B-PER\nleft O\n\n")
    for corpus, texts in ((table, ["Ada met Grace.", "Bob left."]), (tagged, ["Ada left"])):
        assert run("predict", corpus, "--types", "a", "--out", tmp_path / "o")[0] == 0
        assert [row["text"] for row in read_jsonl(tmp_path / "o")] == texts
    code, printed, error = run(
        "predict", table, "--types", "a", "--column", "body", "--out", tmp_path / "o2", "--json"
    )
    assert (code, printed) == (2, "")
    assert "“text”" in error


def test_the_corpus_is_never_overwritten(run: Any, tmp_path: Path) -> None:
    corpus = write(tmp_path / "c.jsonl", jsonl({"text": "Ada"}))
    (tmp_path / "link.jsonl").symlink_to(corpus)
    for out in (corpus, tmp_path / "link.jsonl"):
        code, _, error = run("predict", corpus, "--types", "a", "--out", out)
        assert code == 2
        assert "is the corpus itself" in error
    assert corpus.read_bytes() == jsonl({"text": "Ada"})


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    run: Any, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write(tmp_path / "c.jsonl", jsonl({"text": "Ada"}))
    monkeypatch.setattr(os, "access", lambda *_: False)
    for arguments in (
        ("predict", corpus, "--types", "a", "--out", tmp_path / "o"),
        ("merge", "--expert", "astro=1", "--out", tmp_path / "m"),
    ):
        code, printed, error = run(*arguments, "--json")
        assert (code, printed) == (2, "")
        assert str(tmp_path) in error
    assert not engine.entered.is_set()
    monkeypatch.undo()
    code, _, error = run("merge", "--expert", "astro=1", "--out", corpus / "below")
    assert code == 2


def test_gold_needs_entities(run: Any, tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.jsonl", jsonl({"text": "Ada met Bob."}))
    for command in (("match", bare), ("predict", bare, "--out", tmp_path / "o")):
        code, printed, error = run(*command, "--types", "person", "--gold", "--json")
        assert (code, printed) == (2, "")
        assert "says nothing about its entities" in error


def test_gold_scores_only_the_texts_that_somebody_has_labelled(run: Any, tmp_path: Path) -> None:
    ada = {"start": 0, "end": 3, "label": "person"}
    corpus = write(
        tmp_path / "c.jsonl",
        jsonl({"text": "Ada left.", "entities": [ada]}, {"text": "Bob left."}),
    )
    _, printed, _ = run(
        "predict", corpus, "--types", "person", "--gold", "--out", tmp_path / "o", "--json"
    )
    assert json.loads(printed)["f1"] == 1.0
    _, printed, _ = run("predict", corpus, "--types", "person", "--out", tmp_path / "o", "--json")
    assert json.loads(printed)["f1"] is None


@pytest.mark.parametrize("damage", ["nothing", "no folder", "weights", "configuration"])
def test_adapters_are_checked_before_the_base_model_is_loaded(
    run: Any, engine: FakeEngine, tmp_path: Path, damage: str
) -> None:
    corpus = write(tmp_path / "c.jsonl", jsonl({"text": "Ada"}))
    folder = tmp_path / "adapter"
    if damage == "nothing":
        folder.mkdir()
    elif damage != "no folder":
        shutil.copytree(tmp_path / "pool" / "law", folder)
        name = "adapter_config.json" if damage == "configuration" else "adapter_model.safetensors"
        write(folder / name, b"{" * 100)
    code, printed, error = run(
        "predict", corpus, "--types", "a", "--adapter", folder, "--out", tmp_path / "o", "--json"
    )
    assert (code, printed) == (2, "")
    assert "'adapter'" in error
    assert not engine.entered.is_set()


@pytest.mark.parametrize("content", ["[" * 100_000, '{"recommended": {"single": {"astro": NaN}}}'])
def test_a_match_file_that_is_none(run: Any, tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "m.json", content.encode())
    code, _, error = run("merge", "--from", path, "--out", tmp_path / "m")
    assert code == 2
    assert "is not the output of" in error
    assert run("merge", "--from", tmp_path, "--out", tmp_path / "m")[0] == 2
    assert run("merge", "--expert", "astro=inf", "--out", tmp_path / "m")[0] == 2


def test_damaged_and_locked_archives(run: Any, tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "pool" / "law").iterdir():
            archive.write(file, file.name)
    damaged = bytearray(whole.read_bytes())
    damaged[200:260] = bytes(byte ^ 255 for byte in damaged[200:260])
    locked = bytearray(whole.read_bytes())
    locked[6] |= 1
    locked[locked.find(b"PK\x01\x02") + 8] |= 1
    for content in (damaged, locked):
        code, printed, error = run("experts", "add", write(tmp_path / "x.zip", bytes(content)))
        assert (code, printed) == (2, "")
        assert "x.zip" in error
    assert not list((tmp_path / "data" / "experts").glob("*"))


def test_every_document_is_valid_json_when_there_is_nothing(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_POOL_DIR", str(tmp_path / "nothing"))
    assert json.loads(run("experts", "list", "--json")[1]) == []
    empty = write(tmp_path / "e.jsonl", jsonl({"text": "a", "entities": []}))
    assert json.loads(run("evaluate", empty, empty, "--json")[1])["micro"]["f1"] == 0.0
    blank = write(tmp_path / "b.jsonl", jsonl({"text": ""}))
    printed = run("predict", blank, "--types", "a", "--out", tmp_path / "o", "--json")[1]
    assert json.loads(printed)["entities"] == 0
    assert read_jsonl(tmp_path / "o") == [{"text": "", "entities": []}]


def test_different_numbers_of_texts(run: Any, tmp_path: Path) -> None:
    one = write(tmp_path / "1.jsonl", jsonl({"text": "a", "entities": []}))
    two = write(tmp_path / "2.jsonl", jsonl(*[{"text": "a", "entities": []}] * 2))
    code, printed, error = run("evaluate", one, two, "--json")
    assert (code, printed) == (2, "")
    assert "1.jsonl has 1 texts and 2.jsonl has 2" in error


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_fits_any_terminal(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    print_json({"corpus": "/x/\udcff.txt", "type": "Übung 😀"})
    sys.stdout.flush()
    assert json.loads(raw.getvalue()) == {"corpus": "/x/\udcff.txt", "type": "Übung 😀"}


def test_numbers_that_json_does_not_have_are_never_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fail_politely(lambda: print_json({"f1": float("nan")})) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RuntimeError("mat1 and mat2\nare odd"), 1, "RuntimeError: mat1 and mat2"),
        (MemoryError(), 1, "not enough memory"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (KeyboardInterrupt(), 130, "Stopped"),
    ],
)
def test_the_unexpected_is_one_message(
    run: Any, engine: FakeEngine, tmp_path: Path, error: Any, code: int, message: str
) -> None:
    engine.error = error
    corpus = write(tmp_path / "c.jsonl", jsonl({"text": "Ada"}))
    stopped, printed, said = run("predict", corpus, "--types", "a", "--out", tmp_path / "o")
    assert (stopped, printed) == (code, "")
    assert "Traceback" not in said
    assert message in said or code == 130
    assert not (tmp_path / "o").exists()
