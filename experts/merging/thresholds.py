"""The k-th largest of numbers that are made a tile at a time and never held all at once.

Selecting among a million numbers is slow, so a sample first brackets the answer; what lies above the
bracket is only counted, and only the few numbers within it are kept and ranked. The result is exact:
if the sample misleads, the tiles are made once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from experts.merging.dense import Updates

__all__ = ["kth_largest", "largest", "magnitudes"]

_SAMPLE = 2**15


def largest(values: Tensor, k: int) -> float:
    """The k-th largest of `values` (n,), k from 1 to n (no int64 indices as from topk)."""
    # An odd step: matrices have even widths, and must not be sampled in one column.
    sample = values[:: len(values) // _SAMPLE | 1]
    return kth_largest(lambda: [values[None]], sample[None], len(values), [k])[0][0]


def magnitudes(updates: Updates, ks: Sequence[int]) -> list[list[float]]:
    """For each expert, the k-th largest |entry| of its update for each of `ks`."""
    return kth_largest(
        lambda: (tile.abs_().flatten(1) for _, tile in updates),
        updates.sample().abs_(),
        updates.shape.numel(),
        ks,
    )


def kth_largest(
    tiles: Callable[[], Iterable[Tensor]], sample: Tensor, size: int, ks: Sequence[int]
) -> list[list[float]]:
    """Of several sets of numbers at once, the k-th largest for each of `ks`.

    Args:
        tiles: makes all numbers of all sets, (sets, some of the numbers) at a time.
        sample: (sets, any number), of about the same distribution.
        size: how many numbers a set has.
        ks: from 1 to `size`.

    Returns:
        A list of the length of `ks` for each set; NaN where too many of the numbers are that.
    """
    ranges = [[_Range(numbers, k, size) for k in ks] for numbers in sample]
    while not all(one.found for of in ranges for one in of):
        for tile in tiles():
            for numbers, of in zip(tile, ranges, strict=True):
                for one in of:
                    one.scan(numbers)
        for one in (one for of in ranges for one in of):
            one.close()
    return [[one.value for one in of] for of in ranges]


class _Range:
    """Where one wanted number lies: between `low` and `high`, until it is found."""

    def __init__(self, sample: Tensor, k: int, size: int) -> None:
        self.k = k
        self.low, self.high = _bracket(sample, k / size)
        self.found, self.value = False, math.nan
        self.above = 0  # numbers > high
        self.inside: list[Tensor] = []  # those from low to high

    def scan(self, numbers: Tensor) -> None:
        """Take note of some of the numbers, (n,)."""
        if self.found:
            return
        if numbers.device.type == "cpu":  # comparisons of NumPy are ten times as fast
            array = numbers.numpy()
            above, from_low = array > self.high, array >= self.low
            self.above += int(np.count_nonzero(above))
            inside = np.compress(np.not_equal(above, from_low, out=above), array)
            self.inside.append(torch.from_numpy(inside))
            return
        self.above += int((numbers > self.high).sum())
        self.inside.append(numbers[(numbers >= self.low) & (numbers <= self.high)])

    def close(self) -> None:
        """All numbers have been seen: find the value, or, if it is outside, the side it is on."""
        if self.found:
            return
        inside = torch.cat(self.inside)
        place = len(inside) - (self.k - self.above)
        if self.above < self.k <= self.above + len(inside):
            self.found, self.value = True, _at(inside, place)
        elif self.above >= self.k:
            self.low, self.high = self.high, math.inf
        elif self.low == -math.inf:  # some are no numbers: an overflow, which others report
            self.found = True
        else:
            self.low, self.high = -math.inf, self.low
        self.above, self.inside = 0, []


def _at(values: Tensor, place: int) -> float:
    """The number that is at `place` if they are sorted, the smallest at 0."""
    if values.device.type == "cpu":
        # Asked for one place, NumPy takes another way that on some processors is half as fast.
        return float(np.partition(values.numpy(), (place, len(values) - 1))[place])
    return float(values.kthvalue(place + 1).values)


def _bracket(sample: Tensor, share: float) -> tuple[float, float]:
    """Numbers that have the wanted quantile of the sample between them, by a wide margin.

    Args:
        sample: (n,).
        share: how many of the numbers are to be above the quantile.
    """
    n = len(sample)
    middle = round((1 - share) * n)
    margin = 2 + round(4 * math.sqrt(n * share * (1 - share)))  # 4 standard deviations
    first, last = middle - margin, middle + margin
    return (
        _at(sample, first) if first >= 0 else -math.inf,
        _at(sample, last) if last < n else math.inf,
    )
