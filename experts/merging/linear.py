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
        u, s, vh = svd_of_product(*_stacked(group))
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


def _stacked(group: Sequence[ModuleInputs]) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of the weighted sums laid side by side: b (modules, out, R) and a (modules, R, in)."""
    first = group[0]
    dtype = working_dtype(*(t for m in group for f in m.factors for t in (f.a, f.b)))
    out_features, in_features = first.factors[0].shape
    total, count, device = first.total_rank, len(group), first.factors[0].a.device
    b = torch.empty(count, out_features, total, dtype=dtype, device=device)
    a = torch.empty(count, total, in_features, dtype=dtype, device=device)
    for number, module in enumerate(group):
        start = 0
        for weight, factors in zip(module.weights, module.factors, strict=True):
            end = start + factors.rank
            torch.mul(factors.b, weight * factors.scaling, out=b[number, :, start:end])
            a[number, start:end] = factors.a
            start = end
    return b, a


def _leading(group: Sequence[ModuleInputs], rank: int) -> list[MergedModule]:
    b, a, sigma, totals = leading_of_product(*_stacked(group), rank)
    results = []
    # Gram matrices hold squares: what is below the root of their rounding is noise.
    noise = math.sqrt(group[0].total_rank * torch.finfo(b.dtype).eps)
    for index, spectrum in enumerate(sigma):
        own = max(1, int((spectrum > noise * spectrum[0]).sum()))
        factors = LoraFactors(
            a=a[index, :own].contiguous(), b=b[index, :, :own].contiguous(), scaling=1.0
        )
        # Both are sums of squares of the same numbers: rounding must not keep more than there is.
        total = float(totals[index])
        results.append(MergedModule(factors, min(float(spectrum.square().sum()), total), total))
    return results
