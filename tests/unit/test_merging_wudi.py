"""WUDI-Merging in closed form against a dense solution of the normal equations."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from experts.merging.adapters import Adapter
from experts.merging.merge import merge
from experts.merging.wudi import damped_inverse
from tests.unit.merging_support import (
    dense,
    in_float64,
    random_adapter,
    recipe_for,
    relative_error,
)


def expert(name: str, seed: int, shape: tuple[int, int], rank: int) -> Adapter:
    return in_float64(random_adapter(name, seed, shapes={"m": shape}, rank=rank, scaling=1.5))


def result_of(experts: list[Adapter], weights: list[float], **fields: Any) -> Tensor:
    named = {e.name: w for e, w in zip(experts, weights, strict=True)}
    merged = merge(recipe_for(named, method="wudi", **fields), experts)
    return dense(merged.adapter.modules["m"])


def loss(x: Tensor, deltas: list[Tensor], weights: list[float]) -> float:
    """The paper's interference of wᵢΔWᵢ, terms weighted by |wᵢ|."""
    return sum(
        abs(w) * float(((x - w * d) @ d.T).square().sum() / d.square().sum())
        for w, d in zip(weights, deltas, strict=True)
    )


def normal_equations(deltas: list[Tensor], weights: list[float], ridge: float) -> Tensor:
    """X·(G + ρI) = H + ρ·Σ wᵢΔWᵢ on the span of the rows, by a dense pseudo-inverse."""
    shares = [abs(w) / float(d.square().sum()) for w, d in zip(weights, deltas, strict=True)]
    gram = sum(c * d.T @ d for c, d in zip(shares, deltas, strict=True))
    right = sum(c * w * d @ d.T @ d for c, w, d in zip(shares, weights, deltas, strict=True))
    assert isinstance(gram, Tensor)
    values, vectors = np.linalg.eigh(gram.numpy())
    vectors = vectors[:, values > values[-1] * 1e-13]
    basis = torch.from_numpy(vectors)
    held = ridge * float(values[-1])
    total = sum(w * d for w, d in zip(weights, deltas, strict=True))
    inner = basis.T @ gram @ basis + held * torch.eye(basis.shape[1], dtype=torch.float64)
    return (right + held * total) @ basis @ torch.linalg.inv(inner) @ basis.T


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    ranks=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    ridge=st.sampled_from([0.0, 0.01, 1.0]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_same_as_the_dense_solution(
    shape: tuple[int, int], ranks: list[int], ridge: float, seed: int, data: st.DataObject
) -> None:
    weights = [data.draw(st.sampled_from([-0.5, 0.25, 1 / 3, 1.0])) for _ in ranks]
    experts = [expert(f"e{i}", seed * 7 + i, shape, rank) for i, rank in enumerate(ranks)]
    deltas = [dense(e.modules["m"]) for e in experts]
    got = result_of(experts, weights, parameters={"ridge": ridge})
    assert relative_error(got, normal_equations(deltas, weights, ridge)) < 1e-4


def test_nothing_near_it_interferes_less() -> None:
    experts = [expert(n, i, (9, 8), 3) for i, n in enumerate("abc")]
    weights = [1.0, 0.5, -0.3]
    deltas = [dense(e.modules["m"]) for e in experts]
    best = result_of(experts, weights, parameters={"ridge": 0.0})
    least = loss(best, deltas, weights)
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1e-1, 10.0):
        step = size * torch.randn(9, 8, generator=generator, dtype=torch.float64)
        assert loss(best + step, deltas, weights) > least
    total = sum(w * d for w, d in zip(weights, deltas, strict=True))
    assert isinstance(total, Tensor)
    assert least < loss(total, deltas, weights)


def test_many_steps_of_descent_from_the_sum_arrive_there() -> None:
    experts = [expert(n, i + 5, (7, 12), 2) for i, n in enumerate("ab")]
    deltas = [dense(e.modules["m"]) for e in experts]
    x = deltas[0] + deltas[1]
    gram = sum(d.T @ d / d.square().sum() for d in deltas)
    assert isinstance(gram, Tensor)
    rate = 1.0 / float(torch.linalg.eigvalsh(gram)[-1])
    for _ in range(20_000):
        x = x - rate * sum((x - d) @ d.T @ d / d.square().sum() for d in deltas)
    got = result_of(experts, [1.0, 1.0], parameters={"ridge": 0.0})
    assert relative_error(got, x) < 1e-6


@pytest.mark.parametrize("ridge", [0.0, 0.01])
def test_experts_that_do_not_overlap_are_added_up(ridge: float) -> None:
    first, second = expert("a", 1, (12, 10), 3), expert("b", 2, (12, 10), 3)
    generator = torch.Generator().manual_seed(4)
    frame = torch.linalg.qr(torch.randn(10, 6, dtype=torch.float64, generator=generator))[0].T
    for e, rows in ((first, frame[:3]), (second, frame[3:])):
        e.modules["m"] = dataclasses.replace(e.modules["m"], a=rows.clone())
    wanted = 0.4 * dense(first.modules["m"]) + 2 * dense(second.modules["m"])
    got = result_of([first, second], [0.4, 2.0], parameters={"ridge": ridge})
    assert relative_error(got, wanted) < 1e-12


def test_what_copies_share_is_counted_once() -> None:
    copies = [dataclasses.replace(expert("a", 3, (12, 10), 4), name=n) for n in "abc"]
    got = result_of(copies, [1 / 3] * 3, parameters={"ridge": 0.0})
    assert relative_error(got, dense(copies[0].modules["m"]) / 3) < 1e-9


def test_a_ridge_draws_contradicting_experts_to_their_sum() -> None:
    first = expert("a", 1, (12, 10), 3)
    f = first.modules["m"]
    generator = torch.Generator().manual_seed(2)
    near = f.a + 1e-3 * torch.randn(f.a.shape, generator=generator, dtype=torch.float64)
    other = torch.randn(f.b.shape, generator=generator, dtype=torch.float64)
    second = dataclasses.replace(
        first, name="b", modules={"m": dataclasses.replace(f, a=near, b=other)}
    )
    total = dense(f) + dense(second.modules["m"])
    wild, calm = (
        result_of([first, second], [1.0, 1.0], parameters={"ridge": ridge}) for ridge in (0.0, 0.01)
    )
    assert float(wild.norm()) > 50 * float(total.norm())
    assert float(calm.norm()) < 1.1 * float(total.norm())


def test_the_damped_inverse_without_ridge_is_the_pseudo_inverse() -> None:
    columns = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    columns[:, 3] = columns[:, 0]
    wanted = torch.linalg.pinv(columns)
    assert torch.allclose(damped_inverse(columns, 0.0, torch.float64), wanted)
    assert not damped_inverse(columns * 0, 0.0, torch.float64).any()
