"""DELLA: drop changes at random, small ones more often, then elect signs and average."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from experts.merging.dare import DROP, SEED, Draws, draws_of, dropping_below
from experts.merging.dense import Change, Updates
from experts.merging.registry import MergeContext, ModuleInputs, Parameter, register
from experts.merging.ties import AVERAGE, STRENGTH, Ties

__all__ = ["Della", "by_magnitude", "drop_probabilities", "pruning"]

_HIGHEST = 0.99  # no entry is enlarged more than a hundred times


def drop_probabilities(n: int, drop: float, epsilon: float) -> Tensor:
    """MAGPRUNE's probabilities for a row of n entries, that of its largest first: p - ε/2 + ε·r/n.

    ε is narrowed where the window would leave [0, 0.99].

    Args:
        n: at least 1.
        drop: p, the middle of the window.
        epsilon: ε, the width of the window.

    Returns:
        (n,), float64, for the ranks r = 0 … n - 1.
    """
    epsilon = max(0.0, min(epsilon, 2 * drop, 2 * (_HIGHEST - drop)))
    steps = torch.arange(n, dtype=torch.float64)
    return (drop - epsilon / 2 + steps * (epsilon / n)).clamp_(0.0, _HIGHEST)


def by_magnitude(delta: Tensor) -> Tensor:
    """Column numbers of each row, that of the largest entry first, (out, in), int64.

    Equal entries are in the order of their columns. Magnitude and column are packed into one whole
    number, because sorting numbers is five times as fast as sorting with indices. That leaves
    float32 rows of up to 2,048 entries 20 bits for the magnitude as a part of the row's largest:
    entries that differ by less than a millionth of that, which is about the rounding error of ΔW,
    count as equal.
    """
    bits = max(1, (delta.shape[1] - 1).bit_length())
    narrow = delta.dtype == torch.float32 and bits <= 11
    top = 2 ** min(23, 31 - bits) - 1 if narrow else 2 ** min(52, 62 - bits) - 1
    size = delta.abs() if narrow else delta.abs().double()
    highest = size.amax(dim=1, keepdim=True)
    scale = highest.clamp_(min=torch.finfo(size.dtype).tiny).reciprocal_().mul_(-top)
    keys = size.mul_(scale).to(torch.int32 if narrow else torch.int64)  # from -top to 0
    columns = torch.arange(delta.shape[1], device=delta.device, dtype=keys.dtype)
    keys.bitwise_left_shift_(bits).add_(columns)
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)
    else:
        keys = keys.sort(dim=1).values
    return keys.bitwise_and_(2**bits - 1).long()


def pruning(drop: float, epsilon: float, draws: Sequence[Draws]) -> Change:
    """MAGPRUNE of a tile: an entry is 0 with its probability p (± 2⁻¹⁷), else divided by 1 - p.

    The first number drawn for a row decides on its largest entry, and so on: what happens to an
    entry is worked out in the order of the ranks, and brought to its place once.

    Args:
        drop, epsilon: see `drop_probabilities`.
        draws: one for each expert.
    """

    def change(tile: Tensor) -> Tensor:
        probability = drop_probabilities(tile.shape[2], drop, epsilon)
        highest = dropping_below(probability).to(tile)
        rescale = (1 / (1 - probability)).to(tile)
        for update, stream in zip(tile, draws, strict=True):
            drawn = stream.next(tile.shape[1:])
            fate = drawn.to(tile.dtype).sub_(highest).clamp_(0, 1).mul_(rescale)
            order = by_magnitude(update)
            update.mul_(torch.empty_like(update).scatter_(1, order, fate))
        return tile

    return change


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

    def sparse(self, module: ModuleInputs, context: MergeContext) -> Updates:
        """MAGPRUNE: drop by rank of magnitude, rescale."""
        settings = context.parameters
        drop, epsilon = float(settings["drop"]), float(settings["epsilon"])
        return Updates(module, change=lambda: pruning(drop, epsilon, draws_of(module, context)))
