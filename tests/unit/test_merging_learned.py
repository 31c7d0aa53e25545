"""Methods that learn weights: Expert Merging and Expert Merging++, and what search shares."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from experts.base import BaseModel
from experts.errors import Cancelled, SamError
from experts.merging.adapters import LoraFactors
from experts.merging.expert_merging_pp import importance, magnitude, runs_for
from experts.merging.registry import (
    ModuleInputs,
)
from experts.stack import row_runs
from tests.unit import tiny
from tests.unit.merging_learned_support import (
    LEARNED,
    THIRDS,
    context_for,
    data_for,
    expert,
    learn,
    run,
    same_bytes,
    three,
)
from tests.unit.merging_support import dense, relative_error
from tests.unit.test_architectures import PLAIN, make


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return tiny.gemma()


# -- Expert Merging -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["expert_merging", "expert_merging_pp"])
def test_the_merge_comes_nearer_to_its_experts(base: BaseModel, key: str) -> None:
    method = learn(key, three(base), THIRDS, data_for(base))
    losses = method.state["report"]["losses"]
    assert losses[-1] < losses[0]
    assert "fell from" in method.state["note"]
    learned = {v for own in method.state["coefficients"].values() for v in own.values()}
    assert len(learned) > 10


def test_a_single_expert_is_found_again(base: BaseModel) -> None:
    settings = {"hold": 0.0, "steps": 60, "rate": 0.05}
    method = learn("expert_merging", [expert(base, "a", 0)], [0.3], data_for(base), **settings)
    weights = method.state["coefficients"]["a"].values()
    assert all(0.8 < weight < 1.2 for weight in weights)
    assert method.state["report"]["losses"][-1] < 0.02
    held = learn(
        "expert_merging", [expert(base, "a", 0)], [0.3], data_for(base), **settings | {"hold": 50.0}
    )
    assert all(abs(weight - 0.3) < 0.1 for weight in held.state["coefficients"]["a"].values())


@pytest.mark.parametrize("key", ["expert_merging", "expert_merging_pp"])
def test_twins_get_the_same_weights(base: BaseModel, key: str) -> None:
    one = expert(base, "a", 0)
    adapters = [one, dataclasses.replace(one, name="b"), expert(base, "c", 1)]
    state = learn(key, adapters, [0.4, 0.4, 0.3], data_for(base)).state
    for module, weights in state["chunks"]["a"].items():
        assert weights == pytest.approx(state["chunks"]["b"][module], abs=2e-4)
    assert state["coefficients"]["a"] != state["coefficients"]["c"]


def test_an_expert_of_more_weight_is_followed_more(base: BaseModel) -> None:
    adapters, data = [expert(base, "a", 0), expert(base, "b", 1)], data_for(base)
    settings = {"steps": 60, "hold": 0.0, "share": "expert", "rate": 0.05}
    state = learn("expert_merging", adapters, [0.7, 0.1], data, **settings).state
    equal = learn("expert_merging", adapters, [0.7, 0.1], data, balance="equal", **settings).state

    def lead(state: Mapping[str, Any]) -> float:
        a, b = (set(state["coefficients"][name].values()).pop() for name in "ab")
        return a - b

    assert lead(state) > lead(equal)


def test_texts_are_the_experts_own_or_the_persons(base: BaseModel) -> None:
    adapters = three(base)
    data = data_for(base, texts=tiny.TEXTS[:2], expert_texts={"a": tiny.TEXTS[2:4]})

    def texts(**given: Any) -> int:
        state = learn("expert_merging", adapters, THIRDS, data, steps=1, **given).state
        return int(state["report"]["texts"])

    assert texts() == 2 + 2 + 2
    assert texts(source="yours", texts=1) == 3
    assert texts(source="both", texts=2) == 4 + 2 + 2


def test_hidden_states_or_answers_alone(base: BaseModel) -> None:
    adapters, data = three(base), data_for(base)
    answers = learn("expert_merging", adapters, THIRDS, data, inner=0.0).state
    both = learn("expert_merging", adapters, THIRDS, data).state
    assert answers["report"]["losses"][0] < both["report"]["losses"][0]
    assert answers["coefficients"] != both["coefficients"]


@pytest.mark.parametrize("kind", ["bloom", "gpt2"])
def test_other_architectures_learn_too(kind: str) -> None:
    other = tiny.gpt2() if kind == "gpt2" else make(*PLAIN[kind])
    adapters = [expert(other, "a", 0, scaling=0.02), expert(other, "b", 1, scaling=0.02)]
    losses = learn("expert_merging", adapters, [0.2, 0.2], data_for(other)).state["report"][
        "losses"
    ]
    assert losses[1] < losses[0]


# -- Expert Merging++ ---------------------------------------------------------------------------


def test_importance_is_the_papers() -> None:
    experts = [{"m": torch.randn(5, 7), "n": torch.randn(3, 2)}, {"m": torch.randn(5, 7)}]
    alphas = [{"m": 0.5, "n": -2.0}, {"m": 0.25}]
    expected = {
        module: sum(
            abs(alpha[module]) * float(own[module].abs().mean()) * own[module].numel()
            for own, alpha in zip(experts, alphas, strict=True)
            if module in own
        )
        for module in ("m", "n")
    }
    total = sum(expected.values())
    sums = [{name: float(tau.abs().sum()) for name, tau in own.items()} for own in experts]
    found = importance(sums, alphas)
    assert found == pytest.approx({name: value / total for name, value in expected.items()})
    assert importance([{"m": 0.0, "n": 0.0}], [{"m": 1.0, "n": 1.0}]) == {"m": 0.5, "n": 0.5}


def test_magnitude_is_the_sum_of_the_dense_update() -> None:
    factors = LoraFactors(torch.randn(3, 11), torch.randn(2500, 3), -0.5)
    expected = float(dense(factors).abs().sum())
    assert math.isclose(magnitude(factors), expected, rel_tol=1e-5)


def test_runs_follow_importance() -> None:
    shares, rows = {"a": 0.6, "b": 0.3, "c": 0.1}, {"a": 100, "b": 100, "c": 100}
    assert runs_for(shares, rows, budget=4, steepness=1) == {"a": 7, "b": 3, "c": 1}
    assert runs_for(shares, rows, budget=4, steepness=0) == {"a": 4, "b": 4, "c": 4}
    assert runs_for(shares, rows, budget=1, steepness=1) == {"a": 1, "b": 0, "c": 0}
    assert runs_for(shares, rows | {"a": 2}, budget=4, steepness=1)["a"] == 2


def test_important_layers_get_more_weights_and_others_stay(base: BaseModel) -> None:
    adapters = three(base)
    method = learn("expert_merging_pp", adapters, THIRDS, data_for(base), budget=2.0)
    shares, chunks = method.state["importance"], method.state["chunks"]
    counts = {name: len(chunks["a"][name]) for name in shares}
    ranked = sorted(shares, key=shares.__getitem__)
    assert counts[ranked[-1]] > counts[ranked[0]]
    assert sum(counts.values()) > len(counts)
    for name, own in method.state["coefficients"]["b"].items():
        assert own == pytest.approx(sum(chunks["b"][name]) / counts[name])
    none = learn("expert_merging_pp", adapters, THIRDS, data_for(base), budget=0.1, steps=10)
    assert all(len(values) == 1 for own in none.state["chunks"].values() for values in own.values())


# -- what all three share -----------------------------------------------------------------------


@pytest.mark.parametrize("key", LEARNED)
def test_the_merge_is_the_sum_with_the_weights_that_are_shown(base: BaseModel, key: str) -> None:
    adapters = [
        dataclasses.replace(
            adapter,
            modules={
                name: LoraFactors(f.a.double(), f.b.double(), f.scaling)
                for name, f in adapter.modules.items()
            },
        )
        for adapter in three(base)
    ]
    method = learn(key, adapters, THIRDS, data_for(base))
    context = context_for(key, adapters, THIRDS, data_for(base))
    for name in adapters[0].modules:
        present = [(i, adapter) for i, adapter in enumerate(adapters) if name in adapter.modules]
        names = tuple(adapter.name for _, adapter in present)
        factors = tuple(adapter.modules[name] for _, adapter in present)
        inputs = ModuleInputs(name, names, tuple(THIRDS[i] for i, _ in present), factors)
        [merged] = method.merge_group([inputs], context)
        expected = torch.zeros(factors[0].shape, dtype=torch.float64)
        for own, one in zip(names, factors, strict=True):
            weights = torch.tensor(method.state["chunks"][own][name], dtype=torch.float64)
            rows = weights[row_runs(one.shape[0], len(weights))]
            expected += rows[:, None] * dense(one)
        assert relative_error(dense(merged.factors), expected) < 1e-12
        assert merged.kept == pytest.approx(merged.total)


@pytest.mark.parametrize("key", LEARNED)
def test_order_and_repetition_change_no_byte(base: BaseModel, key: str) -> None:
    adapters, data = three(base), data_for(base)
    torch.manual_seed(1)
    np.random.seed(1)
    one = run(key, adapters, THIRDS, data, steps=6)
    torch.manual_seed(2)
    np.random.seed(2)
    two = run(key, adapters[::-1], THIRDS, data, steps=6)
    assert same_bytes(one.adapter, two.adapter)
    assert one.coefficients == two.coefficients
    assert one.note == two.note != ""


@pytest.mark.parametrize("key", LEARNED)
def test_the_base_model_is_left_as_it_was(key: str) -> None:
    base = tiny.gemma()
    frozen = next(base.model.parameters()).requires_grad_(False)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    flags = [p.requires_grad for p in base.model.parameters()]
    run(key, three(base), THIRDS, data_for(base), steps=2)
    with pytest.raises(Cancelled):
        run(key, three(base), THIRDS, data_for(base), cancelled=Countdown(3))
    after = base.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [p.requires_grad for p in base.model.parameters()] == flags
    assert not frozen.requires_grad
    assert all(p.grad is None for p in base.model.parameters())
    assert not any(module._forward_hooks for module in base.model.modules())


class Countdown:
    """Says yes from the n-th question on."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("key", LEARNED)
