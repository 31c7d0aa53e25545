"""Extraction: texts and types in, spans with offsets and probabilities out.

One forward pass reads a batch of texts with all asked types (type-parallel, packed, nothing padded)
and decides which branches answer "none", which are most. The others go on together, word by word:
their keys and values are gathered from the first pass, finished branches leave, and tokens that
leave no choice are appended without a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from experts.base import BaseModel
from experts.decoding import CopyState
from experts.errors import Cancelled, SamError
from experts.head import CandidateHead, decoder_of
from experts.merging.adapters import Adapter, load_adapter
from experts.packing import PackedRow, attention_argument, join, pack
from experts.prompt import Prompter, TokenizedText
from experts.spans import Span, drop_overlaps

__all__ = ["DECODER_VERSION", "Extractor"]

DECODER_VERSION = 1

_BATCH_TOKENS = 512  # packed tokens read in one pass: wide enough for the matrix units
_TEXT_TOKENS = 320  # longer texts are read in windows
_OVERLAP_WORDS = 40


@dataclass(slots=True)
class _Window:
    """A text, or a part of a long one; offsets are those of the whole text."""

    source: int  # index of the text
    text: TokenizedText
    row: PackedRow


@dataclass(slots=True)
class _Branch:
    window: _Window
    entity_type: int
    state: CopyState
    pending: list[int]  # tokens that the model has not read yet


class Extractor:
    """Runs a base model, with or without an adapter, as a named-entity model.

    Args:
        base: the base model; changed only while `extract` runs.
        none_bias: added to the logit of "no (further) mention", in nats: positive values trade
            recall for precision.
    """

    def __init__(self, base: BaseModel, *, none_bias: float = 0.0) -> None:
        self.base = base
        self.none_bias = none_bias
        self.prompter = Prompter(base.tokenizer)
        self._decoder = decoder_of(base.model)
        self._head = CandidateHead(base.model)

    def extract(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        adapter: Path | Adapter | None = None,
        threshold: float = 0.0,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[Span]]:
        """Find the mentions of the asked types.

        Args:
            texts: any texts; long ones are read in overlapping windows.
            types: names of the entity types; the labels of the spans.
            adapter: PEFT folder or loaded adapter; ``None`` for the bare base model.
            threshold: spans with a lower probability are left out.
            overlapping: keep spans of different types that overlap; otherwise the likelier stays.
            progress: called with (texts done, all texts).
            cancelled: asked between batches.

        Returns:
            For each text its spans, sorted by position.

        Raises:
            SamError: for an adapter that does not fit the base model, or no types.
            Cancelled: if `cancelled` said so.
        """
        if not types:
            raise SamError("No entity types were asked for.", "Name at least one, e.g. person.")
        deltas = self._deltas(adapter)
        found: list[list[Span]] = [[] for _ in texts]
        done = 0
        with torch.inference_mode(), self.base.adapted(deltas):
            for batch in self._batches(texts, list(types)):
                if cancelled is not None and cancelled():
                    raise Cancelled
                for branch in self._answer(batch, len(types)):
                    label = types[branch.entity_type]
                    found[branch.window.source].extend(_spans(branch, label, threshold))
                done += len({window.source for window in batch})
                if progress is not None:
                    progress(min(done, len(texts)), len(texts))
        return [_tidy(spans, overlapping) for spans in found]

    def _deltas(
        self, adapter: Path | Adapter | None
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        if adapter is None:
            return {}
        if isinstance(adapter, Path):
            adapter = load_adapter(adapter)
        return {name: (f.a, f.b * f.scaling) for name, f in adapter.modules.items()}

    def _batches(self, texts: Sequence[str], types: list[str]) -> Iterator[list[_Window]]:
        """Windows of similar length together, bounded by packed tokens."""
        queries = [self.prompter.query(entity_type) for entity_type in types]
        windows = [w for i, text in enumerate(texts) for w in self._windows(i, text, queries)]
        windows.sort(key=lambda w: len(w.row.tokens))
        batch: list[_Window] = []
        size = 0
        for window in windows:
            length = len(window.row.tokens)
            if batch and size + length > _BATCH_TOKENS:
                yield batch
                batch, size = [], 0
            batch.append(window)
            size += length
        if batch:
            yield batch

    def _windows(self, source: int, text: str, queries: list[list[int]]) -> Iterator[_Window]:
        tokens = self.prompter.text(text)
        begin = 0
        while begin < len(tokens.words):
            end = begin
            limit = tokens.first[begin] + _TEXT_TOKENS
            while end < len(tokens.words) and (end == begin or tokens.first[end + 1] <= limit):
                end += 1
            part = tokens.slice(begin, end)
            yield _Window(source, part, pack(self.prompter.prefix(part), queries))
            if end == len(tokens.words):
                return
            begin = max(begin + 1, end - _OVERLAP_WORDS)

    def _answer(self, windows: list[_Window], types: int) -> list[_Branch]:
        rows = [window.row for window in windows]
        batch = join(rows, device=self.base.device)
        mask = attention_argument(
            self.base.model.config,
            batch.visible,
            self.base.dtype,
            query_positions=batch.positions,
            key_positions=batch.positions,
        )
        output = self._decoder(
            input_ids=batch.tokens,
            attention_mask=mask,
            position_ids=batch.positions,
            past_key_values=DynamicCache(),
            use_cache=True,
        )
        branches = [
            _Branch(w, t, CopyState(w.text, self.prompter.mention_end, self.prompter.list_end), [])
            for w in windows
            for t in range(types)
        ]
        lasts = [o + e - 1 for o, r in zip(batch.offsets, rows, strict=True) for _, e in r.bounds]
        hidden = output.last_hidden_state[0, torch.tensor(lasts, device=self.base.device)]
        candidates = _Candidates(windows, self.prompter, self.base.device)
        self._decide(branches, hidden, candidates)
        keys = _BranchKeys.gather(branches, windows, batch.offsets, types, output.past_key_values)
        if keys is not None:
            self._decode(keys, candidates)
        return branches

    def _decide(
        self, branches: Sequence[_Branch], hidden: torch.Tensor, candidates: _Candidates
    ) -> None:
        """Choose the next token of every branch, and append those that then leave no choice."""
        logits = self._head.logits(hidden, candidates.ids).cpu()
        allowed = [branch.state.allowed() for branch in branches]
        columns = [[candidates.column[token] for token in tokens] for tokens in allowed]
        mask = torch.zeros(logits.shape, dtype=torch.bool)
        flat = [(r, c) for r, row in enumerate(columns) for c in row]
        index = torch.tensor(flat)
        mask[index[:, 0], index[:, 1]] = True
        if self.none_bias:
            logits[:, candidates.column[self.prompter.list_end]] += self.none_bias
        scores = logits.masked_fill(~mask, -torch.inf).log_softmax(-1)
        best, choice = scores.max(-1)
        ids = candidates.list
        for branch, column, log_p in zip(branches, choice.tolist(), best.tolist(), strict=True):
            token = ids[column]
            branch.state.push(token, log_p)
            branch.pending = [token, *branch.state.forced()]

    def _decode(self, keys: _BranchKeys, candidates: _Candidates) -> None:
        """Go on until every branch has ended its answer."""
        while keys.branches:
            tokens, positions, mask = keys.feed(self.base)
            hidden = self._decoder(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=keys.cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            self._decide(keys.branches, hidden, candidates)
            keys.leave()


class _Candidates:
    """The tokens that any branch of a batch may choose."""

    def __init__(
        self, windows: Sequence[_Window], prompter: Prompter, device: torch.device
    ) -> None:
        ids = {prompter.mention_end, prompter.list_end}
        for window in windows:
            ids.update(window.text.tokens)
        self.list = sorted(ids)
        self.column: Mapping[int, int] = {token: c for c, token in enumerate(self.list)}
        self.ids = torch.tensor(self.list, device=device)


class _BranchKeys:
    """Keys and values of the branches that go on, one row each.

    Attributes:
        branches: one a row.
        cache: keys and values, (rows, heads, n, d) a layer.
        valid: bool, shape (rows, n): which of the n columns belong to the row.
        positions: int64, shape (rows, n).
    """

    def __init__(
        self, branches: list[_Branch], cache: Any, valid: torch.Tensor, positions: torch.Tensor
    ) -> None:
        self.branches, self.cache = branches, cache
        self.valid, self.positions = valid, positions

    @classmethod
    def gather(
        cls,
        branches: Sequence[_Branch],
        windows: Sequence[_Window],
        offsets: Sequence[int],
        types: int,
        packed: Any,
    ) -> _BranchKeys | None:
        """Pick each unfinished branch's prefix and query out of the packed pass."""
        going = [(i, branch) for i, branch in enumerate(branches) if not branch.state.finished]
        if not going:
            return None
        sources: list[list[int]] = []
        for i, _ in going:
            window, offset = windows[i // types], offsets[i // types]
            begin, end = window.row.bounds[i % types]
            own = [*range(window.row.prefix), *range(begin, end)]
            sources.append([offset + j for j in own])
        longest = max(map(len, sources))
        device = packed.layers[0].keys.device
        index = torch.tensor([[0] * (longest - len(s)) + s for s in sources], device=device)
        lengths = torch.tensor([len(s) for s in sources], device=device)
        columns = torch.arange(longest, device=device)
        positions = columns[None] - (longest - lengths)[:, None]
        cache = DynamicCache()
        for number, layer in enumerate(packed.layers):
            # (1, heads, tokens, d) -> (rows, heads, n, d)
            keys = layer.keys[0][:, index].transpose(0, 1).contiguous()
            values = layer.values[0][:, index].transpose(0, 1).contiguous()
            cache.update(keys, values, number)
        return cls([b for _, b in going], cache, positions >= 0, positions.clamp(min=0))

    def feed(self, base: BaseModel) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """The pending tokens of all rows, aligned on the right, with positions and mask."""
        device = self.valid.device
        width = max(len(branch.pending) for branch in self.branches)
        pending = [[0] * (width - len(b.pending)) + b.pending for b in self.branches]
        tokens = torch.tensor(pending, device=device)
        count = torch.tensor([len(b.pending) for b in self.branches], device=device)
        columns = torch.arange(width, device=device)[None]
        real = columns >= (width - count)[:, None]
        after = self.positions.amax(1) + 1
        positions = torch.where(real, after[:, None] + columns - (width - count)[:, None], 0)
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        own = torch.eye(width, dtype=torch.bool, device=device)
        past = self.valid[:, None, :].expand(-1, width, -1)
        new = (causal[None] & real[:, None, :]) | own[None]
        self.valid = torch.cat([self.valid, real], 1)
        self.positions = torch.cat([self.positions, positions], 1)
        mask = attention_argument(
            base.model.config,
            torch.cat([past, new], 2),
            base.dtype,
            query_positions=positions,
            key_positions=self.positions,
        )
        return tokens, positions, mask

    def leave(self) -> None:
        """Drop the rows whose answer is complete."""
        stay = [i for i, branch in enumerate(self.branches) if not branch.state.finished]
        if len(stay) == len(self.branches):
            return
        self.branches = [self.branches[i] for i in stay]
        if stay:
            index = torch.tensor(stay, device=self.valid.device)
            self.cache.batch_select_indices(index)
            self.valid, self.positions = self.valid[index], self.positions[index]


def _spans(branch: _Branch, label: str, threshold: float) -> Iterator[Span]:
    for mention in branch.state.mentions:
        score = branch.state.probability(mention)
        if score >= threshold:
            yield branch.window.text.span(mention.begin, mention.end, label, score)


def _tidy(spans: list[Span], overlapping: bool) -> list[Span]:
    """Windows that overlap find a span twice: the likelier reading stays."""
    best: dict[tuple[int, int, str], Span] = {}
    for span in spans:
        known = best.get(span.key)
        if known is None or (span.score or 0.0) > (known.score or 0.0):
            best[span.key] = span
    return sorted(best.values()) if overlapping else drop_overlaps(list(best.values()))
