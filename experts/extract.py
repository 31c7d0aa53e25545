"""Extraction: texts and types in, spans with offsets and probabilities out.

Texts are read with all asked types (type-parallel), many at a time in passes of a fixed number of
tokens. Each pass reads new texts and goes on with the branches of earlier ones: branches that answer
"none", which are most, end at once, finished ones make room for new texts, and tokens that leave no
choice are read without a decision.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from experts.base import BaseModel
from experts.decoding import CopyState
from experts.errors import Cancelled, SamError
from experts.head import CandidateHead
from experts.merging.adapters import Adapter, load_adapter
from experts.prompt import Prompter, TokenizedText
from experts.reading import PackedReader, PlainReader, Prefix, Reader, Row
from experts.spans import Span, drop_overlaps
from experts.stack import AdapterStack
from experts.support import can_read_packed, context_length, not_finite
from experts.windows import windows as cut

__all__ = ["DECODER_VERSION", "Extractor"]

DECODER_VERSION = 2

_PASS_TOKENS = {"cpu": 512, "mps": 2048}  # wide enough for the matrix units; else:
_PASS_TOKENS_GPU = 8192
_TEXT_TOKENS = 320  # longer texts are read in windows
_LEAST_TEXT_TOKENS = 16  # windows of less tell nothing

Deltas = dict[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass(slots=True, eq=False)
class _Window:
    """A text, or a part of a long one, for one adapter; offsets are those of the whole text."""

    source: int  # index of the text
    text: TokenizedText
    prefix: Prefix
    branches: list[_Branch]
    tokens: int  # that a pass reads at first
    unfinished: int


@dataclass(slots=True, eq=False)
class _Branch:
    window: _Window
    entity_type: int
    state: CopyState
    row: Row


class Extractor:
    """Runs a base model, with or without an adapter, as a named-entity model.

    Args:
        base: the base model; changed only while `extract` runs.
        none_bias: added to the logit of "no (further) mention", in nats: positive values trade
            recall for precision.

    Raises:
        SamError: if the base model cannot be read at all.
    """

    def __init__(self, base: BaseModel, *, none_bias: float = 0.0) -> None:
        self.base = base
        self.none_bias = none_bias
        self.prompter = Prompter(base.tokenizer)
        self.packed = can_read_packed(base, self.prompter)
        self._head = CandidateHead(base.model)
        self._pass_tokens = _PASS_TOKENS.get(base.device.type, _PASS_TOKENS_GPU)

    def extract(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        adapter: Path | Adapter | None = None,
        threshold: float | Mapping[str, float] = 0.0,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[Span]]:
        """Find the mentions of the asked types.

        Args:
            texts: any texts; long ones are read in overlapping windows.
            types: names of the entity types; the labels of the spans.
            adapter: PEFT folder or loaded adapter; ``None`` for the bare base model.
            threshold: spans with a lower probability are left out; one for all types, or one for
                each (0 where a type is not named).
            none_bias: in place of the extractor's own.
            overlapping: keep spans of different types that overlap; otherwise the likelier stays.
            progress: called with (texts done, all texts).
            cancelled: asked between passes.

        Returns:
            For each text its spans, sorted by position.

        Raises:
            SamError: for an adapter that does not fit the base model, no types, a type too long for
            the base model, or scores that are not finite.
            Cancelled: if `cancelled` said so.
        """
        reader = PackedReader(self.base) if self.packed else PlainReader(self.base)
        run = _Run(self, list(types), none_bias, cancelled)
        with torch.inference_mode(), self._adapted(_deltas(adapter)):
            found = run.spans(texts, [0], reader, threshold, progress)[0]
        return [_tidy(spans, overlapping) for spans in found]

    def _adapted(self, deltas: Deltas) -> contextlib.AbstractContextManager[None]:
        """One adapter: in the weights, which costs nothing a token, unless these are quantized."""
        if not self.base.quantization or not deltas:
            return self.base.adapted(deltas)
        stack = AdapterStack(self.base, [deltas])
        stack.weigh([1.0])
        return stack.attached()

    def extract_each(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path | Adapter],
        *,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[list[Span]]]:
        """Answers of several adapters to the same texts, read side by side in shared passes.

        Args:
            adapters: PEFT folders or loaded adapters of this base model.
            progress: called with (answers done, all answers), one for each adapter and text.

        Other arguments and errors as of `extract`.

        Returns:
            For each adapter, for each text, its spans.
        """
        if not adapters:
            return []
        if not self.packed:
            return [
                self.extract(texts, types, adapter=adapter, none_bias=none_bias,
                             overlapping=overlapping, cancelled=cancelled)
                for adapter in adapters
            ]  # fmt: skip
        stack = AdapterStack(self.base, [_deltas(adapter) for adapter in adapters])
        reader = PackedReader(self.base, before=stack.select)
        run = _Run(self, list(types), none_bias, cancelled)
        with torch.inference_mode(), stack.attached():
            found = run.spans(texts, list(range(len(adapters))), reader, 0.0, progress)
        return [[_tidy(spans, overlapping) for spans in answers] for answers in found]


@dataclass(slots=True)
class _Run:
    """One call of the extractor."""

    extractor: Extractor
    types: list[str]
    none_bias: float | None
    cancelled: Callable[[], bool] | None

    def spans(
        self,
        texts: Sequence[str],
        adapters: Sequence[int],
        reader: Reader,
        threshold: float | Mapping[str, float],
        progress: Callable[[int, int], None] | None,
    ) -> list[list[list[Span]]]:
        """For each adapter, for each text, its spans, as they were found."""
        if not self.types:
            raise SamError("No entity types were asked for.", "Name at least one, e.g. person.")
        found: list[list[list[Span]]] = [[[] for _ in texts] for _ in adapters]
        open_windows = [[0] * len(texts) for _ in adapters]
        waiting = self._windows(texts, adapters)
        for window in waiting:
            open_windows[window.prefix.adapter][window.source] += 1
        total = len(texts) * len(adapters)
        done = sum(count == 0 for counts in open_windows for count in counts)  # without a word
        with reader.reading():
            for window in self._finished(waiting, reader):
                adapter, source = window.prefix.adapter, window.source
                for branch in window.branches:
                    label = self.types[branch.entity_type]
                    least = (
                        threshold
                        if isinstance(threshold, float | int)
                        else threshold.get(label, 0.0)
                    )
                    found[adapter][source].extend(_spans(branch, label, least))
                open_windows[adapter][source] -= 1
                done += not open_windows[adapter][source]
                if progress is not None:
                    progress(done, total)
        if progress is not None and not waiting:
            progress(total, total)
        return found

    def _windows(self, texts: Sequence[str], adapters: Sequence[int]) -> list[_Window]:
        """All there is to read, the longest first: what is left at the end is short."""
        prompter = self.extractor.prompter
        queries = [prompter.query(entity_type) for entity_type in self.types]
        limit = _text_limit(self.extractor, queries)
        windows: list[_Window] = []
        for i, text in enumerate(texts):
            for part in cut(prompter.text(text), limit):
                for adapter in adapters:
                    prefix = Prefix(prompter.prefix(part), adapter)
                    size = len(prefix.tokens) + sum(map(len, queries))
                    window = _Window(i, part, prefix, [], size, len(queries))
                    window.branches = [
                        _Branch(
                            window,
                            t,
                            CopyState(part, prompter.mention_end, prompter.list_end),
                            Row(prefix, list(query)),
                        )
                        for t, query in enumerate(queries)
                    ]
                    windows.append(window)
        windows.sort(key=lambda w: -w.tokens)
        return windows

    def _finished(self, windows: Sequence[_Window], reader: Reader) -> Iterator[_Window]:
        """Windows whose branches are all complete, as they become so."""
        budget = self.extractor._pass_tokens
        going: list[_Branch] = []
        position = 0
        while going or position < len(windows):
            if self.cancelled is not None and self.cancelled():
                raise Cancelled
            used = sum(len(b.row.pending) + (b.row.draft is not None) for b in going)
            while position < len(windows):
                window = windows[position]
                if used and used + window.tokens > budget:
                    break
                used += window.tokens
                position += 1
                going.extend(window.branches)
            self._advance(going, reader, draft=position == len(windows) and used < budget // 4)
            still: list[_Branch] = []
            for branch in going:
                if not branch.state.finished:
                    still.append(branch)
                    continue
                reader.release(branch.row)
                branch.window.unfinished -= 1
                if not branch.window.unfinished:
                    yield branch.window
            going = still

    def _advance(self, branches: Sequence[_Branch], reader: Reader, *, draft: bool) -> None:
        """Read what is pending and decide how every branch goes on.

        Args:
            draft: where a mention could end, let its end be read in advance, so that a mention of
                one word takes one pass and not two. It costs a token that may be taken back: worth
                it for narrow passes, whose time does not depend on their width.
        """
        drafted = [branch for branch in branches if branch.row.draft is not None]
        hidden, behind = reader.read([branch.row for branch in branches])
        self._decide(branches, hidden)
        right: list[int] = []
        for i, branch in enumerate(drafted):
            if branch.row.pending[0] != branch.state.mention_end:
                reader.retract(branch.row)
            elif not branch.state.finished:
                right.append(i)
        if right:
            index = torch.tensor(right, device=behind.device)
            self._decide([drafted[i] for i in right], behind[index])
        for branch in branches:
            wanted = draft and branch.state.may_close
            branch.row.draft = branch.state.mention_end if wanted else None

    def _decide(self, branches: Sequence[_Branch], hidden: torch.Tensor) -> None:
        """Choose the next token of every branch, and append those that then leave no choice."""
        extractor = self.extractor
        end = extractor.prompter.list_end
        allowed = [branch.state.allowed() for branch in branches]
        ids = sorted({token for tokens in allowed for token in tokens} | {end})
        column = {token: c for c, token in enumerate(ids)}
        candidates = torch.tensor(ids, device=hidden.device)
        logits = extractor._head.logits(hidden, candidates).cpu()
        rows = [r for r, tokens in enumerate(allowed) for _ in tokens]
        columns = [column[token] for tokens in allowed for token in tokens]
        mask = torch.ones(logits.shape, dtype=torch.bool)
        mask[torch.tensor(rows), torch.tensor(columns)] = False
        bias = extractor.none_bias if self.none_bias is None else self.none_bias
        if bias:
            logits[:, column[end]] += bias
        best, choice = logits.masked_fill_(mask, -torch.inf).log_softmax(-1).max(-1)
        if not bool(torch.isfinite(best).all()):
            raise not_finite()
        for branch, c, log_p in zip(branches, choice.tolist(), best.tolist(), strict=True):
            branch.state.push(ids[c], log_p)
            branch.row.pending = [ids[c], *branch.state.forced()]


def _deltas(adapter: Path | Adapter | None) -> Deltas:
    if adapter is None:
        return {}
    if isinstance(adapter, Path):
        adapter = load_adapter(adapter)
    return adapter.products()


def _text_limit(extractor: Extractor, queries: list[list[int]]) -> int:
    """Tokens of text for which the base model has positions enough, whatever the answer."""
    positions = context_length(extractor.base)
    if positions is None:
        return _TEXT_TOKENS
    longest = max(map(len, queries))
    prompter = extractor.prompter
    around = len(prompter.prefix(prompter.text(""))) + longest
    # At worst the answer copies every token, each a mention with a line break of its own.
    room = (positions - around) // 3
    if room < _LEAST_TEXT_TOKENS:
        raise SamError(
            f"An entity type of {longest} tokens leaves no room for the text: the base model "
            f"reads {positions}.",
            "Give the type a shorter name, or set SAM_BASE_MODEL to a model that reads more.",
        )
    return min(_TEXT_TOKENS, room)


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
