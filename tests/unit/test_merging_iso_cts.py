"""Iso-CTS against the authors' steps on dense matrices, in NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.adapters import Adapter
from experts.merging.iso_cts import shares
from experts.merging.merge import MergeResult, merge
from tests.unit.merging_support import (
    dense,
    in_float64,
    random_adapter,
    recipe_for,
    relative_error,
)

Array = np.ndarray


def expert(name: str, seed: int, shape: tuple[int, int], rank: int) -> Adapter:
    return in_float64(random_adapter(name, seed, shapes={"m": shape}, rank=rank, scaling=1.5))


def result_of(experts: list[Adapter], weights: list[float], **fields: Any) -> MergeResult:
    named = {e.name: w for e, w in zip(experts, weights, strict=True)}
    return merge(recipe_for(named, method="iso_cts", **fields), experts)


def polar(matrix: Array) -> Array:
    """(M·Mᵀ)^(-½)·M, small directions left out."""
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    kept = values > values[-1] * 1e-12
    result: Array = vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T @ matrix
    return result


def reference(deltas: list[Array], weights: list[float], common: float) -> Array:
    updates = [w * d for w, d in zip(weights, deltas, strict=True)]
    total = np.sum(updates, axis=0)
    rank = int(np.linalg.matrix_rank(total, tol=1e-10 * np.linalg.norm(total)))
    per_expert = round((rank - int(rank * common)) / len(deltas))
    if per_expert * len(deltas) > rank:
        per_expert -= 1
    shared = rank - per_expert * len(deltas)
    u, s, vh = np.linalg.svd(total)
    us, sizes, vs = [u[:, :shared]], [s[:shared]], [vh[:shared].T]
    for update in updates:
        rest = update - u[:, :shared] @ u[:, :shared].T @ update
        own_u, own_s, own_vh = np.linalg.svd(rest)
        there = own_s[:per_expert] > 1e-10 * np.linalg.norm(update)
        us.append(own_u[:, :per_expert][:, there])
        sizes.append(own_s[:per_expert][there])
        vs.append(own_vh[:per_expert].T[:, there])
    level = np.concatenate(sizes).mean()
    result: Array = level * polar(np.concatenate(us, 1)) @ polar(np.concatenate(vs, 1)).T
    return result


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(6, 14), st.integers(6, 14)),
    ranks=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    common=st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_same_as_the_dense_reference(
    shape: tuple[int, int], ranks: list[int], common: float, seed: int, data: st.DataObject
) -> None:
    weights = [data.draw(st.sampled_from([-0.5, 0.25, 1 / 3, 1.0])) for _ in ranks]
    experts = [expert(f"e{i}", seed * 7 + i, shape, rank) for i, rank in enumerate(ranks)]
    result = result_of(experts, weights, parameters={"common": common})
    deltas = [dense(e.modules["m"]).numpy() for e in experts]
    wanted = torch.from_numpy(reference(deltas, weights, common))
    assert relative_error(dense(result.adapter.modules["m"]), wanted) < 1e-6


@pytest.mark.parametrize(
    ("rank", "experts", "common", "wanted"),
    [
        (24, 3, 0.8, (18, 2)),
        (24, 3, 1.0, (24, 0)),
        (24, 3, 0.0, (0, 8)),
        (4, 3, 0.8, (4, 0)),
        (3, 2, 0.0, (1, 1)),
        (8, 1, 0.8, (6, 2)),
    ],
)
def test_how_room_is_shared(
    rank: int, experts: int, common: float, wanted: tuple[int, int]
) -> None:
    assert shares(rank, experts, common) == wanted


def test_all_in_common_is_iso_c() -> None:
    experts = [expert(n, i, (12, 10), 3) for i, n in enumerate("ab")]
    one = result_of(experts, [0.5, 0.3], parameters={"common": 1.0})
    two = merge(recipe_for({"a": 0.5, "b": 0.3}, method="iso_c"), experts)
    wanted = dense(two.adapter.modules["m"])
    assert relative_error(dense(one.adapter.modules["m"]), wanted) < 1e-9


def test_all_directions_are_equally_strong_and_there_is_no_noise() -> None:
    experts = [expert(n, i, (40, 30), 4) for i, n in enumerate("abc")]
    result = result_of(experts, [1 / 3] * 3)
    s = torch.linalg.svdvals(dense(result.adapter.modules["m"]))
    assert result.adapter.modules["m"].rank == 12
    assert s[:12].tolist() == pytest.approx([float(s[0])] * 12)
    assert float(s[12]) < 1e-9 * float(s[0])


def test_a_wanted_rank_keeps_what_was_strongest() -> None:
    experts = [expert(n, i, (30, 20), 3) for i, n in enumerate("ab")]
    result = result_of(experts, [0.5, 0.5], rank=2)
    total = 0.5 * sum(dense(e.modules["m"]) for e in experts)
    assert isinstance(total, torch.Tensor)
    strongest = torch.linalg.svd(total)[0][:, :2]
    factors = result.adapter.modules["m"]
    # The common directions are nearly, not quite, those of the sum: they make room for the others.
    inside = strongest.T @ torch.linalg.qr(factors.b)[0]
    assert float(torch.linalg.svdvals(inside)[-1]) > 0.9
    assert result.retained_energy == pytest.approx(2 / 6)


def test_what_copies_have_beside_the_common_is_taken_once() -> None:
    copies = [dataclasses.replace(expert("a", 3, (12, 10), 4), name=n) for n in "abc"]
    result = result_of(copies, [1 / 3] * 3, parameters={"common": 0.2})
    factors = result.adapter.modules["m"]
    assert factors.rank == 2
    u, s, vh = torch.linalg.svd(dense(copies[0].modules["m"]))
    level = float(s[0] + s[1]) / 4  # one common direction, and a third of the next from each
    assert relative_error(dense(factors), level * u[:, :2] @ vh[:2]) < 1e-9
