"""KnOTS, Core Space, TSV-Merge, Iso-C and STAR against dense float64 references in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.merge import merge
from experts.merging.spectra import polar_factor, significant
from experts.merging.spectral import truncate_and_rescale
from tests.unit.merging_support import dense, random_adapter, recipe_for, relative_error
from tests.unit.test_merging_ties import reference as ties

Array = np.ndarray
NOISE = 1e-10


def svd(matrix: Array) -> tuple[Array, Array, Array]:
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    rank = int((s > s[0] * NOISE).sum()) if s.size and s[0] > 0 else 0
    return u[:, :rank], s[:rank], vh[:rank]


def knots(deltas: Sequence[Array], weights: Sequence[float], density: float) -> Array:
    u, s, vh = svd(np.concatenate(deltas, axis=1))
    pieces = np.split(s[:, None] * vh, len(deltas), axis=1)
    return u @ ties(pieces, list(weights), density, True)


def core(deltas: Sequence[Array], weights: Sequence[float], density: float) -> Array:
    spectra = [svd(delta) for delta in deltas]
    left = svd(np.concatenate([u * np.sqrt(s) for u, s, _ in spectra], axis=1))[0]
    right = svd(np.concatenate([np.sqrt(s)[:, None] * vh for _, s, vh in spectra], axis=0))[2]
    cores = [left.T @ delta @ right.T for delta in deltas]
    return left @ ties(cores, list(weights), density, True) @ right


def tsv(deltas: Sequence[Array], weights: Sequence[float], keep: float) -> Array:
    us, spectrum, vs = [], [], []
    for delta, weight in zip(deltas, weights, strict=True):
        u, s, vh = svd(delta)
        k = max(1, int((keep or 1 / len(deltas)) * len(s) + 1e-6))
        us.append(u[:, :k])
        spectrum.append(weight * s[:k])
        vs.append(vh[:k])
    p, _, q = svd(np.concatenate(us, axis=1))
    p2, _, q2 = svd(np.concatenate(vs, axis=0))
    return p @ q @ np.diag(np.concatenate(spectrum)) @ p2 @ q2


def iso(deltas: Sequence[Array], weights: Sequence[float], strength: float) -> Array:
    u, s, vh = svd(sum(w * d for w, d in zip(weights, deltas, strict=True)))  # type: ignore[arg-type]
    return strength * float(s.mean()) * (u @ vh)


def star(deltas: Sequence[Array], weights: Sequence[float], keep: float) -> Array:
    result = np.zeros_like(deltas[0])
    for delta, weight in zip(deltas, weights, strict=True):
        u, s, vh = svd(delta)
        k = next(k for k in range(1, len(s) + 1) if s[:k].sum() >= keep * s.sum() * (1 - 1e-6))
        result += weight * (s.sum() / s[:k].sum()) * (u[:, :k] * s[:k]) @ vh[:k]
    return result


REFERENCES: dict[str, tuple[Callable[..., Array], str, list[float]]] = {
    "knots_ties": (knots, "density", [0.2, 0.5, 1.0]),
    "core_ties": (core, "density", [0.2, 0.5, 1.0]),
    "tsv": (tsv, "keep", [0.0, 0.5, 1.0]),
    "iso_c": (iso, "strength", [0.5, 1.0]),
    "star": (star, "keep", [0.1, 0.4, 0.8, 1.0]),
}


def expert(name: str, seed: int, shape: tuple[int, int], rank: int) -> Adapter:
    adapter = random_adapter(name, seed, shapes={"m": shape}, rank=rank, scaling=1.5)
    f = adapter.modules["m"]
    adapter.modules["m"] = LoraFactors(a=f.a.double(), b=f.b.double(), scaling=f.scaling)
    return adapter


def result_of(method: str, experts: list[Adapter], weights: list[float], **fields: Any) -> Any:
    named = {e.name: w for e, w in zip(experts, weights, strict=True)}
    return merge(recipe_for(named, method=method, **fields), experts)


@pytest.mark.parametrize("method", REFERENCES)
@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    ranks=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_same_as_the_dense_reference(
    method: str, shape: tuple[int, int], ranks: list[int], seed: int, data: st.DataObject
) -> None:
    formula, name, values = REFERENCES[method]
    value = data.draw(st.sampled_from(values))
    weights = [data.draw(st.sampled_from([-0.5, 0.25, 1 / 3, 1.0])) for _ in ranks]
    experts = [expert(f"e{i}", seed * 7 + i, shape, rank) for i, rank in enumerate(ranks)]
    result = result_of(method, experts, weights, parameters={name: value})
    deltas = [dense(e.modules["m"]).numpy() for e in experts]
    wanted = torch.from_numpy(formula(deltas, weights, value))
    assert relative_error(dense(result.adapter.modules["m"]), wanted) < 1e-7


@pytest.mark.parametrize("method", ["knots_ties", "core_ties", "tsv", "star"])
def test_copies_at_equal_shares(method: str) -> None:
    copies = [dataclasses.replace(expert("a", 3, (12, 10), 4), name=n) for n in "abc"]
    keep = {"density": 1.0} if method.endswith("ties") else {"keep": 1.0}
    result = result_of(method, copies, [1 / 3] * 3, parameters=keep)
    wanted = dense(copies[0].modules["m"])
    # Three weights of 1/3 on one shared frame: TSV-Merge counts what is shared once.
    factor = 1 / 3 if method == "tsv" else 1.0
    assert relative_error(dense(result.adapter.modules["m"]), factor * wanted) < 1e-9
    assert result.adapter.modules["m"].rank == 4


def test_tsv_of_experts_that_do_not_overlap_is_their_weighted_sum() -> None:
    first, second = expert("a", 1, (12, 10), 3), expert("b", 2, (12, 10), 3)
    q = torch.linalg.qr(torch.randn(12, 6, dtype=torch.float64, generator=torch.manual_seed(0)))[0]
    p = torch.linalg.qr(torch.randn(10, 6, dtype=torch.float64, generator=torch.manual_seed(1)))[0]
    for part, e in enumerate((first, second)):
        piece = slice(3 * part, 3 * part + 3)
        sizes = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64) + part
        e.modules["m"] = LoraFactors(a=p[:, piece].T.clone(), b=q[:, piece] * sizes, scaling=2.0)
    result = result_of("tsv", [first, second], [0.4, 0.6], parameters={"keep": 1.0})
    wanted = 0.4 * dense(first.modules["m"]) + 0.6 * dense(second.modules["m"])
    assert relative_error(dense(result.adapter.modules["m"]), wanted) < 1e-12


def test_iso_c_is_flat_within_the_numerical_rank_only() -> None:
    copies = [dataclasses.replace(random_adapter("a", 3, shapes={"m": (40, 30)}), name=n)
              for n in "ab"]  # fmt: skip
    result = result_of("iso_c", copies, [0.5, 0.5])
    sum_s = torch.linalg.svdvals(dense(copies[0].modules["m"]))[:3]
    s = torch.linalg.svdvals(dense(result.adapter.modules["m"]))
    assert result.adapter.modules["m"].rank == 3
    assert s[:3].tolist() == pytest.approx([float(sum_s.mean())] * 3, rel=1e-5)
    assert float(s[3]) < 1e-5


def test_iso_c_keeps_the_strongest_directions_of_the_sum() -> None:
    experts = [expert(n, i, (12, 10), 3) for i, n in enumerate("ab")]
    result = result_of("iso_c", experts, [0.5, 0.5], rank=2)
    total = sum(0.5 * dense(e.modules["m"]) for e in experts)
    u, s, vh = torch.linalg.svd(total)  # type: ignore[arg-type]
    wanted = float(s[:6].mean()) * u[:, :2] @ vh[:2]
    assert relative_error(dense(result.adapter.modules["m"]), wanted) < 1e-9
    assert result.retained_energy == pytest.approx(2 / 6)


def test_truncation_keeps_the_nuclear_norm() -> None:
    s = torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    assert truncate_and_rescale(s, 0.4).tolist() == pytest.approx([10.0])
    assert truncate_and_rescale(s, 0.41).tolist() == pytest.approx([40 / 7, 30 / 7])
    assert truncate_and_rescale(s, 1.0).tolist() == pytest.approx(s.tolist())
    assert truncate_and_rescale(s[:0], 0.4).tolist() == []


def test_the_polar_factor_is_the_nearest_orthonormal_matrix() -> None:
    columns = torch.randn(9, 4, dtype=torch.float64, generator=torch.manual_seed(0))
    near = polar_factor(columns, torch.float64)
    assert torch.allclose(near.T @ near, torch.eye(4, dtype=torch.float64))
    product = near.T @ columns
    assert torch.allclose(product, product.T)
    assert bool((torch.linalg.eigvalsh(product) > 0).all())
    shared = polar_factor(columns[:, [0, 0]], torch.float64)
    assert torch.allclose(shared[:, 0], columns[:, 0] / columns[:, 0].norm() / 2**0.5)


def test_noise_is_judged_by_the_precision_of_the_data() -> None:
    s = torch.tensor([1.0, 1e-3, 1e-9, 0.0], dtype=torch.float64)
    assert significant(s, 4, torch.float32) == 2
    assert significant(s, 4, torch.float64) == 3
    assert significant(s * 0, 4, torch.float64) == 0
    assert significant(s[:0], 0, torch.float64) == 0
