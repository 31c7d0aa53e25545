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
    "gram",
    "leading_of_product",
    "numerical_rank",
    "randomized_svd",
    "signs_of",
    "split_evenly",
    "stack_factors",
    "svd_in_coordinates",
    "svd_of_product",
    "working_dtype",
]

_STRIP = 32  # rows of a Gram matrix at once: narrow enough to save work, wide enough to be quick
_SEED = 0x5A11  # of the test matrix in `randomized_svd`; any constant would do
_NARROWEST, _WIDEST = 8, 48  # directions in one of its blocks
_LEAST = 1e-10  # squared length of what a new direction leaves of a row of length 1


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
    sign = signs_of(u)
    return u * sign, vh * sign.transpose(-2, -1)


def signs_of(u: Tensor) -> Tensor:
    """±1 for each column of `u` (..., out, k): the sign of its entry of largest magnitude.

    Returns:
        (..., 1, k).
    """
    position = u.abs().argmax(dim=-2, keepdim=True)
    return torch.where(u.gather(-2, position) < 0, -1.0, 1.0).to(u.dtype)


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


def leading_of_product(
    b: Tensor, a: Tensor, rank: int, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best approximation of b @ diag(weights) @ a of a rank below R, from Gram matrices.

    A third of the work of two QR; Gram matrices square the condition number, which only blurs
    directions far below the ones that are kept.

    Args:
        b: (..., out, R).
        a: (..., R, in).
        rank: k < R.
        weights: (..., R), float64, of any sign; they enter the small matrices only. 1 by default.

    Returns:
        b (..., out, k) and a (..., k, in) with the spectrum divided evenly; σ (..., k), descending,
        float64; ‖b @ a‖² (...), float64.
    """
    gram_b, gram_a = gram(b.transpose(-2, -1)).double(), gram(a).double()
    if weights is not None:
        gram_b = weights[..., :, None] * gram_b * weights[..., None, :]
    total = (gram_b * gram_a.transpose(-2, -1)).sum((-2, -1))
    p, sigma, q = svd_in_coordinates(gram_b, gram_a, rank)
    half = sigma.sqrt()[..., None, :]
    into = p if weights is None else weights[..., :, None] * p
    left = b @ (into * half).to(b.dtype)
    sign = signs_of(left)
    right = ((half * sign).transpose(-2, -1) * q).to(a.dtype) @ a
    return left.mul_(sign), right, sigma, total


def svd_in_coordinates(gram_b: Tensor, gram_a: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The leading `rank` singular triplets of b @ a, whose Gram matrices are all that is needed.

    With G_B = bᵀb, G_A = aaᵀ = LLᵀ the eigenvectors W of LᵀG_B L are the right singular vectors in
    the coordinates of a, its eigenvalues σ². U = b·P with P = L·W/σ, and σVᵀ = Uᵀ(b a) = (PᵀG_B)·a:
    nothing is inverted but the leading σ.

    What is below 1e-8 of the largest singular value is rounding; below 1e-12 it comes back as 0.

    Args:
        gram_b: bᵀb, (..., R, R), float64.
        gram_a: aaᵀ, (..., R, R), float64.
        rank: k, at most R.

    Returns:
        p (..., R, k), s (..., k) descending, q (..., k, R): u = b @ p and vh = q @ a.
    """
    root, failed = torch.linalg.cholesky_ex(gram_a)
    if bool(failed.any()):  # experts that are copies of each other leave a singular Gram matrix
        values, vectors = torch.linalg.eigh(gram_a)
        root = vectors * values.clamp(min=0).sqrt()[..., None, :]
    values, vectors = torch.linalg.eigh(root.transpose(-2, -1) @ gram_b @ root)
    sigma = values.flip(-1)[..., :rank].clamp(min=0).sqrt()
    least = 1e-12 * sigma[..., :1].clamp(min=1e-300)
    inverse = torch.where(sigma > least, sigma.clamp(min=1e-300).reciprocal(), 0.0)
    p = (root @ vectors.flip(-1)[..., :rank]) * inverse[..., None, :]
    return p, sigma, inverse[..., None] * (p.transpose(-2, -1) @ gram_b)


def gram(rows: Tensor) -> Tensor:
    """Rows @ rowsᵀ, (..., R, in) → (..., R, R); on the CPU little more than a half is computed."""
    count = rows.shape[-2]
    if rows.device.type != "cpu" or count <= _STRIP or rows.shape[-1] < 8 * count:
        return rows @ rows.transpose(-2, -1)
    result = rows.new_empty(*rows.shape[:-1], count)
    for start in range(0, count, _STRIP):
        end = min(start + _STRIP, count)
        strip = rows[..., start:, :] @ rows[..., start:end, :].transpose(-2, -1)
        result[..., start:, start:end] = strip
        result[..., start:end, end:] = strip[..., end - start :, :].transpose(-2, -1)
    return result


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
    matrix: Tensor, rank: int, *, near: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The leading `rank` singular triplets of a dense matrix.

    Block Krylov iteration of Musco and Musco 2015 (arXiv:1504.05477): the result is sought in the
    span of MΩ, (MMᵀ)MΩ, …, all orthonormalised against each other, which for as many products with
    M is far nearer to the optimum than the last block alone (subspace iteration). Four narrow
    blocks find more than three wide ones of the same cost, so a block has no columns to spare, and
    for a high rank fewer than k (Meyer, Musco, Musco 2023, arXiv:2305.02535: many small blocks are
    as good).

    The test matrix Ω has a fixed seed and is drawn on the CPU, so a device kind always gives the
    same result.

    Args:
        matrix: M, (out, in), float32 or float64.
        rank: k, at least 1; more than min(out, in) is cut to it.
        near: (m, in), rows that span nearly the wanted right singular vectors, if such are known;
            Ω is then mixed from them.

    Returns:
        u (out, k), s (k,) descending, vh (k, in), signs fixed; fewer where the matrix has no more.
    """
    rank = min(rank, *matrix.shape)
    width = max(_NARROWEST, min(rank, _WIDEST))
    blocks = 3 + -(-rank // width)
    if max(width, rank) >= min(matrix.shape):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        start = _start(matrix, width, near)
        u, s, vh = _krylov(matrix, start, max(rank, min(blocks * width, *matrix.shape)))
    u, vh = fix_signs(u[:, :rank], vh[:rank])
    return u, s[:rank], vh


def _start(matrix: Tensor, width: int, near: Tensor | None) -> Tensor:
    """Ω of `randomized_svd` as rows, (width, in): mixed from `near`, or that and random rows."""
    generator = torch.Generator().manual_seed(_SEED)
    mixes = near is not None and len(near) > width
    columns = len(near) if near is not None and mixes else matrix.shape[1]
    start = torch.randn(width, columns, generator=generator, dtype=matrix.dtype).to(matrix.device)
    if near is None:
        return start
    if mixes:
        return start @ near
    start[: len(near)] = near
    return start


def _krylov(matrix: Tensor, start: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Approximate u, s, vh of `matrix` from a basis of `size` directions that begins at `start`.

    Blocks are kept as rows: BLAS multiplies few rows by a matrix up to three times as fast as a
    matrix by few columns.

    Args:
        matrix: (out, in).
        start: (width, in).
        size: at least width.
    """
    basis, image = matrix.new_empty(size, matrix.shape[0]), matrix.new_empty(size, matrix.shape[1])
    block, found = start, 0
    while found < size:
        left = _upright(_unit_rows(block) @ matrix.T, basis[:found])[: size - found]
        if not len(left):  # the matrix has no more directions
            break
        basis[found : found + len(left)] = left
        block = torch.mm(left, matrix, out=image[found : found + len(left)])
        found += len(left)
    basis, image = basis[:found], image[:found]
    # Rayleigh–Ritz: the squared singular values of the image are its Gram matrix's eigenvalues.
    wide = image.double()
    squares, turn = torch.linalg.eigh(wide @ wide.T)
    s = squares.flip(0).clamp(min=0).sqrt().to(matrix.dtype)
    turn = turn.flip(1).to(matrix.dtype)
    return basis.T @ turn, s, _unit_rows(turn.T @ image)


def _upright(rows: Tensor, basis: Tensor) -> Tensor:
    """Orthonormal rows that span `rows` (w, out) without their part in `basis` (found, out).

    Returns:
        (at most w, out), the strongest first; what is but rounding errors is left out.
    """
    rows = _unit_rows(rows)
    for _ in range(3):  # the first finds what is left, the others take its rounding errors away
        rows = rows - (rows @ basis.T) @ basis
        wide = rows.double()
        squares, turn = torch.linalg.eigh(wide @ wide.T)
        kept = squares.flip(0) > _LEAST
        length = squares.flip(0)[kept].rsqrt()
        rows = ((turn.flip(1)[:, kept] * length).T @ wide).to(rows.dtype)
    return rows


def _unit_rows(rows: Tensor) -> Tensor:
    """Rows of length 1; those of zeros stay."""
    lengths: Tensor = rows.norm(dim=1, keepdim=True)
    return rows / lengths.clamp(min=torch.finfo(rows.dtype).tiny)
