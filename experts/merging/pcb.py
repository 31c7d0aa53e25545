"""PCB-Merging: every entry of every expert gets its own weight, by importance and by agreement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from experts.merging.dense import Updates, from_dense
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.thresholds import kth_largest, magnitudes
from experts.merging.ties import STRENGTH

__all__ = ["Pcb", "Scorer", "clip_bounds", "scores_to_scale"]

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
        even = len(context.experts) / sum(abs(weight) for weight in context.weights)
        updates = Updates(module, factor=even)
        bounds = clip_bounds(updates)
        size, scorer = updates.shape.numel(), Scorer(bounds, len(context.experts))
        keep = max(1, round(float(context.parameters["density"]) * size))
        highest = [-math.inf] * len(updates)

        def scores() -> Iterator[Tensor]:
            for _, tile in updates:
                score = scorer(tile).flatten(1)
                highest[:] = map(max, highest, score.amax(dim=1).tolist())
                yield score

        sample = scorer(updates.sample()[:, None])[:, 0].clone()
        thresholds = [found for (found,) in kth_largest(scores, sample, size, [keep])]
        merged = updates.new()
        sizes = merged.new_tensor([abs(weight) * even for weight in module.weights])
        for rows, tile in updates:
            scale = scorer(tile)
            for score, threshold, top in zip(scale, thresholds, highest, strict=True):
                scores_to_scale(score, threshold, top)
            mass = (sizes @ scale.flatten(1)).view(tile.shape[1:])
            for update, (low, high) in zip(tile, bounds, strict=True):
                torch.copysign(update.abs().clamp_(low, high), update, out=update)
            total = torch.sum(tile.mul_(scale), 0, out=merged[rows])
            total.div_(mass.clamp_(min=torch.finfo(mass.dtype).tiny))
        return merged.mul_(float(context.parameters["strength"]))


def clip_bounds(updates: Updates) -> list[tuple[float, float]]:
    """For each expert the magnitudes that 0.01 % of the entries are below, and above."""
    size = updates.shape.numel()
    aside = int(size * _OUTLIERS)
    return [(low, high) for high, low in magnitudes(updates, [aside + 1, size - aside])]


class Scorer:
    """The scores β of a tile's entries: exp(count · N(|σᵢ|)²) · tanh(σᵢ · Σⱼ σⱼ).

    Its result is overwritten by the next: fresh memory for every tile would cost as much time as
    the arithmetic.

    Args:
        bounds: for each expert, what its magnitudes are clipped to before N brings them to [0, 1].
        count: of the experts of the merge.
    """

    def __init__(self, bounds: Sequence[tuple[float, float]], count: int) -> None:
        self.bounds, self.count = bounds, count
        self._buffers = torch.empty(0)

    def __call__(self, tile: Tensor) -> Tensor:
        """Of the shape of `tile`, which is σᵢ, (n, rows, in)."""
        if self._buffers.numel() < 2 * tile.numel():
            self._buffers = tile.new_empty(2 * tile.numel())
        buffers: Tensor = self._buffers[: 2 * tile.numel()].view(2, *tile.shape)
        agreement, size = buffers[0], buffers[1]
        torch.mul(tile, tile.sum(0), out=agreement)
        torch.abs(tile, out=size)
        for magnitude, (low, high) in zip(size, self.bounds, strict=True):
            scale = math.sqrt(self.count) / (high - low) if high > low else 0.0
            magnitude.clamp_(low, high).sub_(low).mul_(scale)
        size.square_()
        if tile.device.type != "cpu":
            agreement.tanh_()
            size.exp_()
        else:
            # NumPy's tanh is seven times as fast as torch's.
            np.tanh(agreement.numpy(), out=agreement.numpy())
            np.exp(size.numpy(), out=size.numpy())
        agreement *= size
        return agreement


def scores_to_scale(score: Tensor, threshold: float, highest: float) -> Tensor:
    """The scores above a threshold as numbers up to 1, the others as 0; in place.

    Args:
        score: any shape.
        threshold: the smallest score that stays; marks the zero.
        highest: the highest score.
    """
    if highest > threshold:
        return score.sub_(threshold).clamp_(min=0).div_(highest - threshold)
    # All that stay have the same score: a zero update has none, others have it all.
    return score.sub_(threshold).sign_().add_(1) if highest > 0 else score.zero_()
