"""Several types asked of one text in one sequence.

Layout of one packed row: the prefix, then branch 1, branch 2, … A token sees the prefix and the
earlier tokens of its own branch only. Every branch is thus computed exactly as if it stood alone
behind the prefix, but the prefix is computed once (see `experts.reading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

__all__ = ["PackedRow", "pack"]


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One text with its branches.

    Attributes:
        prefix: its tokens.
        branches: tokens of each branch.
        bounds: half-open range of each branch in `tokens`.
    """

    prefix: list[int]
    branches: list[list[int]]
    bounds: list[tuple[int, int]]

    @property
    def tokens(self) -> list[int]:
        """Token ids in order: the prefix, then the branches."""
        return [*self.prefix, *chain.from_iterable(self.branches)]


def pack(prefix: Sequence[int], branches: Sequence[Sequence[int]]) -> PackedRow:
    """Put a prefix and its branches into one row."""
    bounds: list[tuple[int, int]] = []
    end = len(prefix)
    for branch in branches:
        bounds.append((end, end + len(branch)))
        end += len(branch)
    return PackedRow(list(prefix), [list(branch) for branch in branches], bounds)
