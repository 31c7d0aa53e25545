"""Few-shot search: weights from corrections."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from torch import nn

from experts.base import BaseModel
from experts.extract import Extractor
from experts.merging.coefficients import side_by_side
from experts.merging.data import MergeData
from experts.merging.search import hold_out
from experts.practice import evolve
from tests.unit import tiny
from tests.unit.merging_learned_support import (
    THIRDS,
    TYPES,
    data_for,
    expert,
    learn,
    three,
)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return tiny.gemma()


@pytest.fixture
def corrected(base: BaseModel) -> MergeData:
    """Answers of the second expert to several texts: weights that suit them exist."""
    texts = [*tiny.TEXTS, *(" ".join(reversed(text.split())) for text in tiny.TEXTS[:3])]
    adapter = expert(base, "b", 1)
    return data_for(base, texts=texts, gold=Extractor(base).extract(texts, TYPES, adapter=adapter))


@pytest.mark.parametrize("how", ["gradient", "trials_loss", "trials_f1"])
def test_a_search_finds_better_weights(base: BaseModel, corrected: MergeData, how: str) -> None:
    adapters = [expert(base, "a", 0), expert(base, "b", 1)]
    given = {"steps": 6 if how == "trials_f1" else 18, "how": how, "rate": 0.1, "hold": 0.0}
    method = learn("search", adapters, [0.5, 0.5], corrected, **given)
    report, weights = method.state["report"], method.state["coefficients"]
    assert report["learned_from"] + report["checked_by"] == len(corrected.texts)
    if report["kept_initial"]:
        assert how == "trials_f1"
        return
    assert report["after"]["loss"] < report["before"]["loss"]
    assert report["after"]["f1"] >= report["before"]["f1"]
    assert all(set(own.values()) != {0.5} for own in weights.values())
    assert "Learned from 6 corrections, checked by 2 more" in method.state["note"]


def test_weights_that_do_worse_on_others_are_not_kept(base: BaseModel) -> None:
    """What is learned from is answered as one expert does, what is held out as the merge does."""
    adapters, start = [expert(base, "a", 0), expert(base, "b", 1)], [0.5, 0.5]
    texts = [*tiny.TEXTS, *(" ".join(reversed(text.split())) for text in tiny.TEXTS[:3])]
    merged = side_by_side(adapters, {a.name: {name: [0.5] for name in a.modules} for a in adapters})
    extractor = Extractor(base)
    by_merge = extractor.extract(texts, TYPES, adapter=merged)
    by_one = extractor.extract(texts, TYPES, adapter=adapters[1])
    held = {text for text, _ in hold_out([(text, []) for text in texts], 0.3, 0)[1]}
    gold = [m if t in held else o for t, m, o in zip(texts, by_merge, by_one, strict=True)]
    data = data_for(base, texts=texts, gold=gold)
    method = learn("search", adapters, start, data, how="trials_loss", hold=0.0, rate=0.5)
    report = method.state["report"]
    assert report["before"]["f1"] == 1.0
    assert report["after"]["f1"] < 1.0
    assert report["kept_initial"]
    assert "stay" in method.state["note"]
    assert {w for own in method.state["coefficients"].values() for w in own.values()} == {0.5}


def test_held_out_corrections() -> None:
    pairs = [(str(i), []) for i in range(10)]
    learned, held = hold_out(pairs, 0.3, 7)
    assert (len(learned), len(held)) == (7, 3)
    assert sorted([*learned, *held]) == pairs
    assert hold_out(pairs, 0.3, 7) == (learned, held)
    assert [len(part) for part in hold_out(pairs[:4], 0.1, 0)] == [3, 1]
    assert [len(part) for part in hold_out(pairs[:4], 0.9, 0)] == [1, 3]


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_evolution_finds_a_minimum(dimensions: int) -> None:
    target = np.linspace(-1, 1, dimensions)
    calls = 0

    def cost(values: Sequence[float]) -> float:
        nonlocal calls
        calls += 1
        return float(np.square(np.asarray(values) - target).sum())

    state = np.random.get_state()[1].copy()
    found = evolve(cost, [0.3] * dimensions, 0.3, 300, 5)
    assert found == pytest.approx(target, abs=0.05)
    assert calls <= 301
    assert (np.random.get_state()[1] == state).all()
    assert evolve(lambda values: float(any(values)), [0.0] * dimensions, 0.3, 10, 5) is None


def test_a_search_on_a_quantized_model_needs_no_gradient(base: BaseModel) -> None:
    quantized = dataclasses.replace(base, quantization="int8")
    assert isinstance(quantized.model, nn.Module)
    method = learn("search", three(base), THIRDS, data_for(quantized), how="trials_loss", steps=4)
    assert method.state["report"]["learned_from"] == 3
