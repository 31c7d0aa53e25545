"""Layers made small: the experts' updates in orthonormal bases of what their factors span.

What depends on inner products alone (singular values, polar factors, least squares) is the same for
Δ = QᵦᵀΔW·Qₐ, of at most R×R numbers, as for ΔW. So methods of that kind work on the cores, and only
the Gram matrices of the factors and the way back touch anything of the layer's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experts.merging.adapters import LoraFactors
from experts.merging.lowrank import fix_signs, gram
from experts.merging.registry import MergeContext, MergedModule, MergeMethod, ModuleInputs
from experts.merging.spectra import CoreInputs, dtype_of

__all__ = ["CoreMethod", "Frames", "frames_of"]

_PIVOT = 1e-3  # of vectors of length 1: how far each must be from what those before it span


@dataclass(frozen=True)
class Frames:
    """A layer's core and the way back.

    Attributes:
        core: the experts' updates in the bases; the layer itself if its factors are float64, whose
            condition number must not be squared.
        b: (out, R), float64, the factors side by side; None if `core` is the layer itself.
        a: (R, in), the same.
        from_b: (R, k): the columns of b @ from_b are orthonormal.
        from_a: (R, k'), the same for the rows of a.
    """

    core: ModuleInputs
    b: Tensor | None = None
    a: Tensor | None = None
    from_b: Tensor | None = None
    from_a: Tensor | None = None

    def left(self, columns: Tensor) -> Tensor:
        """Columns (k, n) of the core as columns (out, n) of the layer."""
        if self.b is None or self.from_b is None:
            return columns
        return self.b @ (self.from_b @ columns).to(self.b.device)

    def right(self, rows: Tensor) -> Tensor:
        """Rows (n, k') of the core as rows (n, in) of the layer."""
        if self.a is None or self.from_a is None:
            return rows
        return (rows @ self.from_a.T).to(self.a.device) @ self.a

    def finish(self, merged: MergedModule, *, rows: bool = True) -> MergedModule:
        """A result of the core as one of the layer, signs fixed.

        Args:
            merged: of the core.
            rows: its rows are those of the core, too; otherwise they are the layer's already.
        """
        factors = merged.factors
        b, a = self.left(factors.b), self.right(factors.a) if rows else factors.a
        b, a = fix_signs(b, a)
        dtype = dtype_of(self.core)
        return replace(merged, factors=LoraFactors(a=a.to(dtype), b=b.to(dtype), scaling=1.0))


def frames_of(module: ModuleInputs, device: torch.device | str | None = None) -> Frames:
    """Orthonormal bases of what the experts' factors span in a layer, and the updates in them.

    Args:
        module: the layer.
        device: of the core; the layer's by default.
    """
    precision = dtype_of(module)
    if precision == torch.float64:
        return Frames(module)
    b = torch.cat([factors.b.double() for factors in module.factors], dim=1)
    a = torch.cat([factors.a.double() for factors in module.factors], dim=0)
    device = a.device if device is None else device
    in_b, from_b = _basis(gram(b.T).to(device))
    in_a, from_a = _basis(gram(a).to(device))
    ranks = [factors.rank for factors in module.factors]
    cores = tuple(
        LoraFactors(a=rows.T, b=columns, scaling=factors.scaling)
        for columns, rows, factors in zip(
            in_b.split(ranks, dim=1), in_a.split(ranks, dim=1), module.factors, strict=True
        )
    )
    core = CoreInputs(module.name, module.experts, module.weights, cores, precision)
    return Frames(core, b, a, from_b, from_a)


def _basis(products: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of vectors that are known by their inner products.

    Args:
        products: (R, R), float64.

    Returns:
        The vectors in the basis (k, R), and the basis as combinations of the vectors (R, k).
    """
    length = products.diagonal().sqrt()
    size = torch.where(length > 0, length, 1.0)
    products = products / size / size[:, None]
    root, failed = torch.linalg.cholesky_ex(products)
    # Vectors that depend on others may leave a pivot of rounding errors, which must not be divided by.
    if not bool(failed) and float(root.diagonal().min()) > _PIVOT:
        inverse = torch.linalg.solve_triangular(
            root, torch.eye(len(root), dtype=root.dtype, device=root.device), upper=False
        )
        return root.T * length, inverse.T / size[:, None]
    values, vectors = torch.linalg.eigh(products)  # some depend on others
    # What float32 vectors do not share to its precision is rounding, and squared here.
    kept = values > len(values) * torch.finfo(torch.float32).eps ** 2 * values[-1]
    kept[-1] = True
    sizes = values[kept].clamp(min=torch.finfo(values.dtype).tiny).sqrt()
    vectors = vectors[:, kept]
    return sizes[:, None] * vectors.T * length, vectors / sizes / size[:, None]


class CoreMethod(MergeMethod):
    """A method that depends on inner products of the updates alone; it works on their cores."""

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """The cores are so small that a GPU is slower at them than the CPU."""
        frames = frames_of(module, "cpu")
        return frames.finish(self.merge_core(frames.core, context))

    def merge_core(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Merge one layer that is given as its core; all that a method needs to define."""
        raise NotImplementedError
