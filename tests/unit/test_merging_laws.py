"""Every method that needs no data, put through the laws of `tests.unit.laws`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from experts.merging.adapters import Adapter
from experts.merging.merge import merge
from experts.merging.registry import get_method, methods
from tests.unit.laws import LAWS, Law, Merge, random_case
from tests.unit.merging_support import dense, random_adapter, recipe_for

METHODS = [method.key for method in methods() if method.needs == "none"]

NEUTRAL: dict[str, dict[str, Any]] = {
    "ties": {"density": 1.0},
    "dare_linear": {"drop": 0.0},
    "dare_ties": {"drop": 0.0},
    "della": {"drop": 0.0},
    "breadcrumbs": {"small": 0.0, "large": 0.0},
    "knots_ties": {"density": 1.0},
    "core_ties": {"density": 1.0},
    "tsv": {"keep": 1.0},
    "star": {"keep": 1.0},
    "pcb": {"density": 1.0},
}
"""Parameters at which a method drops nothing, for the laws that speak of nothing being dropped."""

_ZERO = "the entry of the lowest score marks the zero, so it is dropped even at density 1"
_FLAT = "all directions are made equally strong, which is what the method is for"
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("iso_c", "identity"): _FLAT,
    ("iso_c", "copies"): _FLAT,
    ("iso_cts", "identity"): _FLAT,
    ("iso_cts", "copies"): _FLAT,
    ("pcb", "identity"): _ZERO,
    ("pcb", "copies"): _ZERO,
    ("pcb", "scale"): "agreement is a tanh of products, which strong experts saturate",
    ("tsv", "copies"): "directions that experts share are merged once, at the mean weight",
    ("wudi", "copies"): "what the experts have in common is kept once, at the mean weight",
}
"""(method, law) → why it is not meant to hold."""

HOLD = [(key, law) for key in METHODS for law in LAWS if (key, law.key) not in EXCEPTIONS]


def merger(key: str, parameters: Mapping[str, Any]) -> Merge:
    """SaM's merge as a function of experts and weights, at a rank that cuts nothing off twice."""

    def run(experts: Sequence[Adapter], weights: Sequence[float]) -> dict[str, Tensor]:
        recipe = recipe_for(
            {expert.name: weight for expert, weight in zip(experts, weights, strict=True)},
            method=key,
            parameters=dict(parameters),
            rank=sum(max(f.rank for f in expert.modules.values()) for expert in experts),
        )
        result = merge(recipe, experts)
        return {name: dense(factors) for name, factors in result.adapter.modules.items()}

    return run


def parameters_for(key: str, law: Law) -> dict[str, Any]:
    if law.key not in ("identity", "copies"):
        return {}
    known = {parameter.name for parameter in get_method(key).parameters}
    return {name: value for name, value in NEUTRAL.get(key, {}).items() if name in known}


@pytest.mark.parametrize(("key", "law"), HOLD, ids=[f"{k}-{law.key}" for k, law in HOLD])
@settings(deadline=None, max_examples=12)
@given(
    shapes=st.tuples(*[st.tuples(st.integers(2, 9), st.integers(2, 9))] * 2),
    ranks=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    weights=st.lists(st.sampled_from([-1.5, 0.2, 0.4, 0.7, 1.0]), min_size=4, max_size=4),
    seed=st.integers(0, 10_000),
)
def test_the_law_holds(
    key: str,
    law: Law,
    shapes: tuple[tuple[int, int], ...],
    ranks: list[int],
    weights: list[float],
    seed: int,
) -> None:
    names = [f"layers.{number}.q" for number in range(len(shapes))]
    case = random_case(dict(zip(names, shapes, strict=True)), ranks, weights, seed)
    outcome = law.measure(merger(key, parameters_for(key, law)), case)
    assert outcome.error < 1e-6, (key, law.key, outcome)


@pytest.mark.parametrize(("key", "law"), EXCEPTIONS, ids=["-".join(pair) for pair in EXCEPTIONS])
def test_an_exception_is_one(key: str, law: str) -> None:
    """An exception that holds after all must be taken off the list."""
    chosen = next(entry for entry in LAWS if entry.key == law)
    shapes = {"layers.0.q": (12, 10), "layers.1.q": (12, 10), "layers.2.q": (9, 14)}
    run = merger(key, parameters_for(key, chosen))
    cases = [
        random_case(shapes, [4, 4, 4], [0.5, 0.3, 0.4], seed, size=size)
        for seed in range(3)
        for size in (0.3, 1.0)
    ]
    assert max(chosen.measure(run, case).error for case in cases) > 1e-6


@pytest.mark.parametrize("key", METHODS)
def test_the_order_of_experts_changes_no_byte(key: str) -> None:
    experts = [random_adapter(name, seed, rank=4) for seed, name in enumerate("abc")]
    weights = {"a": 0.5, "b": 0.2, "c": 0.3}
    forward = merge(recipe_for(weights, method=key, rank=5), experts)
    swapped = dict(reversed(weights.items()))
    backward = merge(recipe_for(swapped, method=key, rank=5), experts[::-1])
    for name, factors in forward.adapter.modules.items():
        assert torch.equal(factors.a, backward.adapter.modules[name].a)
        assert torch.equal(factors.b, backward.adapter.modules[name].b)


@pytest.mark.parametrize("key", METHODS)
def test_an_expert_of_weight_zero_is_not_there(key: str) -> None:
    experts = [random_adapter(name, seed) for seed, name in enumerate("abc")]
    with_it = merge(recipe_for({"a": 0.5, "b": 0.5, "c": 0.0}, method=key), experts)
    without = merge(recipe_for({"a": 0.5, "b": 0.5}, method=key), experts)
    for name, factors in without.adapter.modules.items():
        assert torch.equal(factors.a, with_it.adapter.modules[name].a)
        assert torch.equal(factors.b, with_it.adapter.modules[name].b)


@pytest.mark.parametrize("key", METHODS)
def test_copies_with_a_cut_rank_are_merged_without_a_fuss(key: str) -> None:
    expert = random_adapter("a", 1, rank=3, shapes={"m": (48, 40)})
    copies = [dataclasses.replace(expert, name=name) for name in "abc"]
    result = merge(recipe_for(dict.fromkeys("abc", 1 / 3), method=key, rank=4), copies)
    assert 0.0 <= result.retained_energy <= 1.0 + 1e-9
    assert all(bool(torch.isfinite(dense(f)).all()) for f in result.adapter.modules.values())
