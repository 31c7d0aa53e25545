"""Model Breadcrumbs: leave out each expert's smallest changes and its few largest."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.merging.dense import Updates, from_dense, just_below, shrink_
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.thresholds import magnitudes

__all__ = ["Breadcrumbs", "keep_middle"]


def keep_middle(updates: Updates, small: float, large: float) -> Updates:
    """`updates` without each expert's smallest and largest entries by magnitude.

    Args:
        updates: of one layer.
        small: share of entries to drop at the lower end.
        large: share to drop at the upper end; at least one entry is kept in between, and all that
            tie with the smallest kept one.
    """
    size = updates.shape.numel()
    top = min(round(large * size), size - 1)
    last = top + max(1, size - round(small * size) - top)
    # The places of the smallest entry that stays and of the largest, unless nothing is beyond.
    places = [last] * (last < size) + [top + 1] * (top > 0)
    if not places:
        return updates
    bounds = [
        (just_below(found[0], updates.dtype) if last < size else -1.0, found[-1])
        for found in magnitudes(updates, places)
    ]

    def change(tile: Tensor) -> Tensor:
        for delta, (bound, highest) in zip(tile, bounds, strict=True):
            if top > 0:
                delta.sub_(torch.nn.functional.hardshrink(delta, highest))
            shrink_(delta, bound)
        return tile

    return updates.then(change)


@register
class Breadcrumbs(MergeMethod):
    """Model Breadcrumbs (Davari, Belilovsky 2023, arXiv:2312.06795): Σᵢ wᵢ · mᵢ ⊙ ΔWᵢ.

    The mask mᵢ drops, layer by layer, the smallest entries of |ΔWᵢ| (negligible changes; the
    paper's β) and the few largest (outliers; its γ is 1 - `large`). Entries are ranked within the
    layer (the authors' code ranks within each row of it). What is left is not enlarged.
    The weight multiplies the update; the paper uses one weight for all. A single expert at weight 1
    comes back unchanged if both shares are 0. The result is brought back to low rank.
    """

    key = "breadcrumbs"
    name = "Breadcrumbs"
    summary = "Leaves out each expert's negligible changes and its few extreme ones."
    paper = "Davari, Belilovsky 2023, Model Breadcrumbs, arXiv:2312.06795"
    order = 23
    parameters = (
        Parameter(
            "small", "Smallest changes dropped", "float", 0.0, 0.98, 0.85,
            "Which share of each expert's changes is dropped for being negligible.",
        ),
        Parameter(
            "large", "Largest changes dropped", "float", 0.0, 0.2, 0.01,
            "Which share of each expert's changes is dropped for being extreme.",
        ),
    )  # fmt: skip

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Dense."""
        return from_dense(self.dense(module, context), module, context)

    def dense(self, module: ModuleInputs, context: MergeContext) -> Tensor:
        """The merged update of one layer before it is brought to low rank, (out, in)."""
        small, large = (float(context.parameters[name]) for name in ("small", "large"))
        updates = keep_middle(Updates(module), small, large)
        merged = updates.new()
        for rows, tile in updates:
            torch.sum(tile, 0, out=merged[rows])
        return merged
