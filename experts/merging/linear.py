"""Weighted sum of the experts' updates (task arithmetic), exact in factored space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.lowrank import (
    leading_of_product,
    numerical_rank,
    split_evenly,
    svd_of_product,
    working_dtype,
)
from experts.merging.registry import MergeContext, MergedModule, MergeMethod, ModuleInputs, register

__all__ = ["Linear"]

_CACHE_NUMBERS = 2**20  # numbers that the CPU stacks at once; 4 MiB in float32


@register
class Linear(MergeMethod):
    """Σᵢ wᵢ·ΔWᵢ (task arithmetic, Ilharco et al. 2023, arXiv:2212.04089).

    The sum of n updates of rank rᵢ has rank at most R = Σ rᵢ, so it is computed exactly from the
    factors laid side by side. Without a wanted rank the result is lossless; otherwise it is the
    best approximation of that rank (Eckart–Young) and the energy lost is reported.
    """

    key = "linear"
    name = "Weighted sum"
    summary = "Adds up what the experts have learned, each as strongly as its weight says."
    paper = "Ilharco et al. 2023, Editing Models with Task Arithmetic, arXiv:2212.04089"
    exact = True
    batched = True
    order = 0

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Note the weights as the coefficients that they are."""
        self.state["coefficients"] = {
            adapter.name: dict.fromkeys(adapter.modules, weight)
            for adapter, weight in zip(adapters, context.weights, strict=True)
        }

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """All modules of a shape at once: Gram matrices if the rank is cut, else QR."""
        rank = context.rank
        if rank is not None and rank < min(group[0].total_rank, *group[0].factors[0].shape):
            return _leading(group, rank)
        b, a, weights = _stacked(group)
        u, s, vh = svd_of_product(b * weights[:, None].to(b.dtype), a)
        results = []
        for index, module in enumerate(group):
            kept_rank = numerical_rank(s[index], module.total_rank)
            if rank is not None:
                kept_rank = min(kept_rank, rank)
            b, a = split_evenly(u[index], s[index], vh[index], kept_rank)
            energy = s[index].double().square()
            kept, total = float(energy[:kept_rank].sum()), float(energy.sum())
            results.append(MergedModule(LoraFactors(a=a, b=b, scaling=1.0), kept, total))
        return results


def _stacked(
    group: Sequence[ModuleInputs], reuse: tuple[torch.Tensor, torch.Tensor] | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Factors laid side by side, the weights apart from them.

    Args:
        group: modules of one shape and summed rank.
        reuse: tensors of an earlier call with as many modules, to be overwritten.

    Returns:
        b (modules, out, R), a (modules, R, in) and the weights of the R terms, scaling included,
        (modules, R), float64.
    """
    first = group[0]
    dtype = working_dtype(*(t for m in group for f in m.factors for t in (f.a, f.b)))
    out_features, in_features = first.factors[0].shape
    total, count, device = first.total_rank, len(group), first.factors[0].a.device
    if reuse is None or reuse[0].dtype != dtype:
        b = torch.empty(count, out_features, total, dtype=dtype, device=device)
        a = torch.empty(count, total, in_features, dtype=dtype, device=device)
    else:
        b, a = reuse
    weights = []
    for number, module in enumerate(group):
        torch.cat([f.b.to(dtype) for f in module.factors], dim=1, out=b[number])
        torch.cat([f.a.to(dtype) for f in module.factors], dim=0, out=a[number])
        pairs = zip(module.weights, module.factors, strict=True)
        weights.append([weight * f.scaling for weight, f in pairs for _ in range(f.rank)])
    return b, a, torch.tensor(weights, dtype=torch.float64, device=device)


def _leading(group: Sequence[ModuleInputs], rank: int) -> list[MergedModule]:
    """The best approximation of a rank below R.

    A GPU takes all modules at once. The CPU takes few of them, stacked into the same memory each
    time: it stays in the cache between the Gram products and those that make the result, and fresh
    memory costs more than copying into it.
    """
    step = len(group)
    if group[0].factors[0].a.device.type == "cpu":
        step = max(1, _CACHE_NUMBERS // (sum(group[0].factors[0].shape) * group[0].total_rank))
    stack: tuple[torch.Tensor, torch.Tensor] | None = None
    results = []
    for start in range(0, len(group), step):
        piece = group[start : start + step]
        b, a, weights = _stacked(piece, stack if len(piece) == step else None)
        stack = b, a
        thin_b, thin_a, sigma, totals = leading_of_product(b, a, rank, weights)
        # Gram matrices hold squares: what is below the root of their rounding is noise.
        noise = math.sqrt(group[0].total_rank * torch.finfo(b.dtype).eps)
        for index, (spectrum, total) in enumerate(
            zip(sigma.tolist(), totals.tolist(), strict=True)
        ):
            own = max(1, sum(value > noise * spectrum[0] for value in spectrum))
            factors = LoraFactors(
                a=thin_a[index, :own].contiguous(), b=thin_b[index, :, :own].contiguous(), scaling=1
            )
            # Both are sums of squares of the same numbers: rounding must not keep more than is.
            kept = math.fsum(value**2 for value in spectrum)
            results.append(MergedModule(factors, min(kept, total), total))
    return results
