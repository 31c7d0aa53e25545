"""The comparison of LoRA+ with LoRA, on a model small enough for a unit test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import lora_plus
from benchmarks.lora_plus import STOPS, share_of_steps, table, train_once
from experts.train_expert import own_dev
from tests.unit import tiny
from tests.unit.test_training import data, recipe

__all__ = ["data"]


def test_f1_is_taken_at_every_stop_of_one_run(data: Path) -> None:
    short, long = (train_once(tiny.llama(), recipe(sentences=n), data, 4) for n in (20, 160))
    assert len(short["f1"]) == len(long["f1"]) == len(STOPS)
    assert long["loss"] < short["loss"]


def test_dev_sentences_are_asked_by_the_usual_names(data: Path) -> None:
    ((texts, gold, asked),) = own_dev(recipe(), data, 100)
    assert len(texts) == 4
    assert set(asked) == {"person", "place", "ship"}
    assert {span.label for spans in gold for span in spans} == set(asked)


@pytest.mark.parametrize(
    ("fast", "share"),
    [((0.1, 0.4, 0.5, 0.6, 0.7), 0.6), ((0.6,) * 5, 0.2), ((0.1, 0.2, 0.3, 0.4, 0.45), None)],
)
def test_share_of_the_steps_until_the_best_of_the_other(
    fast: tuple[float, ...], share: float | None
) -> None:
    assert share_of_steps(fast, (0.1, 0.3, 0.5, 0.48, 0.49)) == share


def test_finished_runs_are_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = recipe(sentences=20).model_dump(mode="json", exclude_none=True)
    monkeypatch.setattr(
        lora_plus, "load_recipe", lambda path: recipe(**{**plan, "data": recipe().data})
    )
    monkeypatch.setattr(lora_plus, "load_base", lambda *a, **k: tiny.llama())
    out = tmp_path / "out.json"
    variants = ["LoRA+, B 16 times A", "LoRA at A's rate"]
    asked = ["--data", str(data), "--recipes", "tales", "--out", str(out), "--sentences", "20"]
    lora_plus.main([*asked, "--variants", variants[0]])
    first = json.loads(out.read_text("utf-8"))["runs"]["tales"]
    lora_plus.main([*asked, "--variants", *variants])
    both = json.loads(out.read_text("utf-8"))
    assert both["runs"]["tales"][variants[0]] == first[variants[0]]
    assert list(both["runs"]["tales"]) == variants
    assert table(both) in capsys.readouterr().out
