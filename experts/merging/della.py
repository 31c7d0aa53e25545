"""DELLA: drop changes at random, small ones more often, then elect signs and average."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.merging.dare import DROP, SEED, uniform
from experts.merging.registry import MergeContext, Parameter, register
from experts.merging.ties import AVERAGE, STRENGTH, Ties

__all__ = ["Della", "drop_probabilities"]

_HIGHEST = 0.99  # no entry is enlarged more than a hundred times


def drop_probabilities(delta: Tensor, drop: float, epsilon: float) -> Tensor:
    """MAGPRUNE's probabilities: pᵢ = p - ε/2 + ε·rᵢ/n, rᵢ the rank of |δᵢ| within its row.

    Rank 0 is the row's largest entry, n - 1 its smallest; equal ones rank by position. ε is
    narrowed where the window would leave [0, 0.99].

    Args:
        delta: (out, in), n = in.
        drop: p, the middle of the window.
        epsilon: ε, the width of the window.

    Returns:
        (out, in), float32.
    """
    epsilon = max(0.0, min(epsilon, 2 * drop, 2 * (_HIGHEST - drop)))
    n = delta.shape[1]
    steps = torch.arange(n, device=delta.device, dtype=torch.float32)
    ladder = (drop - epsilon / 2 + steps * (epsilon / n)).clamp_(0.0, _HIGHEST)
    order = delta.abs().argsort(dim=1, descending=True, stable=True)
    return torch.empty(delta.shape, device=delta.device).scatter_(1, order, ladder.expand_as(order))


@register
class Della(Ties):
    """DELLA-Merging (Deep, Bhardwaj, Poria 2024, arXiv:2406.11617): drop, elect, fuse.

    Drop (MAGPRUNE): an entry of ΔWᵢ is dropped with a probability between p - ε/2 for the largest
    of its row and p + ε/2 for the smallest, and divided by 1 minus that probability if it stays.
    Elect and fuse are those of `ties`: sign by mass, mean of the agreeing experts, times λ. Weights
    enter as in `ties`; only their ratio matters while `average` is on. A single expert comes back
    unchanged at p = 0 only; where experts agree the result is larger than theirs (see `dare_ties`).
    The paper's ε window is used (its code's is twice as wide).
    """

    key = "della"
    name = "DELLA"
    summary = "Leaves out changes at random, small ones more often, then lets the experts vote."
    paper = "Deep et al. 2024, DELLA-Merging, arXiv:2406.11617"
    order = 22
    parameters = (
        DROP,
        Parameter(
            "epsilon", "Favour for large changes", "float", 0.0, 1.0, 0.2,
            "How much more often small changes are dropped than large ones; 0 treats all alike.",
        ),
        STRENGTH,
        AVERAGE,
        SEED,
    )  # fmt: skip

    def sparsify(self, delta: Tensor, expert: str, module: str, context: MergeContext) -> Tensor:
        """MAGPRUNE: drop by rank of magnitude, rescale."""
        settings = context.parameters
        drop, epsilon = float(settings["drop"]), float(settings["epsilon"])
        draw = uniform(delta.shape, int(settings["seed"]), expert, module, delta.device)
        probability = drop_probabilities(delta, drop, epsilon)
        return delta.mul_(draw >= probability).div_(1 - probability)
