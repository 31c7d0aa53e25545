"""TIES: trim small changes, elect a sign for each entry, average those that agree with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from experts.merging.dense import Tiles, Updates, from_dense, just_below, shrink_
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.thresholds import largest, magnitudes

__all__ = [
    "AVERAGE",
    "DENSITY",
    "STRENGTH",
    "Ties",
    "disjoint_merge",
    "elect_and_merge",
    "merge_tiles",
    "trim",
    "trimmed",
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
    keep = _kept(density, delta.numel())
    if keep is None:
        return delta
    smallest = largest(delta.abs().flatten(), keep)
    return torch.nn.functional.hardshrink(delta, just_below(smallest, delta.dtype))


def trimmed(updates: Updates, density: float) -> Updates:
    """`updates` with each expert's trimmed, as `trim` does it."""
    keep = _kept(density, updates.shape.numel())
    if keep is None:
        return updates
    bounds = [just_below(limit, updates.dtype) for (limit,) in magnitudes(updates, [keep])]

    def shrink(tile: Tensor) -> Tensor:
        for delta, bound in zip(tile, bounds, strict=True):
            shrink_(delta, bound)
        return tile

    return updates.then(shrink)


def _kept(density: float, size: int) -> int | None:
    """How many of `size` entries stay; None for all."""
    keep = max(1, round(density * size))
    return keep if keep < size else None


def disjoint_merge(
    deltas: Tensor, sign: Tensor, weights: Sequence[float], *, average: bool
) -> Tensor:
    """Per entry, the sum or weighted mean of the experts that have the elected sign.

    Args:
        deltas: (n, ...), the experts', trimmed, already multiplied by the weights; overwritten.
        sign: (...), of ±1.
        weights: one for each expert, none 0.
        average: divide by Σ|wᵢ| over the agreeing experts.
    """
    agreeing = deltas.mul_(sign).relu_()  # magnitudes
    total = agreeing.sum(0).mul_(sign)
    if not average:
        return total
    sizes = total.new_tensor([abs(float(weight)) for weight in weights])
    mass = (sizes @ agreeing.sign_().flatten(1)).view_as(total)
    # Where nobody agrees, mass and total are 0; elsewhere mass is at least the smallest weight.
    return total.div_(mass.clamp_(min=float(sizes.min())))


def elect_and_merge(
    updates: Sequence[Tensor], weights: Sequence[float], context: MergeContext
) -> Tensor:
    """Elect, merge disjointly, scale: all of TIES after its trimming.

    Args:
        updates: one per expert, all of one shape, trimmed, already multiplied by the weights.
        weights: one per expert, none 0.
        context: of a method with the parameters `average` and `strength`.
    """
    return merge_tiles(_Held(updates), torch.empty_like(updates[0]), weights, context)


class _Held:
    """Matrices that exist, as one tile."""

    def __init__(self, updates: Sequence[Tensor]) -> None:
        self.updates = updates

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        yield slice(0, None), torch.stack(list(self.updates))


def merge_tiles(
    tiles: Tiles, merged: Tensor, weights: Sequence[float], context: MergeContext
) -> Tensor:
    """`elect_and_merge` of updates that are made tile by tile.

    An entry's sign is the one that has the larger total magnitude over the experts. Where both
    sides weigh the same, the sign that most entries of the matrix have is taken, as in the authors'
    code; + where these balance, too. As that is known only at the end, + is tried, and the rare
    tiles with such entries are made again if it was the wrong one.

    Args:
        tiles: can be gone through repeatedly.
        merged: to be filled, (out, in).
        weights: one per expert, none 0.
        context: of a method with the parameters `average` and `strength`.
    """
    average = bool(context.parameters["average"])
    strength = float(context.parameters["strength"])
    majority, undecided = 0.0, set()
    for rows, tile in tiles:
        sign = tile.sum(0).sign_()
        majority += float(sign.sum())
        decided = float(sign.square().sum())
        part = disjoint_merge(tile, _settle(sign, 1.0), weights, average=average)
        torch.mul(part, strength, out=merged[rows])
        if float(part.sign_().square_().sum()) > decided:  # whole numbers: these sums are exact
            undecided.add(rows.start)
    if not undecided or majority >= 0:
        return merged
    for rows, tile in tiles:
        if rows.start in undecided:
            sign = _settle(tile.sum(0).sign_(), -1.0)
            part = disjoint_merge(tile, sign, weights, average=average)
            torch.mul(part, strength, out=merged[rows])
    return merged


def _settle(sign: Tensor, otherwise: float) -> Tensor:
    """`sign` with `otherwise` (±1) for its zeros; in place."""
    return sign.add_(sign.abs().sub_(1), alpha=-otherwise)


@register
class Ties(MergeMethod):
    """TIES-Merging (Yadav et al. 2023, arXiv:2306.01708) on the updates ΔWᵢ themselves.

    For one layer, with expert weights wᵢ: each ΔWᵢ is trimmed to its `density` largest entries,
    then multiplied by wᵢ; the sign of each entry is elected by Σᵢ wᵢ·ΔWᵢ; the merged entry is
    λ · Σ wᵢΔWᵢ / Σ|wᵢ| over the experts A that have the elected sign there. So the weights decide
    the vote and the mean; with equal weights of any size this is the paper's formula (its disjoint
    mean), and only the ratio of the weights matters unless `average` is off. λ is `strength`.

    The paper trims over all of a model's entries at once, this trims each layer on its own, so that
    only one layer's result is ever dense, and of the experts' updates a tile of rows. The result has
    no low rank and is brought back to one by randomized SVD.
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
        updates = self.sparse(module, context)
        return merge_tiles(updates, updates.new(), module.weights, context)

    def sparse(self, module: ModuleInputs, context: MergeContext) -> Updates:
        """Each expert's wᵢ·ΔWᵢ of one layer with the dropped entries set to zero.

        What is dropped depends on the order of the magnitudes alone, so the weight may come first.
        """
        return trimmed(Updates(module), float(context.parameters["density"]))
