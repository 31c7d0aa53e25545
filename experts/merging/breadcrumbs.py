"""Model Breadcrumbs: leave out each expert's smallest changes and its few largest."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.merging.dense import from_dense, keep_from, largest, weighted_updates
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)

__all__ = ["Breadcrumbs", "keep_middle"]


def keep_middle(delta: Tensor, small: float, large: float) -> Tensor:
    """`delta` without its smallest and its largest entries by magnitude.

    Args:
        delta: any shape.
        small: share of entries to drop at the lower end.
        large: share to drop at the upper end; at least one entry is kept in between, and all that
            tie with the smallest kept one.
    """
    size = delta.numel()
    top = min(round(large * size), size - 1)
    keep = max(1, min(size - round(small * size), size) - top)
    magnitude = delta.abs().flatten()
    kept = delta
    if top + keep < size:
        kept = keep_from(delta, largest(magnitude, top + keep))
    if top > 0:
        highest = largest(magnitude, top + 1)
        above = torch.nextafter(highest, torch.full_like(highest, torch.inf))
        kept = kept - keep_from(delta, above)
    return kept


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
        parts = [keep_middle(update, small, large) for update in weighted_updates(module)]
        return sum(parts[1:], start=parts[0])
