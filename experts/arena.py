"""Keys and values of many branches in one store, and attention over it without padding.

A model reads one flat sequence of tokens that belong to many texts and branches, so that its linear
layers, which are nearly all of its work, see no padding. Only attention needs to know what belongs
together: it looks up each row's keys and values by the slots of its tokens. A text's prefix is
stored once for all of its branches, and nothing is copied when a branch goes on.

transformers lets an attention function be registered by name; every architecture that uses that
interface can be read this way, whatever its mask, window or soft-capping.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel

__all__ = ["Arena", "Group", "TextRow", "group"]

_NAME = "sam_packed"

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Group:
    """Rows of similar shape whose attention is computed together, padded.

    Attributes:
        queries: int64, shape (rows, l): index of each query token in the pass; padding repeats 0.
        real: bool, shape (rows, l): which of them are no padding.
        keys: int64, shape (rows, m): slots of the tokens that a row may see; padding repeats 0.
        visible: bool, shape (rows, l, m).
        distance: int64, shape (rows, l, m): position of the query minus that of the key.
    """

    queries: torch.Tensor
    real: torch.Tensor
    keys: torch.Tensor
    visible: torch.Tensor
    distance: torch.Tensor
    _masks: dict[tuple[int | None, int], torch.Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, repeat: int, dtype: torch.dtype) -> torch.Tensor:
        """Additive, shape (rows, 1, repeat · l, m); the same for all layers of one window."""
        known = self._masks.get((window, repeat))
        if known is not None:
            return known
        visible = self.visible if window is None else self.visible & (self.distance < window)
        rows, queries, keys = visible.shape
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        mask.masked_fill_(~visible, torch.finfo(dtype).min)
        mask = mask[:, None].expand(rows, repeat, queries, keys).reshape(rows, 1, -1, keys)
        self._masks[(window, repeat)] = mask
        return mask


@dataclass(slots=True)
class TextRow:
    """One row of attention: a text's prefix and those of its branches that read something.

    Attributes:
        queries: indices in the pass of the tokens that are read.
        query_positions, query_owners: for each its position, and the branch that it belongs to: 0
            for the prefix, which all branches see.
        keys, key_positions, key_owners: the same of all tokens that may be seen, given by slot.
    """

    queries: list[int] = field(default_factory=list)
    query_positions: list[int] = field(default_factory=list)
    query_owners: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    key_positions: list[int] = field(default_factory=list)
    key_owners: list[int] = field(default_factory=list)

    def see(self, slots: list[int], begin: int, owner: int) -> None:
        """Add keys that stand from position `begin` on."""
        self.keys += slots
        self.key_positions += range(begin, begin + len(slots))
        self.key_owners += [owner] * len(slots)


def group(rows: Sequence[TextRow], device: torch.device) -> Group:
    """Lay rows out as a `Group`."""
    queries, real = _padded([row.queries for row in rows])
    keys, key_real = _padded([row.keys for row in rows])
    q_of, q_at = (
        _filled(values, real)[:, :, None]
        for values in ([r.query_owners for r in rows], [r.query_positions for r in rows])
    )
    k_of, k_at = (
        _filled(values, key_real)[:, None, :]
        for values in ([r.key_owners for r in rows], [r.key_positions for r in rows])
    )
    distance = q_at - k_at
    visible = (distance >= 0) & key_real[:, None, :] & ((q_of == k_of) | (k_of == 0))
    queries_, real_, keys_, visible_, distance_ = (
        torch.from_numpy(array).to(device) for array in (queries, real, keys, visible, distance)
    )
    return Group(queries_, real_, keys_, visible_, distance_)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    real = np.arange(lengths.max(initial=0))[None] < lengths[:, None]
    return _filled(rows, real), real


def _filled(rows: Sequence[Sequence[int]], real: npt.NDArray[np.bool_]) -> Ints:
    table = np.zeros(real.shape, np.int64)
    table[real] = np.fromiter(chain.from_iterable(rows), np.int64)
    return table


class Arena:
    """Slots for the keys and values of tokens, for every attention layer of one model.

    Args:
        model: a causal LM; its attention runs through the arena inside `attending`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._config: Any = model.config.get_text_config()
        self._device = model.device
        self._free: list[int] = []
        self._capacity = 0
        self._layers: list[list[torch.Tensor]] = []  # keys and values, (slots, heads, d) each
        self._plan: tuple[torch.Tensor | None, Sequence[Group]] | None = None
        self._calls = 0

    def allocate(self, count: int) -> list[int]:
        """Slots for `count` tokens."""
        if len(self._free) < count:
            more = max(1024, self._capacity, count)
            self._free.extend(range(self._capacity + more - 1, self._capacity - 1, -1))
            self._capacity += more
        taken = self._free[-count:] if count else []
        del self._free[len(self._free) - count :]
        return taken

    def release(self, slots: Sequence[int]) -> None:
        """Give slots back."""
        self._free.extend(slots)

    @contextlib.contextmanager
    def attending(self) -> Iterator[None]:
        """Send the model's attention through this arena for the duration of the block."""
        before = self._config._attn_implementation
        _ACTIVE.arena = self
        self._config._attn_implementation = _NAME
        try:
            yield
        finally:
            self._config._attn_implementation = before
            _ACTIVE.arena = None
            self._plan = None

    def plan(self, slots: Sequence[int] | None, groups: Sequence[Group]) -> None:
        """Prepare the next forward pass.

        Args:
            slots: where the keys and values of its n tokens go; None to keep nothing: the groups'
                keys are then indices in the pass.
            groups: which tokens attend to which slots; every token is in exactly one.
        """
        where = None if slots is None else torch.tensor(slots, device=self._device)
        self._plan = (where, groups)
        self._calls = 0

    @property
    def used(self) -> bool:
        """Whether the last pass came through here at all."""
        return self._calls > 0

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float | None,
        window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Store keys and values of the pass's n tokens and attend.

        Args:
            query: shape (1, heads, n, d); key, value: shape (1, kv_heads, n, d).

        Returns:
            Shape (1, n, heads, d).
        """
        assert self._plan is not None
        slots, groups = self._plan
        keys, values = key[0].transpose(0, 1), value[0].transpose(0, 1)  # (n, kv_heads, d)
        if slots is not None:
            keys, values = self._store(self._calls, slots, keys, values)
        self._calls += 1
        heads, n, _ = query.shape[1:]
        kv_heads = key.shape[1]
        repeat = heads // kv_heads
        flat = query[0].transpose(0, 1)
        out = flat.new_empty(n, heads, value.shape[-1])
        for part in groups:
            rows, length = part.queries.shape
            q = _rows(flat, part.queries).view(rows, length, kv_heads, repeat, -1)
            q = q.permute(0, 2, 3, 1, 4).reshape(rows, kv_heads, repeat * length, -1)
            k, v = (_rows(store, part.keys).transpose(1, 2) for store in (keys, values))
            mask = part.mask(window, repeat, query.dtype)
            if softcap is None and sinks is None and q.device.type == "cpu":
                o = _batched(q, k, v, mask, scaling)
            elif softcap is None and sinks is None:
                o = nn.functional.scaled_dot_product_attention(
                    q, k, v, attn_mask=mask, scale=scaling
                )
            else:
                o = _eager(q, k, v, mask, scaling, softcap, sinks)
            o = o.view(rows, kv_heads, repeat, length, -1).permute(0, 3, 1, 2, 4)
            out[part.queries[part.real]] = o.reshape(rows, length, heads, -1)[part.real]
        return out[None]

    def _store(self, layer: int, slots: torch.Tensor, *new: torch.Tensor) -> list[torch.Tensor]:
        """Put keys and values into their slots; returns the stores of all of them."""
        if layer == len(self._layers):
            self._layers.append([rows.new_empty(0, *rows.shape[1:]) for rows in new])
        stores = self._layers[layer]
        for i, rows in enumerate(new):
            if len(stores[i]) < self._capacity:
                more = rows.new_zeros(self._capacity - len(stores[i]), *rows.shape[1:])
                stores[i] = torch.cat([stores[i], more])
            stores[i][slots] = rows
        return stores


def _rows(store: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """``store[index]``; index_select copies whole rows at several times the speed."""
    return store.index_select(0, index.view(-1)).view(*index.shape, *store.shape[1:])


class _Active(threading.local):
    arena: Arena | None = None


_ACTIVE = _Active()


def _batched(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Attention as two products: for short rows twice as fast on a CPU as the fused kernel."""
    rows, kv_heads, queries, d = q.shape
    scores = torch.baddbmm(
        mask.expand(-1, kv_heads, -1, -1).flatten(0, 1),
        q.flatten(0, 1),
        k.flatten(0, 1).transpose(1, 2),
        alpha=d**-0.5 if scaling is None else scaling,
    )
    return torch.bmm(scores.softmax(-1), v.flatten(0, 1)).view(rows, kv_heads, queries, -1)


def _eager(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attention with soft-capped scores (Gemma 2) or attention sinks (gpt-oss), in float32."""
    rows, kv_heads, queries, d = q.shape
    scores = (q @ k.transpose(-1, -2)).float() * (d**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + mask
    if sinks is not None:  # one more column, whose share of the attention goes nowhere
        repeat = len(sinks) // kv_heads
        sink = sinks.float().view(1, kv_heads, repeat, 1, 1)
        sink = sink.expand(rows, -1, -1, queries // repeat, 1).reshape(rows, kv_heads, queries, 1)
        scores = torch.cat([scores, sink], -1)
    weights = scores.softmax(-1)[..., : k.shape[2]]
    return weights.to(v.dtype) @ v


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    arena = _ACTIVE.arena
    if arena is None:
        raise RuntimeError("attention through an arena outside of Arena.attending")
    del attention_mask  # the groups say who sees whom
    return arena.attend(module, query, key, value, scaling, sliding_window, softcap, s_aux), None


AttentionInterface.register(_NAME, _attention)
