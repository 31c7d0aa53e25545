"""The command line's contract for bad input: one message, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sam_ui.cli import main
from tests.unit.fakes import make_pool


class Command:
    """Runs ``sam-ui …`` in this process and keeps what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["sam-ui", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = self._capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 1), printed.out, printed.err


@pytest.fixture
def sam(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    make_pool(tmp_path / "pool")
    monkeypatch.setenv("SAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SAM_POOL_DIR", str(tmp_path / "pool"))
    monkeypatch.setenv("COLUMNS", "200")
    return Command(monkeypatch, capsys)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"text": "Ada met Grace."}) + "\n", "utf-8")
    return path


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_bad_corpora(sam: Command, tmp_path: Path) -> None:
    bad = {
        tmp_path / "missing.txt": "missing.txt",
        write(tmp_path / "empty.txt", b""): "empty",
        write(tmp_path / "blank.txt", b"  \n \n"): "blank.txt",
        write(tmp_path / "image.txt", bytes(range(256)) * 40): "image.txt",
        write(tmp_path / "broken.jsonl", b'{"text": "a"\n'): "line 1|Line 1",
        write(tmp_path / "long.txt", b"word " * 10_400_000): "long.txt",
        tmp_path: "folder",
    }
    for path, message in bad.items():
        out = tmp_path / "out.jsonl"
        code, printed, error = sam("predict", path, "--types", "person", "--out", out)
        assert code == 2, path
        assert printed == ""
        assert any(part in error for part in message.split("|")), error
        assert "Traceback" not in error
        assert not out.exists()
        code, printed, error = sam("match", path, "--types", "person", "--json")
        assert (code, printed) == (2, "")


@pytest.mark.parametrize(
    ("types", "message"),
    [("", "type"), (" , ", "type"), ("a\nb", "line break"), ("x" * 300, "long|200")],
)
def test_bad_types(sam: Command, corpus: Path, tmp_path: Path, types: str, message: str) -> None:
    code, _, error = sam("predict", corpus, "--types", types, "--out", tmp_path / "out.jsonl")
    assert code == 2
    assert any(part in error.lower() for part in message.split("|"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "--out", "m"], "which experts"),
        (["merge", "--expert", "astro", "--out", "m"], "NAME=WEIGHT"),
        (["merge", "--expert", "astro=nan", "--out", "m"], "NAME=WEIGHT"),
        (["merge", "--expert", "astro=1", "--expert", "astro=2", "--out", "m"], "twice"),
        (["merge", "--expert", "asto=1", "--out", "m"], "Did you mean astro"),
        (["merge", "--expert", "astro=1", "--method", "magic", "--out", "m"], "magic"),
        (["merge", "--expert", "astro=1", "--method", "ties", "--param", "density=7", "--out", "m"],
         "density"),
        (["merge", "--expert", "astro=1", "--param", "speed=7", "--out", "m"], "speed"),
        (["merge", "--from", "missing.json", "--out", "m"], "missing.json"),
        (["experts", "show", "asto"], "Did you mean astro"),
        (["experts", "add", "missing.zip"], "missing.zip"),
        (["experts", "remove", "astro"], "came with SaM"),
        (["experts", "train", "missing.toml"], "missing.toml"),
        (["evaluate", "missing.jsonl", "missing.jsonl"], "missing.jsonl"),
    ],
)  # fmt: skip
def test_bad_arguments(
    sam: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed, error = sam(*arguments)
    assert code == 2
    assert printed == ""
    assert message in error
    assert not (tmp_path / "m").exists()


def test_adapters_exclude_each_other(sam: Command, corpus: Path, tmp_path: Path) -> None:
    code, _, error = sam(
        "predict", corpus, "--types", "a", "--auto", "--expert", "astro", "--out", tmp_path / "o"
    )
    assert code == 2
    assert "exclude each other" in error


def test_an_output_folder_that_is_taken_is_refused(sam: Command, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine", "utf-8")
    code, _, error = sam("merge", "--expert", "astro=1", "--out", tmp_path / "taken")
    assert code == 2
    assert "not empty" in error
    assert (tmp_path / "taken" / "file").read_text("utf-8") == "mine"


def test_a_bad_setting_is_named(sam: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_PORT", "many")
    code, _, error = sam("experts", "list")
    assert code == 2
    assert "SAM_PORT" in error


def test_experts_list_show_add_remove(
    sam: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experts.base.linear_shapes", lambda *_, **__: {"model.q_proj": (4, 6)})
    code, printed, _ = sam("experts", "list", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(printed)] == ["astro", "lake", "law"]
    code, printed, _ = sam("experts", "show", "law", "--json")
    assert json.loads(printed)["title"] == "Court decisions"
    moved = tmp_path / "outside" / "law"
    shutil.move(tmp_path / "pool" / "law", moved)
    assert sam("experts", "add", moved)[0] == 0
    assert "Court decisions" in sam("experts", "list")[1]
    assert json.loads(sam("experts", "remove", "law", "--json")[1]) == {"removed": "law"}
    assert "law" not in sam("experts", "list")[1]


def test_merging_writes_an_adapter_and_its_recipe(sam: Command, tmp_path: Path) -> None:
    match = {"recommended": {"single": {"astro": 0.5, "lake": 0.5}, "similarity": {}, "probe": {}}}
    (tmp_path / "match.json").write_text(json.dumps(match), "utf-8")
    out = tmp_path / "merged"
    code, printed, error = sam("merge", "--from", tmp_path / "match.json", "--out", out, "--json")
    assert code == 0, error
    document = json.loads(printed)
    assert document["retained_energy"] == pytest.approx(1.0)
    assert {e["name"]: e["weight"] for e in document["recipe"]["experts"]} == {
        "astro": 0.5,
        "lake": 0.5,
    }
    assert {"adapter_config.json", "adapter_model.safetensors", "recipe.json"} <= {
        p.name for p in out.iterdir()
    }
    code, _, error = sam(
        "merge", "--from", tmp_path / "match.json", "--criterion", "probe", "--out", tmp_path / "x"
    )
    assert code == 2
    assert "recommends no experts by probe" in error


def test_evaluate_scores_predictions(sam: Command, tmp_path: Path) -> None:
    def lines(entities: Sequence[dict[str, object]]) -> str:
        return json.dumps({"text": "Ada met Grace.", "entities": entities}) + "\n"

    ada = {"start": 0, "end": 3, "label": "person"}
    grace = {"start": 8, "end": 13, "label": "person"}
    (tmp_path / "gold.jsonl").write_text(lines([ada, grace]), "utf-8")
    (tmp_path / "pred.jsonl").write_text(lines([{**ada, "score": 0.5}]), "utf-8")
    code, printed, _ = sam("evaluate", tmp_path / "gold.jsonl", tmp_path / "pred.jsonl", "--json")
    assert code == 0
    assert json.loads(printed)["micro"]["f1"] == pytest.approx(2 / 3)
    code, printed, _ = sam("evaluate", tmp_path / "gold.jsonl", tmp_path / "pred.jsonl")
    assert "all (micro)" in printed


def test_methods_are_listed(sam: Command) -> None:
    keys = {row["key"] for row in json.loads(sam("methods", "--json")[1])}
    assert {"linear", "ties"} <= keys


def test_help_answers_without_loading_models() -> None:
    code = (
        "import sys; from sam_ui.cli import app; app(['--help'], standalone_mode=False);"
        "sys.exit(sum(m in sys.modules for m in ('torch', 'gradio', 'transformers')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "merge" in done.stdout
