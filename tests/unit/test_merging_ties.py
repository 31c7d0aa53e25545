"""TIES against an independent dense implementation, written entry by entry."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.dense import tile_rows
from experts.merging.merge import merge
from experts.merging.registry import MergeContext, ModuleInputs
from experts.merging.thresholds import largest
from experts.merging.ties import Ties, disjoint_merge, elect_and_merge, trim
from tests.unit.merging_support import (
    BASE,
    SHAPES,
    dense,
    random_adapter,
    recipe_for,
    relative_error,
)


def reference(
    deltas: list[np.ndarray], weights: list[float], density: float, average: bool
) -> np.ndarray:
    """Yadav et al. 2023, section 4, with plain loops."""
    trimmed = []
    for delta, weight in zip(deltas, weights, strict=True):
        keep = max(1, round(density * delta.size))
        smallest = sorted(np.abs(delta).ravel(), reverse=True)[keep - 1]
        trimmed.append(np.where(np.abs(delta) >= smallest, delta, 0.0) * weight)
    mass = np.sum(trimmed, axis=0)
    majority = 1.0 if np.sign(mass).sum() >= 0 else -1.0
    merged = np.zeros_like(mass)
    for position in np.ndindex(mass.shape):
        sign = np.sign(mass[position]) or majority
        voters = [i for i, t in enumerate(trimmed) if t[position] * sign > 0]
        if voters:
            total = sum(trimmed[i][position] for i in voters)
            share = sum(abs(weights[i]) for i in voters) if average else 1.0
            merged[position] = total / share
    return merged


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    count=st.integers(1, 4),
    density=st.sampled_from([0.05, 0.2, 0.5, 0.9, 1.0]),
    average=st.booleans(),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_same_as_the_reference_on_any_shape(
    shape: tuple[int, int], count: int, density: float, average: bool, seed: int,
    data: st.DataObject,
) -> None:  # fmt: skip
    experts = [random_adapter(f"e{i}", seed * 7 + i, shapes={"m": shape}) for i in range(count)]
    weights = [data.draw(st.sampled_from([-1.0, -0.3, 0.25, 0.5, 1.0, 2.0])) for _ in experts]
    parameters = {"density": density, "average": average}
    result = merge(
        recipe_for(
            {e.name: w for e, w in zip(experts, weights, strict=True)},
            method="ties",
            parameters=parameters,
            rank=min(min(shape), 3 * count),
        ),
        experts,
    )
    deltas = [experts[i].modules["m"].delta().numpy() for i in range(count)]
    wanted = torch.from_numpy(reference(deltas, weights, density, average))
    # At the full rank of the shape nothing is lost to the low-rank step.
    if min(shape) <= 3 * count:
        assert relative_error(dense(result.adapter.modules["m"]), wanted) < 1e-4
        assert result.retained_energy == pytest.approx(1.0, abs=1e-5)


def test_back_to_low_rank_is_near_optimal_and_reports_its_energy() -> None:
    shapes = {"m": (64, 48)}
    experts = [random_adapter(name, seed, shapes=shapes) for seed, name in enumerate("abc")]
    recipe = recipe_for(dict.fromkeys("abc", 1 / 3), method="ties", rank=4)
    result = merge(recipe, experts)
    deltas = [e.modules["m"].delta().numpy() for e in experts]
    exact = torch.from_numpy(reference(deltas, [1 / 3] * 3, 0.3, True)).double()
    s = torch.linalg.svdvals(exact)
    factors = result.adapter.modules["m"]
    assert factors.rank == 4
    error = float((dense(factors) - exact).norm())
    assert error <= 1.001 * float(s[4:].square().sum().sqrt())
    energy = float(s[:4].square().sum() / s.square().sum())
    assert result.retained_energy == pytest.approx(energy, abs=1e-3)
    assert result.per_module["m"] == result.retained_energy


def test_without_a_wanted_rank_it_has_the_sum_of_ranks() -> None:
    experts = [random_adapter("a", 1), random_adapter("b", 2, rank=2)]
    result = merge(recipe_for({"a": 0.5, "b": 0.5}, method="ties"), experts)
    assert {factors.rank for factors in result.adapter.modules.values()} == {5}


def test_one_expert_at_full_density_comes_back() -> None:
    expert = random_adapter("a", 1, scaling=1.5)
    result = merge(recipe_for({"a": 1.0}, method="ties", parameters={"density": 1}), [expert])
    for module, factors in expert.modules.items():
        assert relative_error(dense(result.adapter.modules[module]), dense(factors)) < 1e-5


def test_copies_at_equal_shares_are_the_expert() -> None:
    copies = [dataclasses.replace(random_adapter("a", 1), name=name) for name in "abc"]
    recipe = recipe_for(dict.fromkeys("abc", 1 / 3), method="ties", parameters={"density": 1})
    result = merge(recipe, copies)
    for module in SHAPES:
        wanted = dense(copies[0].modules[module])
        assert relative_error(dense(result.adapter.modules[module]), wanted) < 1e-5


def test_strength_scales_the_result() -> None:
    experts = [random_adapter("a", 1), random_adapter("b", 2)]
    plain = merge(recipe_for({"a": 1, "b": 1}, method="ties"), experts)
    half = merge(recipe_for({"a": 1, "b": 1}, method="ties", parameters={"strength": 0.5}), experts)
    for module in SHAPES:
        wanted = 0.5 * dense(plain.adapter.modules[module])
        assert relative_error(dense(half.adapter.modules[module]), wanted) < 1e-5


def test_a_missing_module_has_no_vote() -> None:
    first = random_adapter("a", 1)
    second = random_adapter("b", 2, shapes={"layers.0.q": (12, 10)})
    parameters = {"density": 1.0}
    result = merge(recipe_for({"a": 1, "b": 1}, method="ties", parameters=parameters),
                   [first, second])  # fmt: skip
    alone = dense(first.modules["layers.1.q"])
    assert relative_error(dense(result.adapter.modules["layers.1.q"]), alone) < 1e-5


def test_order_and_repetition_change_no_byte() -> None:
    experts = [random_adapter(name, seed) for seed, name in enumerate("abc")]
    weights = {"a": 0.5, "b": 0.2, "c": 0.3}
    one = merge(recipe_for(weights, method="ties", rank=2), experts)
    two = merge(recipe_for(dict(reversed(weights.items())), method="ties", rank=2), experts[::-1])
    for module in SHAPES:
        assert torch.equal(one.adapter.modules[module].a, two.adapter.modules[module].a)
        assert torch.equal(one.adapter.modules[module].b, two.adapter.modules[module].b)


@pytest.mark.parametrize("kind", ["normal", "sorted", "periodic", "few values", "zeros"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.999, 1.0])
def test_the_kth_largest_is_exact_even_where_a_sample_misleads(kind: str, share: float) -> None:
    size = 300_007  # more than 16 samples
    values = torch.randn(size, generator=torch.Generator().manual_seed(1)).abs()
    if kind == "sorted":
        values = values.sort().values
    elif kind == "periodic":  # the sampled places hold nothing but zeros
        values[:: size // 16384 | 1] = 0.0
    elif kind == "few values":
        values = values.round()
    elif kind == "zeros":
        values = torch.zeros(size)
    k = max(1, round(share * size))
    assert largest(values, k) == float(values.sort(descending=True).values[k - 1])


def test_trim_keeps_the_largest_and_always_one() -> None:
    delta = torch.tensor([[1.0, -4.0], [3.0, -2.0]])
    assert trim(delta, 0.5).tolist() == [[0.0, -4.0], [3.0, 0.0]]
    assert trim(delta, 0.01).tolist() == [[0.0, -4.0], [0.0, 0.0]]
    assert torch.equal(trim(delta, 1.0), delta)


@pytest.mark.parametrize("majority", [1.0, -1.0])
def test_election_goes_by_mass_and_ties_go_with_the_majority(majority: float) -> None:
    """Opposite experts balance in one entry; the other entries decide its sign."""
    factors = [
        LoraFactors(a=torch.eye(3), b=torch.tensor([row]) * majority, scaling=1.0)
        for row in ([4.0, 1.0, -1.0], [-4.0, 3.0, 5.0])
    ]
    experts = [Adapter(name, BASE, {"m": f}) for name, f in zip("ab", factors, strict=True)]
    parameters = {"density": 1.0, "average": False}
    recipe = recipe_for({"a": 1.0, "b": 1.0}, method="ties", parameters=parameters, rank=1)
    result = dense(merge(recipe, experts).adapter.modules["m"])
    assert result[0].tolist() == pytest.approx([4.0 * majority, 4.0 * majority, 5.0 * majority])


def test_disjoint_merge_averages_only_who_agrees() -> None:
    deltas = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]], [[-1.0, 0.0]]])
    sign = torch.tensor([[1.0, 1.0]])
    weights = [1.0, 1.0, 1.0]
    assert disjoint_merge(deltas.clone(), sign, weights, average=True).tolist() == [[2.0, 0.0]]
    assert disjoint_merge(deltas, sign, weights, average=False).tolist() == [[4.0, 0.0]]


def test_a_layer_of_several_tiles_is_merged_as_a_whole() -> None:
    shape = (700, 390)
    experts = [random_adapter(name, seed, shapes={"m": shape}) for seed, name in enumerate("abc")]
    factors = tuple(expert.modules["m"] for expert in experts)
    weights = (0.5, 1.0, -0.7)
    module = ModuleInputs("m", ("a", "b", "c"), weights, factors)
    assert len(tile_rows(torch.Size(shape), torch.device("cpu"))) > 1
    parameters = {"density": 0.3, "average": True, "strength": 1.0}
    context = MergeContext(module.experts, weights, parameters, None, torch.device("cpu"))
    deltas = [f.b @ f.a * (w * f.scaling) for w, f in zip(weights, factors, strict=True)]
    wanted = elect_and_merge([trim(delta, 0.3) for delta in deltas], weights, context)
    assert relative_error(Ties().dense(module, context), wanted.double()) < 1e-6
