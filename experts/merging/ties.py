"""TIES: trim small changes, elect a sign for each entry, average those that agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.spectra import from_dense

__all__ = [
    "AVERAGE",
    "DENSITY",
    "STRENGTH",
    "Ties",
    "disjoint_merge",
    "elect_and_merge",
    "elect_sign",
    "largest",
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


_SAMPLE = 4096  # entries from which `largest` guesses


def largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest of `values` (exact; a threshold, so no int64 indices as from topk).

    Selecting among a million entries is slow, so a regular sample first brackets the answer and
    only what lies inside the bracket is ranked; if the sample misleads, everything is.

    Args:
        values: (n,).
        k: from 1 to n.

    Returns:
        A scalar tensor.
    """
    size = values.numel()
    if size > 16 * _SAMPLE:
        # An odd step: matrices have even widths, and must not be sampled in one column.
        sample = values[:: size // _SAMPLE | 1].sort().values
        middle = (1 - k / size) * len(sample)
        margin = len(sample) // 32  # 4 standard deviations of a sampled quantile
        low = sample[max(0, round(middle) - margin)]
        high = sample[min(len(sample) - 1, round(middle) + margin)]
        above = int((values > high).sum())
        inside = values[(values >= low) & (values <= high)]
        if above < k <= above + inside.numel():
            return inside.kthvalue(inside.numel() - (k - above) + 1).values
    return values.kthvalue(size - k + 1).values


def trim(delta: Tensor, density: float) -> Tensor:
    """`delta` with all but its largest entries set to zero.

    Args:
        delta: any shape.
        density: share of entries to keep, in (0, 1]; at least one is kept, and all entries that
            tie with the smallest kept one.
    """
    size = delta.numel()
    keep = max(1, round(density * size))
    if keep >= size:
        return delta
    magnitude = delta.abs()
    return delta * (magnitude >= largest(magnitude.flatten(), keep))


def elect_sign(deltas: Tensor) -> Tensor:
    """Per entry, the sign that has the larger total magnitude over the experts.

    Where both sides weigh the same (or nothing is left), the sign that most entries of the matrix
    have is taken, as in the authors' code; + where these balance, too.

    Args:
        deltas: (n, out, in), trimmed and weighted.

    Returns:
        (out, in) of ±1.
    """
    sign = deltas.sum(dim=0).sign_()
    majority = 1.0 if float(sign.sum(dtype=torch.float64)) >= 0 else -1.0
    return sign.masked_fill_(sign == 0, majority)


def disjoint_merge(deltas: Tensor, sign: Tensor, weights: Tensor, *, average: bool) -> Tensor:
    """Per entry, the sum or weighted mean of the experts that have the elected sign.

    Args:
        deltas: (n, out, in), trimmed, already multiplied by the weights.
        sign: (out, in) of ±1.
        weights: (n,), none 0.
        average: divide by Σ|wᵢ| over the agreeing experts.
    """
    total, mass = torch.zeros_like(sign), torch.zeros_like(sign)
    for delta, weight in zip(deltas, weights.abs().tolist(), strict=True):
        along = delta * sign
        mass.add_(along > 0, alpha=weight)
        total.add_(along.clamp_(min=0))
    total.mul_(sign)
    # Where nobody agrees, mass and total are 0; elsewhere mass is at least the smallest weight.
    return total.div_(mass.clamp_(min=float(weights.abs().min()))) if average else total


def elect_and_merge(
    updates: Sequence[Tensor], weights: Sequence[float], context: MergeContext
) -> Tensor:
    """Weight, elect, merge disjointly, scale: all of TIES after its trimming.

    Args:
        updates: one per expert, all of one shape, trimmed.
        weights: one per expert, none 0.
        context: of a method with the parameters `average` and `strength`.
    """
    deltas = torch.stack([u * weight for u, weight in zip(updates, weights, strict=True)])
    scales = torch.tensor(weights, dtype=deltas.dtype, device=deltas.device)
    average = bool(context.parameters["average"])
    merged = disjoint_merge(deltas, elect_sign(deltas), scales, average=average)
    return merged * float(context.parameters["strength"])


@register
class Ties(MergeMethod):
    """TIES-Merging (Yadav et al. 2023, arXiv:2306.01708) on the updates ΔWᵢ themselves.

    For one layer, with expert weights wᵢ: each ΔWᵢ is trimmed to its `density` largest entries,
    then multiplied by wᵢ; the sign of each entry is elected by Σᵢ wᵢ·ΔWᵢ; the merged entry is
    λ · Σ wᵢΔWᵢ / Σ|wᵢ| over the experts A that have the elected sign there. So the weights decide
    the vote and the mean; with equal weights of any size this is the paper's formula (its disjoint
    mean), and only the ratio of the weights matters unless `average` is off. λ is `strength`.

    The paper trims over all of a model's entries at once, this trims each layer on its own, so that
    only one layer is ever dense: 2n + 2 matrices of the largest layer's size in memory at most. The
    result has no low rank and is brought back to one by randomized SVD.
    """

    key = "ties"
    name = "TIES"
    summary = "Keeps each expert's largest changes and, where experts disagree, lets them vote."
    paper = "Yadav et al. 2023, TIES-Merging, arXiv:2306.01708"
    order = 10
    parameters: ClassVar[tuple[Parameter, ...]] = (DENSITY, STRENGTH, AVERAGE)

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """Dense, one module after the other."""
        return [self._merge_module(module, context) for module in group]

    def _merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        return from_dense(self.dense(module, context), module, context)

    def dense(self, module: ModuleInputs, context: MergeContext) -> Tensor:
        """The merged update of one layer before it is brought to low rank, (out, in)."""
        sparse = [
            self.sparsify(factors.delta(), expert, module.name, context)
            for expert, factors in zip(module.experts, module.factors, strict=True)
        ]
        return elect_and_merge(sparse, module.weights, context)

    def sparsify(self, delta: Tensor, expert: str, module: str, context: MergeContext) -> Tensor:
        """An expert's ΔW (out, in) of one layer with the entries that are dropped set to zero."""
        return trim(delta, float(context.parameters["density"]))
