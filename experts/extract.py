"""Extraction: texts and types in, spans with offsets and probabilities out.

One forward pass reads a batch of texts with all asked types (type-parallel, packed, nothing padded)
and decides which branches answer "none", which are most. The others go on together, across texts:
their keys and values are gathered from the first pass, finished branches leave and new ones join,
and tokens that leave no choice are appended without a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import DynamicCache

from experts.base import BaseModel
from experts.branches import BranchCache
from experts.decoding import CopyState
from experts.errors import Cancelled, SamError
from experts.head import CandidateHead, decoder_of
from experts.merging.adapters import Adapter, load_adapter
from experts.packing import PackedRow, attention_argument, join, pack
from experts.prompt import Prompter, TokenizedText
from experts.spans import Span, drop_overlaps
from experts.support import check_supported, context_length, not_finite
from experts.windows import windows as cut

__all__ = ["DECODER_VERSION", "Extractor"]

DECODER_VERSION = 1

_BATCH_TOKENS = 512  # packed tokens read in one pass: wide enough for the matrix units
_WIDE = 96  # branches that are decoded together
_TEXT_TOKENS = 320  # longer texts are read in windows
_LEAST_TEXT_TOKENS = 16  # windows of less tell nothing


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

    @property
    def finished(self) -> bool:
        return self.state.finished


_Going = BranchCache[_Branch]


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
        check_supported(base, self.prompter)
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
            SamError: for an adapter that does not fit the base model, no types, a type too long for
            the base model, or scores that are not finite.
            Cancelled: if `cancelled` said so.
        """
        if not types:
            raise SamError("No entity types were asked for.", "Name at least one, e.g. person.")
        deltas = self._deltas(adapter)
        found: list[list[Span]] = [[] for _ in texts]
        done = 0
        with torch.inference_mode(), self.base.adapted(deltas):
            for branches in self._answers(texts, list(types), cancelled):
                for branch in branches:
                    label = types[branch.entity_type]
                    found[branch.window.source].extend(_spans(branch, label, threshold))
                done += len({branch.window.source for branch in branches})
                if progress is not None:
                    progress(min(done, len(texts)), len(texts))
        if progress is not None and done < len(texts):  # texts without a word are in no batch
            progress(len(texts), len(texts))
        return [_tidy(spans, overlapping) for spans in found]

    def _deltas(
        self, adapter: Path | Adapter | None
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        if adapter is None:
            return {}
        if isinstance(adapter, Path):
            adapter = load_adapter(adapter)
        return adapter.products()

    def _answers(
        self, texts: Sequence[str], types: list[str], cancelled: Callable[[], bool] | None
    ) -> Iterator[list[_Branch]]:
        """Completed branches, batch by batch.

        Reading goes ahead of decoding until enough branches go on to keep the model's matrices
        wide: a step for 100 rows costs little more than one for ten.
        """
        going: _Going | None = None
        waiting: list[list[_Branch]] = []
        for batch in [*self._batches(texts, types), None]:
            if batch is not None:
                branches, more = self._read(batch, len(types))
                waiting.append(branches)
                if more is not None:
                    going = more if going is None else BranchCache.join([going, more])
            while going is not None and going.rows and (batch is None or len(going.rows) >= _WIDE):
                _stop_if(cancelled)
                self._step(going)
            while waiting and all(branch.finished for branch in waiting[0]):
                yield waiting.pop(0)
            _stop_if(cancelled)

    def _batches(self, texts: Sequence[str], types: list[str]) -> Iterator[list[_Window]]:
        """Windows of similar length together, bounded by packed tokens."""
        queries = [self.prompter.query(entity_type) for entity_type in types]
        limit = self._text_limit(queries)
        windows = [
            _Window(i, part, pack(self.prompter.prefix(part), queries))
            for i, text in enumerate(texts)
            for part in cut(self.prompter.text(text), limit)
        ]
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

    def _text_limit(self, queries: list[list[int]]) -> int:
        """Tokens of text for which the base model has positions enough, whatever the answer."""
        positions = context_length(self.base)
        if positions is None:
            return _TEXT_TOKENS
        longest = max(map(len, queries))
        around = len(self.prompter.prefix(self.prompter.text(""))) + longest
        # At worst the answer copies every token, each a mention with a line break of its own.
        room = (positions - around) // 3
        if room < _LEAST_TEXT_TOKENS:
            raise SamError(
                f"An entity type of {longest} tokens leaves no room for the text: the base model "
                f"reads {positions}.",
                "Give the type a shorter name, or set SAM_BASE_MODEL to a model that reads more.",
            )
        return min(_TEXT_TOKENS, room)

    def _read(self, windows: list[_Window], types: int) -> tuple[list[_Branch], _Going | None]:
        """Read texts with all types; the branches that do not end at once go on."""
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
        self._decide(branches, hidden)
        going = [i for i, branch in enumerate(branches) if not branch.finished]
        if not going:
            return branches, None
        sources = [
            [batch.offsets[i // types] + j for j in _own_tokens(rows[i // types], i % types)]
            for i in going
        ]
        kept = BranchCache.gather([branches[i] for i in going], sources, output.past_key_values)
        return branches, kept

    def _decide(self, branches: Sequence[_Branch], hidden: torch.Tensor) -> None:
        """Choose the next token of every branch, and append those that then leave no choice."""
        allowed = [branch.state.allowed() for branch in branches]
        ids = sorted({token for tokens in allowed for token in tokens} | {self.prompter.list_end})
        column = {token: c for c, token in enumerate(ids)}
        logits = self._head.logits(hidden, torch.tensor(ids, device=self.base.device)).cpu()
        rows = [r for r, tokens in enumerate(allowed) for _ in tokens]
        columns = [column[token] for tokens in allowed for token in tokens]
        mask = torch.ones(logits.shape, dtype=torch.bool)
        mask[torch.tensor(rows), torch.tensor(columns)] = False
        if self.none_bias:
            logits[:, column[self.prompter.list_end]] += self.none_bias
        best, choice = logits.masked_fill_(mask, -torch.inf).log_softmax(-1).max(-1)
        if not bool(torch.isfinite(best).all()):
            raise not_finite()
        for branch, c, log_p in zip(branches, choice.tolist(), best.tolist(), strict=True):
            branch.state.push(ids[c], log_p)
            branch.pending = [ids[c], *branch.state.forced()]

    def _step(self, going: _Going) -> None:
        """One decision for every branch that goes on."""
        hidden = going.read_pending(self._decoder, self.base.model.config, self.base.dtype)
        self._decide(going.rows, hidden)
        going.leave()


def _stop_if(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled


def _own_tokens(row: PackedRow, branch: int) -> Iterator[int]:
    """Indices in the row of the prefix and of one branch."""
    yield from range(row.prefix)
    yield from range(*row.bounds[branch])


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
