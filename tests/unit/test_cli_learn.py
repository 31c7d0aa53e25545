# ruff: noqa: F401, F811 (pytest gives the fixture `sam` by its name)
"""``sam-ui learn``."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from experts.learning import LearningPlan
from experts.merging.adapters import load_adapter, save_adapter
from tests.unit import tiny
from tests.unit.test_cli import Command, sam
from tests.unit.test_learning import NAMES, adapter


def corrections(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    path = folder / "corrections.jsonl"
    records = [
        {"text": f"{n} met nobody.", "entities": [{"start": 0, "end": len(n), "label": "person"}]}
        for n in names
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model in place of the base model, and few steps."""
    base = tiny.llama()
    monkeypatch.setattr("sam_ui.cli._engine", lambda: SimpleNamespace(base=base))
    few = classmethod(lambda cls, count, **changes: cls(epochs=2, **changes))
    monkeypatch.setattr(LearningPlan, "for_sentences", few)


def test_an_adapter_learns(sam: Command, engine: None, tmp_path: Path) -> None:
    save_adapter(adapter(tiny.llama()), tmp_path / "merged")
    out = tmp_path / "learned"
    code, printed, error = sam(
        "learn", corrections(tmp_path), "--types", "person, ship",
        "--adapter", tmp_path / "merged", "--out", out, "--json",
    )  # fmt: skip
    assert code == 0, error
    document = json.loads(printed)
    assert document == json.loads((out / "learning.json").read_text("utf-8"))
    assert document["sentences"] == len(NAMES)
    assert document["after"]["types"]["person"]["support"] == len(NAMES)
    assert document["enough"] is False
    assert load_adapter(out).rank == 3
    code, _, error = sam(
        "learn", tmp_path / "corrections.jsonl", "--types", "person",
        "--adapter", tmp_path / "merged", "--out", out,
    )  # fmt: skip
    assert (code, "is not empty" in error) == (2, True)


def test_the_table_tells_before_and_after(sam: Command, engine: None, tmp_path: Path) -> None:
    save_adapter(adapter(tiny.llama()), tmp_path / "merged")
    code, printed, _ = sam(
        "learn", corrections(tmp_path), "--types", "person", "--adapter", tmp_path / "merged",
        "--out", tmp_path / "learned",
    )  # fmt: skip
    assert code == 0
    assert "F1 before" in printed
    assert "person" in printed
    assert "Learned from 6 sentences" in printed


@pytest.mark.parametrize(
    ("names", "types", "said"),
    [
        (NAMES[:2], "person", "too few to learn from"),
        (NAMES, "ship", "no entity of the asked types"),
    ],
)
def test_bad_corrections_are_refused_before_anything_is_loaded(
    sam: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    types: str,
    said: str,
) -> None:
    monkeypatch.setattr("sam_ui.cli._engine", lambda: pytest.fail("a model was loaded"))
    code, _, error = sam(
        "learn", corrections(tmp_path, names), "--types", types, "--out", tmp_path / "out"
    )
    assert code == 2
    assert said in error
    assert not (tmp_path / "out").exists()
