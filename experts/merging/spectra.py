"""What the spectral methods share: the SVD of one expert, common bases, and the way to a result.

All of it is exact in factored space and runs in float64: the matrices are thin, and polar factors
and bases would promote rounding noise to full-sized directions. What is noise is judged by the
precision of the experts' own factors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experts.merging.adapters import LoraFactors
from experts.merging.lowrank import (
    fix_signs,
    split_evenly,
    svd_of_product,
    working_dtype,
)
from experts.merging.registry import MergeContext, MergedModule, ModuleInputs

__all__ = [
    "dtype_of",
    "from_product",
    "left_basis",
    "polar_factor",
    "significant",
    "svd_of_expert",
]


def dtype_of(module: ModuleInputs) -> torch.dtype:
    """The precision of a layer's factors (float32 or float64), in which its result is given."""
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


def svd_of_expert(factors: LoraFactors) -> tuple[Tensor, Tensor, Tensor]:
    """The exact SVD of ΔW without its noise directions, so that it depends on ΔW alone.

    Returns:
        u (out, k), s (k,) descending, vh (k, in), float64; k is ΔW's numerical rank, maybe 0.
    """
    u, s, vh = svd_of_product(factors.b.double() * factors.scaling, factors.a.double())
    rank = significant(s, factors.rank, working_dtype(factors.a, factors.b))
    return u[:, :rank], s[:rank], vh[:rank]


def left_basis(columns: Tensor, dtype: torch.dtype) -> Tensor:
    """The left singular vectors of thin `columns` that are not noise, strongest first, signs fixed.

    Args:
        columns: (n, k), float64.
        dtype: precision of the data behind it.

    Returns:
        (n, rank), orthonormal columns.
    """
    q, r = torch.linalg.qr(columns)
    u, s, _ = torch.linalg.svd(r, full_matrices=False)
    basis = q @ u[:, : significant(s, columns.shape[1], dtype)]
    return fix_signs(basis, basis.T)[0] if basis.shape[1] else basis


def polar_factor(columns: Tensor, dtype: torch.dtype) -> Tensor:
    """P·Qᵀ of the SVD P·S·Qᵀ: the nearest matrix with orthonormal columns (Procrustes).

    Directions that the columns share fully (S is noise) have no such matrix; they are left out, so
    the result is the unique partial isometry of the polar decomposition.

    Args:
        columns: (n, k), float64.
        dtype: precision of the data behind it.
    """
    q, r = torch.linalg.qr(columns)
    p, s, qh = torch.linalg.svd(r, full_matrices=False)
    rank = significant(s, columns.shape[1], dtype)
    factor: Tensor = q @ (p[:, :rank] @ qh[:rank])
    return factor


def from_product(b: Tensor, a: Tensor, module: ModuleInputs, context: MergeContext) -> MergedModule:
    """A result known as b @ a: lossless, or its best approximation of the wanted rank.

    Args:
        b: (out, k), float64; k may be 0.
        a: (k, in), float64.
        module: the layer.
        context: the merge's.
    """
    dtype = dtype_of(module)
    if b.shape[1] == 0:
        b, a = b.new_zeros(len(b), 1), a.new_zeros(1, a.shape[1])
    u, s, vh = svd_of_product(b, a)
    rank = max(1, significant(s, b.shape[1], dtype))
    if context.rank is not None:
        rank = min(rank, context.rank)
    thin_b, thin_a = split_evenly(u, s, vh, rank)
    energy = s.square()
    factors = LoraFactors(a=thin_a.to(dtype), b=thin_b.to(dtype), scaling=1.0)
    return MergedModule(factors, float(energy[:rank].sum()), float(energy.sum()))
