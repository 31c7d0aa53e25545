"""`benchmarks.learning` on a random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import learning
from benchmarks.learning import ROWS, Target, empty_adapter, read_folder, run, table
from experts.extract import Extractor
from experts.learning import LearningPlan
from experts.spans import Example, Span
from tests.unit import tiny
from tests.unit.test_learning import NAMES, adapter, sentence

SENTENCES = [sentence(name) for name in (*NAMES, "Ida", "Olga", "Vera", "Nina")]
TARGET = Target("names", tuple(SENTENCES), tuple(SENTENCES[:3]), ("person",))


def test_a_run_goes_on_and_its_table_has_mean_and_range(monkeypatch: pytest.MonkeyPatch) -> None:
    few = classmethod(lambda cls, count, **changes: cls(epochs=1, **changes))
    monkeypatch.setattr(LearningPlan, "for_sentences", few)
    base = tiny.llama()
    shapes = {"model.layers.0.self_attn.q_proj": (32, 32)}
    starts = {"merge": adapter(base), "bare": empty_adapter(shapes, base.name, 0)}
    rows = [ROWS[0], ROWS[1], ROWS[2], ROWS[4]]
    results: dict[str, object] = {}
    said: list[str] = []

    def go(target: Target = TARGET) -> list[str]:
        said.clear()
        run(
            base, target, starts, rows, results, lambda: None, sizes=(0, 4), seeds=2,
            say=said.append,
        )  # fmt: skip
        return said

    assert len(go()) == 2 + 2 * 3, "no generalist; LoRA has nothing to learn from nothing"
    assert go() == [], "everything is finished"
    lines = table({"names": results}, (0, 4)).splitlines()
    assert lines[0].startswith("| names | 0 | 4 |")
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| recommended merge", "| bare base", "| merge, LoRA at the mean rate",
    ]  # fmt: skip
    assert "(" in lines[2].split(" | ")[2]
    assert lines[4].split(" | ")[1] == "–"
    assert len(go(replace(TARGET, types=("person", "ship")))) == 8, "another target, other results"


def test_an_empty_adapter_changes_nothing() -> None:
    base = tiny.llama()
    empty = empty_adapter({"model.layers.0.self_attn.q_proj": (32, 32)}, base.name, 0)
    texts = [example.text for example in SENTENCES[:4]]
    extractor = Extractor(base)
    bare = extractor.extract(texts, ["person"])
    assert extractor.extract(texts, ["person"], adapter=empty) == bare
    assert empty.rank == learning.RANK


def test_a_target_is_read_from_its_folder(tmp_path: Path) -> None:
    examples = [*SENTENCES[:3], Example("Argo sank.", (Span(0, 4, "ship"),))]
    lines = [
        json.dumps(
            {
                "text": e.text,
                "entities": [{"start": s.start, "end": s.end, "label": s.label} for s in e.spans],
            }
        )
        for e in examples
    ]
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    target = read_folder(tmp_path, 3)
    assert (len(target.train), len(target.test), target.types) == (4, 3, ("person", "ship"))