def test_progress_rises(base: BaseModel, key: str) -> None:
    seen: list[tuple[int, int, str]] = []
    run(key, three(base), THIRDS, data_for(base), lambda *now: seen.append(now), steps=4)
    assert len({total for _, total, _ in seen}) == 1
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert any("learning" in what for _, _, what in seen)


@pytest.mark.parametrize("key", LEARNED)
def test_refusals(base: BaseModel, key: str) -> None:
    adapters = three(base)
    with pytest.raises(SamError, match=f"'{key}' needs"):
        run(key, adapters, THIRDS, None)
    with pytest.raises(SamError, match="types"):
        run(key, adapters, THIRDS, data_for(base, types=[]))
    with pytest.raises(SamError, match="types"):
        learn(key, adapters, THIRDS, data_for(base, types=[]))
    quantized = dataclasses.replace(base, quantization="int8")
    with pytest.raises(SamError, match="int8"):
        learn(key, adapters, THIRDS, data_for(quantized))
    other = [dataclasses.replace(adapter, base_model="") for adapter in adapters]
    with pytest.raises(SamError, match="does not have"):
        learn(key, other, THIRDS, data_for(tiny.gpt2()))
    long = " ".join(["word"] * 2000)
    with pytest.raises(SamError, match=r"too long|ordinary length"):
        learn(key, adapters, THIRDS, data_for(base, texts=[long] * 5))


def test_refusals_for_too_little(base: BaseModel) -> None:
    adapters = three(base)
    with pytest.raises(SamError, match="none for 'a'"):
        learn("expert_merging", adapters, THIRDS, data_for(base, texts=["", " "]))
    with pytest.raises(SamError, match="at least 4 corrected sentences; there are 2"):
        learn("search", adapters, THIRDS, data_for(base, gold=[[], None, [], None, None]))


def test_one_weight_for_an_expert_is_a_recipe_of_its_own(base: BaseModel) -> None:
    adapters = three(base)
    found = run("expert_merging", adapters, THIRDS, data_for(base), share="expert")
    assert found.weights is not None
    assert set(found.weights.values()) != {round(1 / 3, 4)}
    again = run("linear", adapters, [found.weights[a.name] for a in adapters], None)
    assert same_bytes(found.adapter, again.adapter)
