"""Sign conflicts between experts, estimated on samples of a layer's entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Counts", "count_conflicts"]

BLOCKS = 16
SIDE = 32
"""A layer is sampled in `BLOCKS` blocks of `SIDE` rows × `SIDE` columns; a layer with no more
entries than these together is counted out."""


@dataclass(frozen=True)
class Counts:
    """Entries of one layer that two experts both change noticeably, and those among them where
    their signs differ.

    Attributes:
        both, against: (blocks, n, n), scaled to the size of the layer.
        complete: every entry was looked at, so that there is nothing to estimate.
    """

    both: Tensor
    against: Tensor
    complete: bool

    @staticmethod
    def rate(layers: Sequence[Counts]) -> tuple[Tensor, Tensor]:
        """Σ against / Σ both over layers, and its standard error; (n, n) each.

        The entries of a block share rows and columns and are not independent, so the error is that
        of a ratio estimator over blocks, within each layer (Cochran 1977, section 6).
        """
        both = torch.stack([layer.both.sum(0) for layer in layers]).sum(0)
        against = torch.stack([layer.against.sum(0) for layer in layers]).sum(0)
        rate = against / both  # nan where there is nothing
        variance = torch.zeros_like(rate)
        for layer in layers:
            blocks = len(layer.both)
            if layer.complete or blocks < 2:
                continue
            residual = layer.against - rate.nan_to_num() * layer.both
            spread = (residual - residual.mean(0)).square().sum(0)
            variance += spread * (blocks / (blocks - 1))
        return rate, variance.sqrt() / both


def count_conflicts(
    left: Tensor, right: Tensor, owner: Tensor, n: int, thresholds: Tensor, seed: int
) -> Counts:
    """Count in one layer.

    Args:
        left: (out, R), the experts' U·diag(s) side by side, float64.
        right: (in, R), their V.
        owner: (R,), int64: which expert each column belongs to.
        n: number of experts.
        thresholds: (n,): from which magnitude on an expert changes an entry noticeably.
        seed: which rows and columns are drawn.
    """
    out_features, in_features = len(left), len(right)
    if out_features * in_features <= BLOCKS * SIDE * SIDE:
        rows = torch.arange(out_features)[None]
        columns = torch.arange(in_features)[None]
        complete = True
    else:
        generator = torch.Generator().manual_seed(seed)
        rows = _draw(out_features, generator)
        columns = _draw(in_features, generator)
        complete = False
    both, against = [], []
    for some_rows, some_columns in zip(rows, columns, strict=True):
        # Zero is no change, whatever the threshold: an expert that is not here has threshold 0.
        deltas = torch.stack(
            [
                left[some_rows][:, owner == i] @ right[some_columns][:, owner == i].T
                for i in range(n)
            ]
        ).flatten(1)  # (n, entries)
        noticeable = (deltas.abs() >= thresholds[:, None]) & (deltas != 0)
        signs = deltas.sign() * noticeable
        counted = noticeable.double() @ noticeable.double().T
        agreement = signs @ signs.T  # entries that agree less those that do not
        both.append(counted)
        against.append((counted - agreement) / 2)
    sampled = rows.shape[1] * columns.shape[1] * len(rows)
    scale = out_features * in_features / sampled
    return Counts(torch.stack(both) * scale, torch.stack(against) * scale, complete)


def _draw(size: int, generator: torch.Generator) -> Tensor:
    """(BLOCKS, min(SIDE, size)) indices; within a block none twice."""
    side = min(SIDE, size)
    return torch.stack([torch.randperm(size, generator=generator)[:side] for _ in range(BLOCKS)])
