"""Arithmetic on matrices kept as a product of thin factors.

Letters: a layer's update ΔW = b @ a has shape (out, in), its factors are b (out, r) and a (r, in);
R is the summed rank of stacked factors. A leading ``...`` stands for any batch dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "fix_signs",
    "numerical_rank",
    "randomized_svd",
    "split_evenly",
    "stack_factors",
    "svd_of_product",
    "working_dtype",
]

_SEED = 0x5A11  # of the test matrix in `randomized_svd`; any constant would do


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any tensor has it, else float32: half precision is for storage only."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if wide else torch.float32


def stack_factors(
    pairs: Sequence[tuple[Tensor, Tensor]], coefficients: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Σᵢ cᵢ·bᵢ@aᵢ as one product, by laying the factors side by side.

    Args:
        pairs: (bᵢ, aᵢ), shapes (out, rᵢ) and (rᵢ, in).
        coefficients: cᵢ, of any sign.

    Returns:
        b (out, R) and a (R, in), R = Σ rᵢ, with cᵢ multiplied into b.
    """
    dtype = working_dtype(*(tensor for pair in pairs for tensor in pair))
    scaled = zip(pairs, coefficients, strict=True)
    b = torch.cat([pair[0].to(dtype) * coefficient for pair, coefficient in scaled], dim=1)
    a = torch.cat([pair[1].to(dtype) for pair in pairs], dim=0)
    return b, a


def fix_signs(u: Tensor, vh: Tensor) -> tuple[Tensor, Tensor]:
    """Make the entry of largest magnitude of each column of `u` positive.

    Singular vectors are defined up to a common sign; without a rule the bytes of a merge would
    depend on the linear algebra library.

    Args:
        u: (..., out, k).
        vh: (..., k, in).
    """
    position = u.abs().argmax(dim=-2, keepdim=True)
    sign = torch.where(u.gather(-2, position) < 0, -1.0, 1.0).to(u.dtype)
    return u * sign, vh * sign.transpose(-2, -1)


def svd_of_product(b: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The exact SVD of b @ a without forming it: O((out + in)·R²), not O(out·in·min(out, in)).

    QR of b and of aᵀ leaves a core of at most R×R, whose SVD is the product's. QR rather than Gram
    matrices, which would square the condition number; the small core is treated in float64.

    Args:
        b: (..., out, R).
        a: (..., R, in).

    Returns:
        u (..., out, k), s (..., k) descending, vh (..., k, in), signs fixed; k = min(out, R, in).
    """
    dtype = working_dtype(a, b)
    q_left, r_left = torch.linalg.qr(b.to(dtype))
    q_right, r_right = torch.linalg.qr(a.to(dtype).transpose(-2, -1))
    core = r_left.double() @ r_right.double().transpose(-2, -1)
    core_u, s, core_vh = torch.linalg.svd(core, full_matrices=False)
    u = q_left @ core_u.to(dtype)
    vh = core_vh.to(dtype) @ q_right.transpose(-2, -1)
    u, vh = fix_signs(u, vh)
    return u, s.to(dtype), vh


def numerical_rank(s: Tensor, terms: int) -> int:
    """How many singular values are more than rounding noise; at least 1, so that factors exist.

    Args:
        s: (k,), descending.
        terms: R, the number of rank-one terms that were summed; noise grows with it.
    """
    tolerance = float(s[0]) * max(terms, 1) * torch.finfo(s.dtype).eps
    return max(1, int((s > tolerance).sum()))


def split_evenly(u: Tensor, s: Tensor, vh: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of the best rank-`rank` approximation, the spectrum divided evenly between the two.

    Returns:
        b (out, rank) and a (rank, in), both scaled by √s, so neither overflows half precision.
    """
    root = s[:rank].clamp(min=0).sqrt()
    return (u[:, :rank] * root).contiguous(), (root[:, None] * vh[:rank]).contiguous()


def randomized_svd(
    matrix: Tensor, rank: int, *, oversampling: int = 8, iterations: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """The leading `rank` singular triplets of a dense matrix.

    Subspace iteration of Halko, Martinsson, Tropp 2011 (arXiv:0909.4061), algorithm 4.4.

    The test matrix has a fixed seed and is drawn on the CPU, so a device kind always gives the
    same result. A QR after each product keeps the small singular directions from drowning.

    Args:
        matrix: (out, in), float32 or float64.
        rank: k, at least 1; more than min(out, in) is cut to it.
        oversampling: extra directions that are followed and dropped at the end.
        iterations: power iterations; the error falls exponentially with them.

    Returns:
        u (out, k), s (k,) descending, vh (k, in), signs fixed.
    """
    rank = min(rank, *matrix.shape)
    width = rank + oversampling
    if width >= min(matrix.shape):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        generator = torch.Generator().manual_seed(_SEED)
        start = torch.randn(matrix.shape[1], width, generator=generator, dtype=matrix.dtype)
        q = torch.linalg.qr(matrix @ start.to(matrix.device))[0]
        for _ in range(iterations):
            q = torch.linalg.qr(matrix.T @ q)[0]
            q = torch.linalg.qr(matrix @ q)[0]
        small_u, s, vh = torch.linalg.svd(q.T @ matrix, full_matrices=False)
        u = q @ small_u
    u, vh = fix_signs(u[:, :rank], vh[:rank])
    return u, s[:rank], vh
