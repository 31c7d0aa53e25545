"""Weighted sum of the experts' updates (task arithmetic), exact in factored space."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from experts.merging.adapters import LoraFactors
from experts.merging.lowrank import numerical_rank, split_evenly, stack_factors, svd_of_product
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

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """One batched QR pair and one batched R×R SVD for all modules of a shape."""
        stacked = [
            stack_factors(
                [(factors.b, factors.a) for factors in module.factors],
                [
                    weight * factors.scaling
                    for weight, factors in zip(module.weights, module.factors, strict=True)
                ],
            )
            for module in group
        ]
        u, s, vh = svd_of_product(
            torch.stack([b for b, _ in stacked]), torch.stack([a for _, a in stacked])
        )
        results = []
        for index, module in enumerate(group):
            rank = numerical_rank(s[index], module.total_rank)
            if context.rank is not None:
                rank = min(rank, context.rank)
            b, a = split_evenly(u[index], s[index], vh[index], rank)
            energy = s[index].double().square()
            kept, total = float(energy[:rank].sum()), float(energy.sum())
            results.append(MergedModule(LoraFactors(a=a, b=b, scaling=1.0), kept, total))
        return results
