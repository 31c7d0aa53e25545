"""Cores of layers: float32 factors by Gram matrices give what float64 ones give by QR."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.cores import frames_of
from experts.merging.lowrank import gram, svd_in_coordinates
from experts.merging.merge import merge
from experts.merging.registry import ModuleInputs
from tests.unit.merging_support import dense, in_float64, random_adapter, recipe_for, relative_error

METHODS = ["knots_ties", "core_ties", "tsv", "iso_c", "iso_cts", "star", "wudi"]
DROP_NOTHING = {"knots_ties": {"density": 1.0}, "core_ties": {"density": 1.0}}
SHAPES = {"m": (40, 30), "wide": (9, 50), "tall": (50, 7)}


def inputs(experts: list[Adapter], module: str) -> ModuleInputs:
    factors = tuple(expert.modules[module] for expert in experts)
    names = tuple(expert.name for expert in experts)
    return ModuleInputs(module, names, (1.0,) * len(experts), factors)


@pytest.mark.parametrize("module", list(SHAPES))
@pytest.mark.parametrize("copies", [False, True])
def test_a_core_keeps_every_inner_product(module: str, copies: bool) -> None:
    experts = [random_adapter("a", 1, shapes=SHAPES), random_adapter("b", 2, shapes=SHAPES, rank=5)]
    if copies:
        experts.append(dataclasses.replace(experts[0], name="c"))
    layer = inputs(experts, module)
    frames = frames_of(layer)
    for one, small in zip(layer.factors, frames.core.factors, strict=True):
        assert relative_error(frames.left(small.b) @ frames.right(small.a), dense(one)) < 1e-6
        for other, less in zip(layer.factors, frames.core.factors, strict=True):
            wanted = float((dense(one) * dense(other)).sum())
            size = float(dense(one).norm() * dense(other).norm())
            assert abs(float((dense(small) * dense(less)).sum()) - wanted) < 1e-9 * size


def test_factors_in_float64_are_their_own_core() -> None:
    layer = inputs([in_float64(random_adapter("a", 1, shapes=SHAPES))], "m")
    assert frames_of(layer).core is layer


@pytest.mark.parametrize("method", METHODS)
@given(
    ranks=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    wanted=st.sampled_from([None, 1]),
)
@settings(max_examples=8, deadline=None)
def test_float32_gives_what_float64_gives(
    method: str, ranks: list[int], seed: int, wanted: int | None
) -> None:
    experts = [
        random_adapter(f"e{i}", seed + i, shapes={"m": (40, 30)}, rank=rank)
        for i, rank in enumerate(ranks)
    ]
    weights = {expert.name: 0.2 + 0.3 * i for i, expert in enumerate(experts)}
    recipe = recipe_for(
        weights, method=method, rank=wanted, parameters=DROP_NOTHING.get(method, {})
    )
    quick = merge(recipe, experts)
    exact = merge(recipe, [in_float64(expert) for expert in experts])
    assert quick.adapter.modules["m"].rank == exact.adapter.modules["m"].rank
    assert quick.adapter.modules["m"].a.dtype == torch.float32
    wished = dense(exact.adapter.modules["m"])
    assert relative_error(dense(quick.adapter.modules["m"]), wished) < 1e-5
    assert quick.retained_energy == pytest.approx(exact.retained_energy, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_gauge_far_from_even_changes_little(method: str) -> None:
    first, second = (random_adapter(n, s, shapes={"m": (40, 30)}) for s, n in enumerate("ab"))
    scale = torch.tensor([1e4, 1.0, 1e-4])
    uneven = {
        name: LoraFactors(a=f.a * scale[:, None], b=f.b / scale, scaling=f.scaling)
        for name, f in first.modules.items()
    }
    recipe = recipe_for({"a": 0.6, "b": 0.4}, method=method)
    plain = merge(recipe, [first, second]).adapter.modules["m"]
    turned = merge(recipe, [dataclasses.replace(first, modules=uneven), second])
    assert relative_error(dense(turned.adapter.modules["m"]), dense(plain)) < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_zero_updates_merge_to_zero(method: str) -> None:
    expert = random_adapter("a", 1)
    for name, factors in expert.modules.items():
        expert.modules[name] = dataclasses.replace(factors, b=torch.zeros_like(factors.b))
    merged = merge(recipe_for({"a": 1.0}, method=method), [expert]).adapter
    assert all(not dense(factors).any() for factors in merged.modules.values())


@pytest.mark.parametrize("shape", [(80, 700), (33, 300), (3, 80, 700), (5, 9)])
def test_half_a_gram_matrix_is_the_whole(shape: tuple[int, ...]) -> None:
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = gram(rows)
    assert relative_error(found, rows @ rows.transpose(-2, -1)) < 1e-14
    assert relative_error(found, found.transpose(-2, -1)) < 1e-14


def test_the_svd_in_coordinates_is_that_of_the_product() -> None:
    generator = torch.Generator().manual_seed(2)
    b = torch.randn(2, 30, 6, generator=generator, dtype=torch.float64)
    a = torch.randn(2, 6, 20, generator=generator, dtype=torch.float64)
    p, s, q = svd_in_coordinates(gram(b.transpose(1, 2)), gram(a), 4)
    u, vh = b @ p, q @ a
    assert torch.allclose(s, torch.linalg.svdvals(b @ a)[:, :4])
    eye = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    assert torch.allclose(u.transpose(1, 2) @ u, eye, atol=1e-9)
    assert torch.allclose(vh @ vh.transpose(1, 2), eye, atol=1e-9)
    assert torch.allclose(u.transpose(1, 2) @ (b @ a), s[..., None] * vh, atol=1e-9)
