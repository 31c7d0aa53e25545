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
    "leading_of_product",
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


def leading_of_product(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best approximation of b @ a of a rank below R, from Gram matrices.

    With G_B = bᵀb, G_A = aaᵀ = LLᵀ the eigenvectors W of LᵀG_B L are the right singular vectors in
    the coordinates of a, its eigenvalues σ². U = b·P with P = L·W/σ, and σVᵀ = Uᵀ(b a) = (PᵀG_B)·a:
    nothing is inverted but the leading σ. A third of the work of two QR; Gram matrices square the
    condition number, which only blurs directions far below the ones that are kept.

    Args:
        b: (..., out, R).
        a: (..., R, in).
        rank: k < R.

    Returns:
        b (..., out, k) and a (..., k, in) with the spectrum divided evenly; σ (..., k), descending,
        float64; ‖b @ a‖² (...), float64.
    """
    gram_b = (b.transpose(-2, -1) @ b).double()
    gram_a = (a @ a.transpose(-2, -1)).double()
    total = (gram_b * gram_a.transpose(-2, -1)).sum((-2, -1))
    root, failed = torch.linalg.cholesky_ex(gram_a)
    if bool(failed.any()):  # experts that are copies of each other leave a singular Gram matrix
        values, vectors = torch.linalg.eigh(gram_a)
        root = vectors * values.clamp(min=0).sqrt()[..., None, :]
    values, vectors = torch.linalg.eigh(root.transpose(-2, -1) @ gram_b @ root)
    sigma = values.flip(-1)[..., :rank].clamp(min=0).sqrt()
    w = vectors.flip(-1)[..., :rank]
    least = 1e-12 * sigma[..., :1].clamp(min=1e-300)
    inverse = torch.where(sigma > least, sigma.clamp(min=1e-300).reciprocal(), 0.0)
    p = (root @ w) * inverse[..., None, :]  # U = b @ p
    half = sigma.sqrt()[..., None, :]
    left = b @ (p * half).to(b.dtype)
    # √σ·Vᵀ = (σVᵀ)/√σ
    right = ((p * (half * inverse[..., None, :])).transpose(-2, -1) @ gram_b).to(a.dtype) @ a
    left, right = fix_signs(left, right)
    return left, right, sigma, total


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
    matrix: Tensor,
    rank: int,
    *,
    near: Tensor | None = None,
    oversampling: int = 8,
    depth: int = 3,
) -> tuple[Tensor, Tensor, Tensor]:
    """The leading `rank` singular triplets of a dense matrix.

    Block Krylov iteration of Musco and Musco 2015 (arXiv:1504.05477): the result is sought in the
    span of MΩ, (MMᵀ)MΩ, …, all orthonormalised against each other, which for as many products with
    M is far nearer to the optimum than the last block alone (subspace iteration).

    The test matrix Ω has a fixed seed and is drawn on the CPU, so a device kind always gives the
    same result.

    Args:
        matrix: M, (out, in), float32 or float64.
        rank: k, at least 1; more than min(out, in) is cut to it.
        near: (in, m), columns that span nearly the wanted right singular vectors, if such are
            known; Ω then starts with the first of them.
        oversampling: extra columns of Ω.
        depth: blocks; 2·depth products with M are made.

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
        start = start.to(matrix.device)
        if near is not None:
            known = min(width, near.shape[1])
            start[:, :known] = near[:, :known]
            start /= start.norm(dim=0).clamp(min=torch.finfo(start.dtype).tiny)
        u, s, vh = _krylov(matrix, start, min(depth, min(matrix.shape) // width))
    u, vh = fix_signs(u[:, :rank], vh[:rank])
    return u, s[:rank], vh


def _krylov(matrix: Tensor, start: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """Approximate u, s, vh of `matrix` from `depth` blocks that begin at `start` (in, width)."""
    basis = torch.linalg.qr(matrix @ start)[0]
    image = matrix.T @ basis
    width = start.shape[1]
    for _ in range(depth - 1):
        block = matrix @ torch.linalg.qr(image[:, -width:])[0]
        for _ in range(2):  # once leaves rounding errors; twice is enough
            block = block - basis @ (basis.T @ block)
        block = torch.linalg.qr(block)[0]
        # Where the matrix has no more directions, the block is noise that lies anywhere: stop.
        if float((basis.T @ block).abs().max()) > 1e-4:
            break
        basis = torch.cat([basis, block], dim=1)
        image = torch.cat([image, matrix.T @ block], dim=1)
    right, small = torch.linalg.qr(image)
    small_u, s, small_vh = torch.linalg.svd(small.T.double())
    dtype = matrix.dtype
    return basis @ small_u.to(dtype), s.to(dtype), small_vh.to(dtype) @ right.T
