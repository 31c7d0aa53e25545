"""PCB-Merging: every entry of every expert gets its own weight, by importance and by agreement."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.merging.dense import from_dense, largest, weighted_updates
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.ties import STRENGTH

__all__ = ["Pcb", "clip_outliers", "scores_to_scale"]

_OUTLIERS = 1e-4  # share of entries at either end that is clipped, as in the authors' code


@register
class Pcb(MergeMethod):
    """PCB-Merging, parameter competition balancing (Du et al. 2024, arXiv:2410.02396).

    As in the authors' code, layer by layer. With σᵢ = ωᵢΔWᵢ and |ΔWᵢ| clipped to its 0.01 % and
    99.99 % quantiles and brought to [0, 1] (N):

        intra-balancing  exp(n · N(|ΔWᵢ|)²)                how much an entry matters to its expert
        inter-balancing  tanh(σᵢ · Σⱼ σⱼ)                  how much the experts agree on it
        score βᵢ         their product
        drop, rescale    sᵢ = max(0, βᵢ - t) / (max βᵢ - t), t the `density` quantile of βᵢ
        result           λ · Σᵢ sᵢ·σᵢ / Σᵢ |ωᵢ|·sᵢ         σᵢ clipped likewise

    n counts the experts of the merge, λ is `strength`. The paper writes softmax for both
    balancings; the divisor of the first cancels in the rescaling.

    The weights enter as ωᵢ = n·wᵢ/Σ|w|, 1 if they are equal, in which case this is the authors'
    formula; so only their ratio matters. A single expert comes back trimmed to its `density` largest
    entries (clipped), at density 1 without its smallest. The result is brought back to low rank.
    """

    key = "pcb"
    name = "PCB"
    summary = (
        "Weighs every single change by how much it matters and how far the experts agree on it."
    )
    paper = "Du et al. 2024, Parameter Competition Balancing for Model Merging, arXiv:2410.02396"
    order = 24
    parameters = (
        Parameter(
            "density", "Share kept", "float", 0.01, 1.0, 0.1,
            "How much of each expert is kept: 0.1 keeps the tenth of its changes with the highest "
            "scores.",
        ),
        STRENGTH,
    )  # fmt: skip

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Dense."""
        return from_dense(self.dense(module, context), module, context)

    def dense(self, module: ModuleInputs, context: MergeContext) -> Tensor:
        """The merged update of one layer before it is brought to low rank, (out, in)."""
        count = len(context.experts)
        even = count / sum(abs(weight) for weight in context.weights)
        updates = [update.mul_(even) for update in weighted_updates(module)]
        together = updates[0].clone()
        for update in updates[1:]:
            together += update
        total, mass = torch.zeros_like(together), torch.zeros_like(together)
        for weight, update in zip(module.weights, updates, strict=True):
            agreement = update * together
            if float(agreement.abs().max()) > 1e-4:  # below that tanh changes no digit
                agreement.tanh_()
            lowest, highest = clip_outliers(update)
            size = update.abs().clamp_(lowest, highest)
            update.sign_().mul_(size)
            size.sub_(lowest).div_(max(highest - lowest, torch.finfo(size.dtype).tiny))
            score = size.square_().mul_(count).exp_().mul_(agreement)
            scale = scores_to_scale(score, float(context.parameters["density"]))
            total.addcmul_(update, scale)
            mass.add_(scale, alpha=abs(weight) * even)
        total.div_(mass.clamp_(min=torch.finfo(mass.dtype).tiny))
        return total.mul_(float(context.parameters["strength"]))


def clip_outliers(update: Tensor) -> tuple[float, float]:
    """The magnitudes that 0.01 % of the entries are below, and above."""
    magnitude = update.abs().flatten()
    size = magnitude.numel()
    aside = int(size * _OUTLIERS)
    if aside == 0:
        return float(magnitude.min()), float(magnitude.max())
    return float(largest(magnitude, size - aside)), float(largest(magnitude, aside + 1))


def scores_to_scale(score: Tensor, density: float) -> Tensor:
    """The highest scores as numbers up to 1, the others as 0; in place.

    Args:
        score: any shape.
        density: share of entries that stay; the smallest of them marks the zero.
    """
    keep = max(1, round(density * score.numel()))
    threshold, highest = float(largest(score.flatten(), keep)), float(score.max())
    if highest > threshold:
        return score.sub_(threshold).clamp_(min=0).div_(highest - threshold)
    # All that stay have the same score: a zero update has none, others have it all.
    return score.sub_(threshold).sign_().add_(1) if highest > 0 else score.zero_()
