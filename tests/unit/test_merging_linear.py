"""Exact merging against dense float64 references."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.lowrank import (
    fix_signs,
    numerical_rank,
    randomized_svd,
    stack_factors,
    svd_of_product,
)
from experts.merging.merge import merge
from tests.unit.merging_support import (
    SHAPES,
    dense,
    dense_sum,
    random_adapter,
    recipe_for,
    relative_error,
)


def test_a_single_expert_at_weight_one_comes_back_unchanged() -> None:
    expert = random_adapter("a", 1, scaling=2.0)
    result = merge(recipe_for({"a": 1.0}), [expert])
    assert set(result.adapter.modules) == set(SHAPES)
    for module, factors in expert.modules.items():
        merged = result.adapter.modules[module]
        assert merged.scaling == 1.0
        assert merged.rank == factors.rank
        assert relative_error(dense(merged), dense(factors)) < 1e-6
    assert result.retained_energy == 1.0
    assert set(result.per_module.values()) == {1.0}


def test_copies_at_equal_shares_are_the_expert_at_its_own_rank() -> None:
    copies = [dataclasses.replace(random_adapter("a", 1), name=name) for name in "abc"]
    result = merge(recipe_for(dict.fromkeys("abc", 1 / 3)), copies)
    for module, factors in copies[0].modules.items():
        assert result.adapter.modules[module].rank == 3
        assert relative_error(dense(result.adapter.modules[module]), dense(factors)) < 1e-6


def test_the_factorisation_of_an_expert_does_not_matter() -> None:
    first, second = random_adapter("a", 1), random_adapter("b", 2)
    turn = torch.randn(3, 3, generator=torch.Generator().manual_seed(3)).double()
    gauged = Adapter("a", first.base_model, {})
    for module, factors in first.modules.items():
        a = torch.linalg.inv(turn) @ factors.a.double()
        gauged.modules[module] = LoraFactors(a=a, b=factors.b.double() @ turn, scaling=1.0)
    recipe = recipe_for({"a": 0.7, "b": 0.3}, rank=2)
    plain, other = merge(recipe, [first, second]), merge(recipe, [gauged, second])
    for module in SHAPES:
        merged = dense(plain.adapter.modules[module])
        assert relative_error(dense(other.adapter.modules[module]), merged) < 1e-5


def test_the_order_of_experts_changes_no_byte() -> None:
    experts = [random_adapter(name, seed) for seed, name in enumerate("abc")]
    forward = merge(recipe_for({"a": 0.5, "b": 0.2, "c": 0.3}), experts)
    backward = merge(recipe_for({"c": 0.3, "b": 0.2, "a": 0.5}), experts[::-1])
    for module in SHAPES:
        one, two = forward.adapter.modules[module], backward.adapter.modules[module]
        assert torch.equal(one.a, two.a)
        assert torch.equal(one.b, two.b)


def test_a_module_that_an_expert_lacks_counts_as_zero() -> None:
    first = random_adapter("a", 1)
    second = random_adapter("b", 2, shapes={"layers.0.q": (12, 10), "layers.9.o": (5, 7)})
    result = merge(recipe_for({"a": 0.5, "b": 2.0}), [first, second])
    assert set(result.adapter.modules) == {*SHAPES, "layers.9.o"}
    for module, factors in result.adapter.modules.items():
        wanted = dense_sum([first, second], [0.5, 2.0], module)
        assert relative_error(dense(factors), wanted) < 1e-6


def test_negative_weights_subtract() -> None:
    first, second = random_adapter("a", 1), random_adapter("b", 2)
    result = merge(recipe_for({"a": 1.0, "b": -0.5}), [first, second])
    for module, factors in result.adapter.modules.items():
        wanted = dense_sum([first, second], [1.0, -0.5], module)
        assert relative_error(dense(factors), wanted) < 1e-6


def test_an_expert_minus_itself_is_a_zero_update() -> None:
    first = random_adapter("a", 1)
    second = dataclasses.replace(first, name="b")
    result = merge(recipe_for({"a": 1.0, "b": -1.0}), [first, second])
    for module, factors in result.adapter.modules.items():
        assert float(dense(factors).norm()) < 1e-5 * float(dense(first.modules[module]).norm())


def test_a_zero_update_merges_to_zero() -> None:
    expert = random_adapter("a", 1)
    for module, factors in expert.modules.items():
        expert.modules[module] = dataclasses.replace(factors, b=torch.zeros_like(factors.b))
    for method in ("linear", "ties"):
        result = merge(recipe_for({"a": 1.0}, method=method), [expert])
        assert all(not dense(f).any() for f in result.adapter.modules.values())
        assert result.retained_energy == 1.0


@pytest.mark.parametrize("rank", [1, 2, 4, 5])
def test_truncation_is_the_best_of_its_rank_and_reports_its_energy(rank: int) -> None:
    experts = [random_adapter("a", 1), random_adapter("b", 2, rank=2)]
    result = merge(recipe_for({"a": 0.6, "b": 0.4}, rank=rank), experts)
    kept_all = total_all = 0.0
    for module, factors in result.adapter.modules.items():
        exact = dense_sum(experts, [0.6, 0.4], module)
        s = torch.linalg.svdvals(exact)
        optimal = float(s[rank:].square().sum().sqrt())
        got = float((dense(factors) - exact).norm())
        assert factors.rank == rank
        assert got <= optimal * 1.0001 + 1e-5 * float(s[0])
        kept, total = float(s[:rank].square().sum()), float(s.square().sum())
        assert result.per_module[module] == pytest.approx(kept / total, abs=1e-5)
        kept_all, total_all = kept_all + kept, total_all + total
    assert result.retained_energy == pytest.approx(kept_all / total_all, abs=1e-5)


def test_the_spectrum_is_split_evenly() -> None:
    experts = [random_adapter("a", 1), random_adapter("b", 2)]
    result = merge(recipe_for({"a": 50.0, "b": 0.02}), experts)
    for factors in result.adapter.modules.values():
        assert torch.allclose(factors.a.norm(dim=1), factors.b.norm(dim=0), rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ranks=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    data=st.data(),
)
def test_any_shapes_and_ranks(
    shape: tuple[int, int], ranks: list[int], seed: int, data: st.DataObject
) -> None:
    experts = [
        random_adapter(f"e{i}", seed + i, shapes={"m": shape}, rank=rank, scaling=0.5 + i)
        for i, rank in enumerate(ranks)
    ]
    weight = st.floats(-3, 3).map(lambda w: w if abs(w) > 0.01 else 1.0)
    weights = [data.draw(weight) for _ in ranks]
    result = merge(recipe_for({e.name: w for e, w in zip(experts, weights, strict=True)}), experts)
    factors = result.adapter.modules["m"]
    assert factors.rank <= min(*shape, sum(ranks))
    wanted = dense_sum(experts, weights, "m")
    size = sum(
        abs(w) * float(dense(e.modules["m"]).norm()) for w, e in zip(weights, experts, strict=True)
    )
    assert float((dense(factors) - wanted).norm()) <= 1e-5 * size
    assert 0.0 <= result.retained_energy <= 1.0


def test_half_precision_experts_are_computed_in_float32() -> None:
    expert = random_adapter("a", 1)
    for module, factors in expert.modules.items():
        expert.modules[module] = LoraFactors(factors.a.bfloat16(), factors.b.half(), 1.0)
    result = merge(recipe_for({"a": 1.0}), [expert])
    for module, factors in expert.modules.items():
        merged = result.adapter.modules[module]
        assert merged.a.dtype == torch.float32
        assert relative_error(dense(merged), dense(factors)) < 1e-6


def test_svd_of_product_is_the_svd_of_the_dense_product_in_batches() -> None:
    generator = torch.Generator().manual_seed(5)
    b = torch.randn(4, 11, 3, generator=generator)
    a = torch.randn(4, 3, 7, generator=generator)
    u, s, vh = svd_of_product(b, a)
    assert u.shape == (4, 11, 3)
    assert vh.shape == (4, 3, 7)
    assert torch.allclose(s, torch.linalg.svdvals(b @ a)[:, :3], rtol=1e-5)
    assert torch.allclose(u * s[:, None] @ vh, b @ a, atol=1e-5)
    largest = u.gather(-2, u.abs().argmax(dim=-2, keepdim=True))
    assert bool((largest > 0).all())


def test_fixed_signs_keep_the_product() -> None:
    u = torch.tensor([[-3.0, 1.0], [1.0, 2.0]])
    vh = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    fixed_u, fixed_vh = fix_signs(u, vh)
    assert fixed_u[:, 0].tolist() == [3.0, -1.0]
    assert torch.equal(fixed_u @ fixed_vh, u @ vh)


def test_numerical_rank_ignores_rounding_and_is_never_zero() -> None:
    assert numerical_rank(torch.tensor([1.0, 0.1, 1e-8]), 3) == 2
    assert numerical_rank(torch.zeros(3), 3) == 1


def test_stacked_factors_multiply_to_the_weighted_sum() -> None:
    first, second = (random_adapter("x", seed).modules["layers.0.q"] for seed in (1, 2))
    b, a = stack_factors([(first.b, first.a), (second.b, second.a)], [2.0, -1.0])
    assert torch.allclose(b @ a, 2 * first.b @ first.a - second.b @ second.a, atol=1e-5)


@pytest.mark.parametrize(("rank", "shape"), [(3, (60, 40)), (5, (40, 60)), (99, (8, 6))])
def test_randomized_svd_is_near_the_optimum(rank: int, shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    u, s, vh = randomized_svd(matrix, rank)
    exact = torch.linalg.svdvals(matrix)
    kept = min(rank, *shape)
    assert s.shape == (kept,)
    error = float((matrix - u * s @ vh).norm())
    assert error <= 1.01 * float(exact[kept:].square().sum().sqrt()) + 1e-4
    again = randomized_svd(matrix, rank)
    assert torch.equal(u, again[0])
    assert torch.equal(vh, again[2])
