"""`sam-ui convert`: what it writes, what it refuses, what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experts.export.formats import formats
from tests.unit.test_cli import Command, sam, write  # noqa: F401 (a fixture)

GOLD = {"text": "😀 Ada met Bo.", "entities": [{"start": 2, "end": 5, "label": "a person"}]}
FOUND = {
    "text": "Bo left.",
    "entities": [{"start": 0, "end": 2, "label": "a person", "score": 0.5}],
}


def jsonl(*rows: dict[str, object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("key", [fmt.key for fmt in formats()])
def test_there_and_back(sam: Command, tmp_path: Path, key: str) -> None:  # noqa: F811
    source = write(tmp_path / "in.jsonl", jsonl(GOLD))
    ending = next(fmt.ending for fmt in formats() if fmt.key == key)
    code, printed, error = sam("convert", source, "--to", key, "--out", tmp_path / f"x{ending}")
    assert (code, error) == (0, "")
    assert printed.startswith("Wrote 1 texts with 1 entities to ")
    code, printed, error = sam(
        "convert", tmp_path / f"x{ending}", "--to", "jsonl", "--out", tmp_path / "o", "--json"
    )
    assert code == 0, error
    assert json.loads(printed) | {"notes": [], "from": ""} == {
        "out": str(tmp_path / "o"), "from": "", "to": "jsonl", "texts": 1, "entities": 1,
        "lost": [], "notes": [],
    }  # fmt: skip
    (line,) = (tmp_path / "o").read_text("utf-8").splitlines()
    back = json.loads(line)
    assert back["text"] == GOLD["text"]
    assert [(e["start"], e["end"]) for e in back["entities"]] == [(2, 5)]


def test_what_would_be_lost_is_said_before_anything_is_written(
    sam: Command,  # noqa: F811
    tmp_path: Path,
) -> None:
    inside = {"text": "unhappy", "entities": [{"start": 2, "end": 7, "label": "mood"}]}
    source = write(tmp_path / "in.jsonl", jsonl(GOLD, inside))
    arguments = ("convert", source, "--to", "conll", "--out", tmp_path / "x.conll")
    code, printed, error = sam(*arguments, "--json")
    assert (code, printed) == (2, "")
    assert "1 entity begins or ends inside a word and is left out" in error
    assert "--lossy" in error
    assert not (tmp_path / "x.conll").exists()
    code, printed, error = sam(*arguments, "--lossy", "--json")
    assert code == 0
    assert json.loads(printed)["lost"] == ["1 entity begins or ends inside a word and is left out"]
    assert "Note: 1 entity begins or ends" in error
    assert (tmp_path / "x.conll").is_file()


def test_a_file_of_predictions_stays_one(sam: Command, tmp_path: Path) -> None:  # noqa: F811
    source = write(tmp_path / "in.jsonl", jsonl(FOUND, {"text": "Rain.", "entities": []}))
    assert sam("convert", source, "--to", "label-studio", "--out", tmp_path / "t.json")[0] == 0
    tasks = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert [task.keys() - {"data"} for task in tasks] == [{"predictions"}, {"predictions"}]
    assert (
        sam("convert", tmp_path / "t.json", "--to", "jsonl", "--out", tmp_path / "o.jsonl")[0] == 0
    )
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text("utf-8").splitlines()]
    assert [row["entities"] for row in rows] == [FOUND["entities"], []]
    assert [row["reviewed"] for row in rows] == [False, False]
    mixed = write(tmp_path / "mixed.jsonl", jsonl(FOUND, GOLD))
    assert sam("convert", mixed, "--to", "label-studio", "--out", tmp_path / "m.json")[0] == 0
    tasks = json.loads((tmp_path / "m.json").read_text("utf-8"))
    assert [task.keys() - {"data"} for task in tasks] == [{"annotations"}, {"annotations"}]


def test_mistakes_are_named(sam: Command, tmp_path: Path) -> None:  # noqa: F811
    source = write(tmp_path / "in.jsonl", jsonl(GOLD))
    bare = write(tmp_path / "bare.txt", b"Ada met Bo.")
    bad = write(tmp_path / "bad.jsonl", jsonl(GOLD, {"text": "x", "entities": [[0, 9, "p"]]}))
    for arguments, message in [
        ((source, "--to", "xml", "--out", tmp_path / "o"), "There is no format “xml”"),
        ((bare, "--to", "conll", "--out", tmp_path / "o"), "says nothing about its entities"),
        ((bad, "--to", "conll", "--out", tmp_path / "o"), "line 2 of bad.jsonl"),
        ((tmp_path / "none", "--to", "conll", "--out", tmp_path / "o"), "There is no file"),
        ((source, "--to", "jsonl", "--out", source), "is the input itself"),
        ((source, "--to", "jsonl", "--out", tmp_path / "a" / "b"), "cannot be written"),
    ]:
        code, printed, error = sam("convert", *arguments, "--json")
        assert (code, printed) == (2, "")
        assert message in error
    assert not (tmp_path / "o").exists()
    assert source.read_bytes() == jsonl(GOLD)
