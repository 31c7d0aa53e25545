"""DELLA: drop changes at random, small ones more often, then elect signs and average."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from experts.merging.dare import DROP, SEED, uniform
from experts.merging.dense import in_threads, positive
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
        (out, in), of delta's type.
    """
    epsilon = max(0.0, min(epsilon, 2 * drop, 2 * (_HIGHEST - drop)))
    n = delta.shape[1]
    steps = torch.arange(n, device=delta.device, dtype=delta.dtype)
    ladder = (drop - epsilon / 2 + steps * (epsilon / n)).clamp_(0.0, _HIGHEST)
    order = _by_magnitude(delta)
    return torch.empty_like(delta).scatter_(1, order, ladder.expand_as(order))


def _by_magnitude(delta: Tensor) -> Tensor:
    """Column numbers of each row, that of the largest entry first, (out, in), int64.

    Magnitude and column are packed into one whole number, because sorting numbers is five times as
    fast as sorting with indices. That leaves float32 rows of up to 2,048 entries 20 bits for the
    magnitude as a part of the row's largest: entries that differ by less than a millionth of that,
    which is about the rounding error of ΔW, count as equal.
    """
    bits = max(1, (delta.shape[1] - 1).bit_length())
    narrow = delta.dtype == torch.float32 and bits <= 11
    top = 2 ** min(23, 31 - bits) - 1 if narrow else 2 ** min(52, 62 - bits) - 1
    size = delta.abs() if narrow else delta.abs().double()
    highest = size.amax(dim=1, keepdim=True)
    scale = highest.clamp_(min=torch.finfo(size.dtype).tiny).reciprocal_().mul_(-top)
    keys = size.mul_(scale).add_(top).to(torch.int32 if narrow else torch.int64)
    columns = torch.arange(delta.shape[1], device=delta.device, dtype=keys.dtype)
    keys.bitwise_left_shift_(bits).add_(columns)
    if keys.device.type == "cpu":
        rows = keys.numpy()
        step = -(-len(rows) // 8)
        in_threads(_sort_rows, [(rows[i : i + step],) for i in range(0, len(rows), step)])
    else:
        keys = keys.sort(dim=1).values
    return keys.bitwise_and_(2**bits - 1).long()


def _sort_rows(rows: np.ndarray) -> None:
    rows.sort(axis=1)


@register
class Della(Ties):
    """DELLA-Merging (Deep, Bhardwaj, Poria 2024, arXiv:2406.11617): drop, elect, fuse.

    Drop (MAGPRUNE): an entry of ΔWᵢ is dropped with a probability between p - ε/2 for the largest
    of its row and p + ε/2 for the smallest, and divided by 1 minus that probability if it stays.
    Elect and fuse are those of `ties`: sign by mass, mean of the agreeing experts, times λ. Weights
    enter as in `ties`; only their ratio matters while `average` is on. A single expert comes back
    unchanged at p = 0 only; where experts agree the result is larger than theirs (see `dare_ties`).
    ε is the whole width of the window, as in the paper and as `window_size` of the authors' code;
    mergekit's `epsilon` is half of it.
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
        kept = positive(draw.to(delta.dtype).sub_(probability))
        return delta.mul_(kept).div_(probability.neg_().add_(1))
