"""Several types asked of one text in one sequence, under a block mask.

Layout of one packed row: the prefix (branch 0), then branch 1, branch 2, … Each branch's positions
continue from the end of the prefix, and a token sees the prefix and the earlier tokens of its own
branch only. Every branch is thus computed exactly as if it stood alone behind the prefix, but the
prefix is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PretrainedConfig

__all__ = ["PackedBatch", "PackedRow", "attention_argument", "join", "pack"]


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One text with its branches.

    Attributes:
        tokens: token ids, length n.
        positions: position of each token, length n.
        branch: 0 for the prefix, k for branch k, length n.
        bounds: half-open range of each branch in `tokens`; branch k is ``bounds[k - 1]``.
        prefix: number of prefix tokens.
    """

    tokens: list[int]
    positions: list[int]
    branch: list[int]
    bounds: list[tuple[int, int]]
    prefix: int


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Rows laid end to end in one sequence of n tokens: nothing is padding.

    Attributes:
        tokens, positions: int64, shape (1, n).
        visible: bool, shape (1, n, n); ``visible[0, i, j]`` if token i sees token j. Tokens of
            different rows never see each other.
        offsets: index of each row's first token.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor
    offsets: list[int]


def pack(prefix: Sequence[int], branches: Sequence[Sequence[int]]) -> PackedRow:
    """Put a prefix and its branches into one row."""
    tokens = list(prefix)
    positions = list(range(len(prefix)))
    owner = [0] * len(prefix)
    bounds: list[tuple[int, int]] = []
    for index, branch in enumerate(branches, start=1):
        bounds.append((len(tokens), len(tokens) + len(branch)))
        tokens.extend(branch)
        positions.extend(range(len(prefix), len(prefix) + len(branch)))
        owner.extend([index] * len(branch))
    return PackedRow(tokens, positions, owner, bounds, len(prefix))


def join(rows: Sequence[PackedRow], *, device: torch.device) -> PackedBatch:
    """Lay rows end to end and build the mask that keeps them apart."""
    tokens = torch.tensor([t for row in rows for t in row.tokens], dtype=torch.int64)
    positions = torch.tensor([p for row in rows for p in row.positions], dtype=torch.int64)
    branch = torch.tensor([k for row in rows for k in row.branch], dtype=torch.int64)
    lengths = torch.tensor([len(row.tokens) for row in rows])
    owner = torch.repeat_interleave(torch.arange(len(rows)), lengths)
    same_row = owner[:, None] == owner[None, :]
    same_branch = branch[:, None] == branch[None, :]
    causal = torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    visible = same_row & causal & (same_branch | (branch == 0)[None, :])
    return PackedBatch(
        tokens[None].to(device),
        positions[None].to(device),
        visible[None].to(device),
        [0, *torch.cumsum(lengths, 0)[:-1].tolist()],
    )


def attention_argument(
    config: PretrainedConfig,
    visible: torch.Tensor,
    dtype: torch.dtype,
    *,
    query_positions: torch.Tensor | None = None,
    key_positions: torch.Tensor | None = None,
) -> Any:
    """The `attention_mask` argument for a mask of our own.

    Args:
        config: the model's configuration; its layer types decide whether sliding layers need their
            own mask.
        visible: bool, shape (rows, queries, keys).
        dtype: the model's dtype.
        query_positions, key_positions: int64, shapes (rows, queries) and (rows, keys); needed to
            limit sliding-window layers, whose window counts positions.

    Returns:
        An additive mask of shape (rows, 1, queries, keys), or one for each layer type.
    """
    config = config.get_text_config()
    layer_types = set(getattr(config, "layer_types", None) or ())
    full = _additive(visible, dtype)
    window = getattr(config, "sliding_window", None)
    sliding = full
    if window and query_positions is not None and key_positions is not None:
        distance = query_positions[:, :, None] - key_positions[:, None, :]
        if int(distance.max()) >= window:
            sliding = _additive(visible & (distance < window), dtype)
    if not layer_types:  # Mistral, Phi 3, Mixtral: every layer slides, or none
        return sliding
    if "sliding_attention" not in layer_types:
        return full
    return {"full_attention": full, "sliding_attention": sliding}


def _additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
