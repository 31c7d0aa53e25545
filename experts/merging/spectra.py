"""What the spectral methods share: the SVD of one expert, common bases, and the way to a result.

All of it is exact in factored space and runs in float64: the matrices are thin, and polar factors
and bases would promote rounding noise to full-sized directions. What is noise is judged by the
precision of the experts' own factors. Factors in float32 (all that come from files) are decomposed
by their Gram matrices: what squaring the condition number costs float64 is far below float32's
noise, and it is several times quicker than QR, which factors in float64 get.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.merging.adapters import LoraFactors
from experts.merging.lowrank import (
    fix_signs,
    gram,
    signs_of,
    split_evenly,
    svd_in_coordinates,
    svd_of_product,
    working_dtype,
)
from experts.merging.registry import MergeContext, MergedModule, ModuleInputs

__all__ = [
    "CoreInputs",
    "dtype_of",
    "from_product",
    "left_basis",
    "polar_factor",
    "significant",
    "svd_of_columns",
    "svd_of_expert",
    "svd_of_terms",
    "svds_of_experts",
]


@dataclass(frozen=True)
class CoreInputs(ModuleInputs):
    """A layer in orthonormal bases of what its factors span, see `experts.merging.cores`.

    Attributes:
        precision: of the experts' factors, which says what is noise; the cores are float64.
    """

    precision: torch.dtype = torch.float32


def dtype_of(module: ModuleInputs) -> torch.dtype:
    """The precision of a layer's factors (float32 or float64), in which its result is given."""
    if isinstance(module, CoreInputs):
        return module.precision
    return working_dtype(*(tensor for f in module.factors for tensor in (f.a, f.b)))


def significant(s: Tensor, terms: int, dtype: torch.dtype) -> int:
    """How many singular values are more than the rounding noise of `dtype`; 0 for a zero matrix.

    Args:
        s: (k,), descending.
        terms: number of rank-one terms that were summed; noise grows with it.
        dtype: of the numbers that the matrix was made of.
    """
    if len(s) == 0:
        return 0
    tolerance = float(s[0]) * 8 * max(terms, 1) * torch.finfo(dtype).eps
    return int((s > tolerance).sum())


def svd_of_expert(
    factors: LoraFactors, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The exact SVD of ΔW without its noise directions, so that it depends on ΔW alone.

    Args:
        factors: of ΔW.
        dtype: precision of the data behind them; their own by default.

    Returns:
        u (out, k), s (k,) descending, vh (k, in), float64; k is ΔW's numerical rank, maybe 0.
    """
    dtype = dtype or working_dtype(factors.a, factors.b)
    return svd_of_terms(factors.b.double() * factors.scaling, factors.a.double(), dtype)


def svds_of_experts(module: ModuleInputs) -> list[tuple[Tensor, Tensor, Tensor]]:
    """`svd_of_expert` of each expert of a layer or of its core; of a core the signs are arbitrary."""
    if not isinstance(module, CoreInputs):
        return [svd_of_expert(factors) for factors in module.factors]
    if len({factors.rank for factors in module.factors}) > 1:
        return [svd_of_expert(factors, module.precision) for factors in module.factors]
    b = torch.stack([factors.b * factors.scaling for factors in module.factors])
    a = torch.stack([factors.a for factors in module.factors])
    most = min(b.shape[1], b.shape[2], a.shape[2])
    p, s, q = svd_in_coordinates(gram(b.transpose(1, 2)), gram(a), most)
    found = []
    for u, sizes, vh in zip(b @ p, s, q @ a, strict=True):
        rank = significant(sizes, b.shape[2], module.precision)
        found.append((u[:, :rank], sizes[:rank], vh[:rank]))
    return found


def svd_of_terms(
    b: Tensor, a: Tensor, dtype: torch.dtype, *, least: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """The exact SVD of b @ a without its noise directions, signs fixed.

    Args:
        b: (out, R), float64.
        a: (R, in), float64.
        dtype: precision of the data behind them.
        least: directions to return at least; of a zero matrix they need not be unit vectors.

    Returns:
        u (out, k), s (k,) descending, vh (k, in), float64; k is the numerical rank.
    """
    if dtype == torch.float64:
        u, s, vh = svd_of_product(b, a)
        rank = max(least, significant(s, b.shape[1], dtype))
        return u[:, :rank], s[:rank], vh[:rank]
    p, s, q = svd_in_coordinates(gram(b.T), gram(a), min(b.shape[1], len(b), a.shape[1]))
    rank = max(least, significant(s, b.shape[1], dtype))
    u, vh = b @ p[:, :rank], q[:rank] @ a
    u, vh = fix_signs(u, vh) if rank else (u, vh)
    return u, s[:rank], vh


def svd_of_columns(columns: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The SVD of one thin matrix without its noise directions; the signs are arbitrary.

    Args:
        columns: (n, k), float64.
        dtype: precision of the data behind it.

    Returns:
        u (n, rank), s (rank,) descending, vh (rank, k), float64; rank may be 0.
    """
    if dtype == torch.float64:
        q, r = torch.linalg.qr(columns)
        u, s, vh = torch.linalg.svd(r, full_matrices=False)
        rank = significant(s, columns.shape[1], dtype)
        return q @ u[:, :rank], s[:rank], vh[:rank]
    values, vectors = torch.linalg.eigh(gram(columns.T))
    s = values.flip(0)[: len(columns)].clamp(min=0).sqrt()
    s = s[: significant(s, columns.shape[1], dtype)]
    v = vectors.flip(1)[:, : len(s)]
    return columns @ (v / s), s, v.T


def left_basis(columns: Tensor, dtype: torch.dtype) -> Tensor:
    """The left singular vectors of thin `columns` that are not noise, strongest first, signs fixed.

    Args:
        columns: (n, k), float64.
        dtype: precision of the data behind it.

    Returns:
        (n, rank), orthonormal columns.
    """
    basis, _, _ = svd_of_columns(columns, dtype)
    return basis * signs_of(basis) if basis.shape[1] else basis


def polar_factor(columns: Tensor, dtype: torch.dtype) -> Tensor:
    """P·Qᵀ of the SVD P·S·Qᵀ: the nearest matrix with orthonormal columns (Procrustes).

    Directions that the columns share fully (S is noise) have no such matrix; they are left out, so
    the result is the unique partial isometry of the polar decomposition.

    Args:
        columns: (n, k), float64.
        dtype: precision of the data behind it.
    """
    p, _, qh = svd_of_columns(columns, dtype)
    return p @ qh


def from_product(b: Tensor, a: Tensor, module: ModuleInputs, context: MergeContext) -> MergedModule:
    """A result known as b @ a: lossless, or its best approximation of the wanted rank.

    Args:
        b: (out, k), float64; k may be 0.
        a: (k, in), float64.
        module: the layer.
        context: the merge's.
    """
    dtype, stored = dtype_of(module), working_dtype(module.factors[0].a, module.factors[0].b)
    if b.shape[1] == 0:
        b, a = b.new_zeros(len(b), 1), a.new_zeros(1, a.shape[1])
    u, s, vh = svd_of_terms(b, a, dtype, least=1)
    rank = len(s) if context.rank is None else min(len(s), context.rank)
    thin_b, thin_a = split_evenly(u, s, vh, rank)
    energy = s.square()
    factors = LoraFactors(a=thin_a.to(stored), b=thin_b.to(stored), scaling=1.0)
    return MergedModule(factors, float(energy[:rank].sum()), float(energy.sum()))
