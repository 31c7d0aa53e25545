"""TIES: trim small changes, elect a sign for each entry, average those that agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from experts.merging.dense import from_dense, keep_from, largest, positive, weighted_updates
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)

__all__ = [
    "AVERAGE",
    "DENSITY",
    "STRENGTH",
    "Ties",
    "disjoint_merge",
    "elect_and_merge",
    "elect_sign",
    "trim",
]

DENSITY = Parameter(
    "density", "Share kept", "float", 0.01, 1.0, 0.3,
    "How much of each expert is kept: 0.3 keeps the largest 30 % of its changes.",
)  # fmt: skip
STRENGTH = Parameter(
    "strength", "Strength", "float", 0.0, 5.0, 1.0,
    "How strongly the merged result is applied; the paper's λ. 1 leaves it as it is.",
)  # fmt: skip
AVERAGE = Parameter(
    "average", "Average agreeing experts", "bool", None, None, True,
    "Averages the experts that agree, so only the ratio of the weights counts; "
    "switched off, they are added up.",
)  # fmt: skip


def trim(delta: Tensor, density: float) -> Tensor:
    """`delta` with all but its largest entries set to zero.

    Args:
        delta: any shape.
        density: share of entries to keep, in (0, 1]; at least one is kept, and all entries that
            tie with the smallest kept one.
    """
    size = delta.numel()
    keep = max(1, round(density * size))
    return delta if keep >= size else keep_from(delta, largest(delta.abs().flatten(), keep))


def elect_sign(deltas: Sequence[Tensor] | Tensor) -> Tensor:
    """Per entry, the sign that has the larger total magnitude over the experts.

    Where both sides weigh the same (or nothing is left), the sign that most entries of the matrix
    have is taken, as in the authors' code; + where these balance, too.

    Args:
        deltas: one (out, in) for each expert, trimmed and weighted.

    Returns:
        (out, in) of ±1.
    """
    sign = deltas[0].clone()
    for delta in deltas[1:]:
        sign += delta
    sign.sign_()
    majority = 1.0 if float(sign.sum(dtype=torch.float64)) >= 0 else -1.0
    undecided = sign.abs().sub_(1)  # -1 where there is no sign, else 0
    return sign.sub_(undecided, alpha=majority)


def disjoint_merge(
    deltas: Sequence[Tensor] | Tensor, sign: Tensor, weights: Sequence[float], *, average: bool
) -> Tensor:
    """Per entry, the sum or weighted mean of the experts that have the elected sign.

    Args:
        deltas: one (out, in) for each expert, trimmed, already multiplied by the weights.
        sign: (out, in) of ±1.
        weights: one for each expert, none 0.
        average: divide by Σ|wᵢ| over the agreeing experts.
    """
    total, mass = torch.zeros_like(sign), torch.zeros_like(sign)
    for delta, weight in zip(deltas, weights, strict=True):
        agrees = positive(delta * sign)
        total.addcmul_(delta, agrees)
        mass.add_(agrees, alpha=abs(float(weight)))
    # Where nobody agrees, mass and total are 0; elsewhere mass is at least the smallest weight.
    return total.div_(mass.clamp_(min=min(abs(float(w)) for w in weights))) if average else total


def elect_and_merge(
    updates: Sequence[Tensor], weights: Sequence[float], context: MergeContext
) -> Tensor:
    """Elect, merge disjointly, scale: all of TIES after its trimming.

    Args:
        updates: one per expert, all of one shape, trimmed, already multiplied by the weights.
        weights: one per expert, none 0.
        context: of a method with the parameters `average` and `strength`.
    """
    average = bool(context.parameters["average"])
    merged = disjoint_merge(updates, elect_sign(updates), weights, average=average)
    return merged.mul_(float(context.parameters["strength"]))


@register
class Ties(MergeMethod):
    """TIES-Merging (Yadav et al. 2023, arXiv:2306.01708) on the updates ΔWᵢ themselves.

    For one layer, with expert weights wᵢ: each ΔWᵢ is trimmed to its `density` largest entries,
    then multiplied by wᵢ; the sign of each entry is elected by Σᵢ wᵢ·ΔWᵢ; the merged entry is
    λ · Σ wᵢΔWᵢ / Σ|wᵢ| over the experts A that have the elected sign there. So the weights decide
    the vote and the mean; with equal weights of any size this is the paper's formula (its disjoint
    mean), and only the ratio of the weights matters unless `average` is off. λ is `strength`.

    The paper trims over all of a model's entries at once, this trims each layer on its own, so that
    only one layer is ever dense: n + 4 matrices of the largest layer's size in memory at most. The
    result has no low rank and is brought back to one by randomized SVD.
    """

    key = "ties"
    name = "TIES"
    summary = "Keeps each expert's largest changes and, where experts disagree, lets them vote."
    paper = "Yadav et al. 2023, TIES-Merging, arXiv:2306.01708"
    order = 10
    parameters: ClassVar[tuple[Parameter, ...]] = (DENSITY, STRENGTH, AVERAGE)

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Dense."""
        return from_dense(self.dense(module, context), module, context)

    def dense(self, module: ModuleInputs, context: MergeContext) -> Tensor:
        """The merged update of one layer before it is brought to low rank, (out, in)."""
        sparse = [
            self.sparsify(update, expert, module.name, context)
            for expert, update in zip(module.experts, weighted_updates(module), strict=True)
        ]
        return elect_and_merge(sparse, module.weights, context)

    def sparsify(self, delta: Tensor, expert: str, module: str, context: MergeContext) -> Tensor:
        """An expert's wᵢ·ΔWᵢ (out, in) of one layer with the dropped entries set to zero.

        What is dropped depends on the order of the magnitudes alone, so the weight may come first.
        """
        return trim(delta, float(context.parameters["density"]))
