"""Keys and values of the branches that go on decoding, one row each.

Branches come out of packed passes over different texts, so their rows have different lengths: they
are aligned on the right, and a mask says which columns are a row's own. Rows leave when their answer
is complete, and new ones join, so that the model always works on a wide batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from transformers import DynamicCache, PretrainedConfig

from experts.packing import attention_argument

__all__ = ["BranchCache", "GoesOn"]


class GoesOn(Protocol):
    """What a row stands for."""

    pending: list[int]
    """Tokens that the model has not read yet, at least one."""

    @property
    def finished(self) -> bool:
        """Whether the answer is complete."""


Row = TypeVar("Row", bound=GoesOn)


@dataclass(slots=True)
class BranchCache(Generic[Row]):
    """Rows with their keys and values.

    Attributes:
        rows: what each row stands for.
        layers: keys and values of each layer, shape (rows, heads, n, d).
        valid: bool, shape (rows, n): which of the n columns belong to the row.
        positions: int64, shape (rows, n).
    """

    rows: list[Row]
    layers: list[tuple[torch.Tensor, torch.Tensor]]
    valid: torch.Tensor
    positions: torch.Tensor

    @classmethod
    def gather(
        cls, rows: Sequence[Row], sources: Sequence[Sequence[int]], packed: Any
    ) -> BranchCache[Row]:
        """Pick rows out of a packed pass.

        Args:
            rows: at least one.
            sources: for each row the indices of its tokens in the packed sequence, in order of
                their positions, which count from 0.
            packed: the pass's cache, layers of shape (1, heads, tokens, d).
        """
        longest = max(map(len, sources))
        device = packed.layers[0].keys.device
        index = torch.tensor([[0] * (longest - len(s)) + list(s) for s in sources], device=device)
        lengths = torch.tensor([len(s) for s in sources], device=device)
        positions = torch.arange(longest, device=device)[None] - (longest - lengths)[:, None]
        layers = [
            # (1, heads, tokens, d) -> (rows, heads, n, d)
            (layer.keys[0][:, index].transpose(0, 1), layer.values[0][:, index].transpose(0, 1))
            for layer in packed.layers
        ]
        return cls(list(rows), layers, positions >= 0, positions.clamp(min=0))

    @staticmethod
    def join(parts: Sequence[BranchCache[Row]]) -> BranchCache[Row]:
        """All rows in one cache, as wide as the longest row needs."""
        trimmed = [part._trimmed() for part in parts]
        if len(trimmed) == 1:
            return trimmed[0]
        longest = max(part.valid.shape[1] for part in trimmed)

        def widen(tensor: torch.Tensor, dim: int) -> torch.Tensor:
            missing = longest - tensor.shape[dim]
            after = tensor.dim() - 1 - dim
            return torch.nn.functional.pad(tensor, (*(0, 0) * after, missing, 0))

        layers = [
            (
                torch.cat([widen(part.layers[i][0], 2) for part in trimmed]),
                torch.cat([widen(part.layers[i][1], 2) for part in trimmed]),
            )
            for i in range(len(trimmed[0].layers))
        ]
        return BranchCache(
            [row for part in trimmed for row in part.rows],
            layers,
            torch.cat([widen(part.valid, 1) for part in trimmed]),
            torch.cat([widen(part.positions, 1) for part in trimmed]),
        )

    def _trimmed(self) -> BranchCache[Row]:
        """Without the leading columns that no row uses any more."""
        first = int(self.valid.any(0).int().argmax())
        if first == 0:
            return self
        layers = [(k[:, :, first:], v[:, :, first:]) for k, v in self.layers]
        return BranchCache(self.rows, layers, self.valid[:, first:], self.positions[:, first:])

    def read_pending(
        self, decoder: Any, config: PretrainedConfig, dtype: torch.dtype
    ) -> torch.Tensor:
        """Let the model read every row's pending tokens.

        Returns:
            Hidden states of each row's last token, shape (rows, d).
        """
        device = self.valid.device
        width = max(len(row.pending) for row in self.rows)
        counts = torch.tensor([len(row.pending) for row in self.rows], device=device)
        tokens = torch.tensor(
            [[0] * (width - len(row.pending)) + row.pending for row in self.rows], device=device
        )
        columns = torch.arange(width, device=device)[None]
        real = columns >= (width - counts)[:, None]
        after = torch.where(self.valid, self.positions, -1).amax(1) + 1
        positions = torch.where(real, after[:, None] + columns - (width - counts)[:, None], 0)
        visible = self._visible(real)
        self.valid = torch.cat([self.valid, real], 1)
        self.positions = torch.cat([self.positions, positions], 1)
        mask = attention_argument(
            config, visible, dtype, query_positions=positions, key_positions=self.positions
        )
        cache: Any = DynamicCache()
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, number)
        hidden: torch.Tensor = decoder(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        self.layers = [(layer.keys, layer.values) for layer in cache.layers]
        return hidden

    def _visible(self, real: torch.Tensor) -> torch.Tensor:
        """Mask (rows, width, n + width): the row's past, and causally its own new tokens."""
        width = real.shape[1]
        causal = torch.ones(width, width, dtype=torch.bool, device=real.device).tril()
        own = torch.eye(width, dtype=torch.bool, device=real.device)  # no empty softmax for padding
        new = (causal[None] & real[:, None, :]) | own[None]
        return torch.cat([self.valid[:, None, :].expand(-1, width, -1), new], 2)

    def leave(self) -> None:
        """Drop the rows whose answer is complete."""
        stay = [i for i, row in enumerate(self.rows) if not row.finished]
        if len(stay) == len(self.rows):
            return
        index = torch.tensor(stay, dtype=torch.int64, device=self.valid.device)
        self.rows = [self.rows[i] for i in stay]
        self.layers = [(k[index], v[index]) for k, v in self.layers]
        self.valid, self.positions = self.valid[index], self.positions[index]
