"""What a base model reads in one pass: tokens of many texts and branches at once.

A `Reader` is given rows, each with tokens that the model has not seen yet, and returns the hidden
state behind each row's last token. `PackedReader` keeps what was read and computes nothing twice;
`PlainReader` reads every row from its beginning, which any causal language model can do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from experts.arena import Arena, Group, TextRow, group
from experts.base import BaseModel
from experts.head import decoder_of
from experts.packing import PackedRow

__all__ = ["PackedReader", "PlainReader", "Prefix", "Reader", "Row", "reader_of"]

_PLAIN_ROWS = 64  # read at a time: bounds the memory


@dataclass(slots=True, eq=False)
class Prefix:
    """What a text's branches share.

    Attributes:
        tokens: its token ids.
        adapter: which adapter reads it, for readers that hold several.
        slots: where its keys and values are, once it has been read.
    """

    tokens: list[int]
    adapter: int = 0
    slots: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Row:
    """One branch behind its prefix.

    Attributes:
        prefix: shared by the branches of a text.
        pending: tokens that the model has not read yet, at least one at every pass.
        draft: a token that may follow them; read in the same pass, and taken back by `retract`
            when something else was chosen.
        done: tokens that it has read, without the prefix.
        slots: where their keys and values are.
    """

    prefix: Prefix
    pending: list[int]
    draft: int | None = None
    done: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)


class Reader(Protocol):
    """Reads rows."""

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Must be entered around all calls of `read`."""

    def read(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """Read the pending tokens of every row, and the drafts.

        Returns:
            Hidden states behind each row's last pending token, shape (rows, d), and behind the
            drafts of those rows that have one, shape (drafts, d).
        """

    def retract(self, row: Row) -> None:
        """Forget the draft that a row has just read."""

    def release(self, row: Row) -> None:
        """The row's answer is complete: forget it."""

    def close(self, prefix: Prefix) -> None:
        """No row will need this prefix any more: forget it."""

    def read_through(self, rows: Sequence[PackedRow]) -> torch.Tensor:
        """Read whole texts with complete branches, keeping nothing; gradients flow.

        Returns:
            Hidden states of all tokens, in the order of the rows' `tokens`, shape (n, d).
        """


class PackedReader:
    """Every token once, through an `Arena`.

    Args:
        base: a model whose attention goes through transformers' attention interface.
        before: called with the adapter of each of a pass's n tokens, before the pass.
    """

    def __init__(self, base: BaseModel, before: Callable[[list[int]], None] | None = None) -> None:
        self._device = base.device
        self._decoder: Any = decoder_of(base.model)
        self._arena = Arena(base.model)
        self._before = before

    def reading(self) -> contextlib.AbstractContextManager[None]:
        return self._arena.attending()

    def read(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        layout = _Layout(self._arena)
        lasts = layout.add(rows)
        drafted = [last for last, row in zip(lasts, rows, strict=True) if row.draft is not None]
        for row in rows:
            row.draft = None
        hidden = self._pass(layout, layout.slots)
        index = torch.tensor(lasts, device=self._device)
        behind = torch.tensor(drafted, device=self._device, dtype=torch.int64) + 1
        return hidden[index], hidden[behind]

    def retract(self, row: Row) -> None:
        row.done.pop()
        self._arena.release([row.slots.pop()])

    def _pass(self, layout: _Layout, slots: list[int] | None) -> torch.Tensor:
        tokens, positions = (
            torch.tensor([values], device=self._device)
            for values in (layout.tokens, layout.positions)
        )
        if self._before is not None:
            self._before(layout.adapters)
        self._arena.plan(slots, layout.groups(self._device))
        hidden: torch.Tensor = self._decoder(
            input_ids=tokens, position_ids=positions, use_cache=False
        ).last_hidden_state[0]
        if not self._arena.used:
            raise RuntimeError("the model's attention did not go through the arena")
        return hidden

    def read_through(self, rows: Sequence[PackedRow]) -> torch.Tensor:
        layout = _Layout(None)
        for packed in rows:
            prefix = Prefix(packed.prefix)
            layout.add([Row(prefix, branch) for branch in packed.branches])
        return self._pass(layout, None)

    def release(self, row: Row) -> None:
        self._arena.release(row.slots)
        row.slots = []

    def close(self, prefix: Prefix) -> None:
        self._arena.release(prefix.slots)
        prefix.slots = []


class _Layout:
    """The tokens of one pass in a row, and who attends to what.

    Args:
        arena: where their keys and values will be kept; None to attend within the pass only.
    """

    def __init__(self, arena: Arena | None) -> None:
        self._arena = arena
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.adapters: list[int] = []
        self.slots: list[int] = []
        self._fresh: list[TextRow] = []  # texts that are read from their beginning
        self._going: list[TextRow] = []

    def add(self, rows: Sequence[Row]) -> list[int]:
        """Lay out the rows' pending tokens, and prefixes that nobody has read yet.

        Returns:
            Index of each row's last pending token.
        """
        texts: dict[Prefix, list[int]] = {}
        for i, row in enumerate(rows):
            texts.setdefault(row.prefix, []).append(i)
        lasts = [0] * len(rows)
        for prefix, members in texts.items():
            text = TextRow()
            if prefix.slots:
                self._going.append(text)
            else:
                self._fresh.append(text)
                prefix.slots = self._append(prefix.tokens, 0, 0, prefix, text)
            text.see(prefix.slots, 0, 0)
            behind = len(prefix.tokens)
            for owner, i in enumerate(members, start=1):
                row = rows[i]
                lasts[i] = len(self.tokens) + len(row.pending) - 1
                tokens = row.pending if row.draft is None else [*row.pending, row.draft]
                row.slots += self._append(tokens, behind + len(row.done), owner, prefix, text)
                text.see(row.slots, behind, owner)
                row.done += tokens
                row.pending = []
        return lasts

    def _append(
        self, tokens: list[int], begin: int, owner: int, prefix: Prefix, text: TextRow
    ) -> list[int]:
        """Add tokens from position `begin` on to the pass and to a text's queries."""
        first, count = len(self.tokens), len(tokens)
        indices = list(range(first, first + count))
        slots = indices if self._arena is None else self._arena.allocate(count)
        self.tokens += tokens
        self.positions += range(begin, begin + count)
        self.adapters += [prefix.adapter] * count
        self.slots += slots
        text.queries += indices
        text.query_positions += range(begin, begin + count)
        text.query_owners += [owner] * count
        return slots

    def groups(self, device: torch.device) -> list[Group]:
        """Attention of new texts, and of texts some of whose branches go on."""
        return [group(texts, device) for texts in (self._fresh, self._going) if texts]


class PlainReader:
    """Every row from its beginning at each pass, padded on the right, without a cache.

    Slower by the length of the text, but it asks nothing of the architecture: padding behind a
    causal model's last token changes nothing before it.
    """

    def __init__(self, base: BaseModel) -> None:
        self._device = base.device
        self._decoder: Any = decoder_of(base.model)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def read(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        lasts: list[torch.Tensor] = []
        behind: list[torch.Tensor] = []
        for begin in range(0, len(rows), _PLAIN_ROWS):
            part = rows[begin : begin + _PLAIN_ROWS]
            sequences, ends = [], []
            for row in part:
                row.done += row.pending
                ends.append(len(row.prefix.tokens) + len(row.done) - 1)
                row.done += [] if row.draft is None else [row.draft]
                row.pending = []
                sequences.append([*row.prefix.tokens, *row.done])
            hidden = self._pass(sequences)
            number = torch.arange(len(part), device=self._device)
            last = torch.tensor(ends, device=self._device)
            drafted = torch.tensor([row.draft is not None for row in part], device=self._device)
            lasts.append(hidden[number, last])
            behind.append(hidden[number[drafted], last[drafted] + 1])
            for row in part:
                row.draft = None
        return torch.cat(lasts), torch.cat(behind)

    def retract(self, row: Row) -> None:
        row.done.pop()

    def read_through(self, rows: Sequence[PackedRow]) -> torch.Tensor:
        sequences = [[*row.prefix, *branch] for row in rows for branch in row.branches]
        hidden = self._pass(sequences)
        parts: list[torch.Tensor] = []
        number = 0
        for row in rows:
            parts.append(hidden[number, : len(row.prefix)])
            for branch in row.branches:
                parts.append(hidden[number, len(row.prefix) : len(row.prefix) + len(branch)])
                number += 1
        return torch.cat(parts)

    def _pass(self, sequences: Sequence[list[int]]) -> torch.Tensor:
        longest = max(map(len, sequences))
        tokens = torch.tensor([s + s[-1:] * (longest - len(s)) for s in sequences])
        hidden: torch.Tensor = self._decoder(
            input_ids=tokens.to(self._device), use_cache=False
        ).last_hidden_state
        return hidden

    def release(self, row: Row) -> None:
        del row

    def close(self, prefix: Prefix) -> None:
        del prefix


def reader_of(base: BaseModel, *, packed: bool) -> Reader:
    """The reader that the model allows; `packed` as of `experts.support.can_read_packed`."""
    return PackedReader(base) if packed else PlainReader(base)
