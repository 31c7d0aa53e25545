"""One run of the extractor: texts and types through a reader, pass by pass.

A pass reads new texts with all asked types, goes on with the branches of earlier ones, and asks for
verdicts on mentions that several types claim, all at once. Branches that answer "none", which are
most, end at once; what is finished makes room for new texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from experts.decoding import CopyState
from experts.errors import Cancelled, SamError
from experts.prompt import TokenizedText
from experts.reading import Prefix, Reader, Row
from experts.spans import Span
from experts.support import context_length, not_finite
from experts.verdict import Path, TypeNames, calibrated, contested
from experts.windows import text_limit
from experts.windows import windows as cut

if TYPE_CHECKING:
    from experts.extract import Extractor

__all__ = ["Found", "Run"]


@dataclass(slots=True)
class Found:
    """What one adapter found in one text.

    Attributes:
        spans: as they were found; they may overlap and, where windows do, repeat each other.
        verdicts: (start, end, type) → calibrated log-probability of the type, of contested spans.
    """

    spans: list[Span] = field(default_factory=list)
    verdicts: dict[tuple[int, int, str], float] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Window:
    """A text, or a part of a long one, for one adapter; offsets are those of the whole text."""

    source: int  # index of the text
    text: TokenizedText
    prefix: Prefix
    branches: list[_Branch]
    tokens: int  # that a pass reads at first
    unfinished: int  # branches, later questions
    answers: dict[tuple[int, int], dict[Path, dict[int, float]]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Branch:
    window: _Window
    entity_type: int
    state: CopyState
    row: Row


@dataclass(slots=True, eq=False)
class _Question:
    """One node of the tree of types, asked about one contested mention."""

    window: _Window
    mention: tuple[int, int]
    path: Path
    row: Row


@dataclass(slots=True)
class Run:
    """One call of the extractor.

    Attributes:
        judge: whether to ask for verdicts on contested mentions.
    """

    extractor: Extractor
    types: list[str]
    none_bias: float | None
    cancelled: Callable[[], bool] | None
    judge: bool = True
    _names: TypeNames = field(init=False)
    _adapters: int = 1
    _blank: list[dict[str, float]] = field(default_factory=list)  # for each adapter

    def __post_init__(self) -> None:
        if not self.types:
            raise SamError("No entity types were asked for.", "Name at least one, e.g. person.")
        self._names = TypeNames(self.extractor.prompter, self.types)

    def find(
        self,
        texts: Sequence[str],
        adapters: int,
        reader: Reader,
        progress: Callable[[int, int], None] | None,
    ) -> list[list[Found]]:
        """For each adapter, for each text, what was found."""
        self._adapters = adapters
        found = [[Found() for _ in texts] for _ in range(adapters)]
        open_windows = [[0] * len(texts) for _ in range(adapters)]
        waiting = self._windows(texts, adapters)
        for window in waiting:
            open_windows[window.prefix.adapter][window.source] += 1
        total = len(texts) * adapters
        done = sum(count == 0 for counts in open_windows for count in counts)  # without a word
        with reader.reading():
            for window in self._finished(waiting, reader):
                adapter, source = window.prefix.adapter, window.source
                self._collect(window, found[adapter][source])
                open_windows[adapter][source] -= 1
                done += not open_windows[adapter][source]
                if progress is not None:
                    progress(done, total)
        if progress is not None and not waiting:
            progress(total, total)
        return found

    def _collect(self, window: _Window, found: Found) -> None:
        blank = self._blank[window.prefix.adapter] if window.answers else {}
        for branch in window.branches:
            label = self.types[branch.entity_type]
            for mention in branch.state.mentions:
                score = branch.state.probability(mention)
                span = window.text.span(mention.begin, mention.end, label, score)
                found.spans.append(span)
                answers = window.answers.get((mention.begin, mention.end))
                if answers is not None:
                    verdict = calibrated(self._names.score(label, answers), blank[label])
                    found.verdicts[span.key] = verdict

    def _windows(self, texts: Sequence[str], adapters: int) -> list[_Window]:
        """All there is to read, the longest first: what is left at the end is short."""
        prompter = self.extractor.prompter
        queries = [prompter.query(entity_type) for entity_type in self.types]
        limit = _text_limit(self.extractor, queries)
        windows: list[_Window] = []
        for i, text in enumerate(texts):
            for part in cut(prompter.text(text), limit):
                for adapter in range(adapters):
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
        """Windows whose branches and questions are all answered, as they become so."""
        budget = self.extractor.pass_tokens
        going: list[_Branch] = []
        questions: list[_Question] = []
        position = 0
        while going or questions or position < len(windows):
            if self.cancelled is not None and self.cancelled():
                raise Cancelled
            used = sum(len(b.row.pending) + (b.row.draft is not None) for b in going)
            used += sum(len(question.row.pending) for question in questions)
            while position < len(windows):
                window = windows[position]
                if used and used + window.tokens > budget:
                    break
                used += window.tokens
                position += 1
                going.extend(window.branches)
            draft = position == len(windows) and used < budget // 4
            self._advance(going, questions, reader, draft=draft)
            read: list[_Branch | _Question] = [*going, *questions]
            questions = []
            for window in _done(read, reader):
                if not window.answers:
                    questions += self._questions(window, reader)
                if not window.unfinished:
                    reader.close(window.prefix)
                    yield window
            going = [branch for branch in going if not branch.state.finished]

    def _questions(self, window: _Window, reader: Reader) -> list[_Question]:
        """What to ask about the mentions of a window whose branches are complete."""
        if not self.judge:
            return []
        claims = {
            self.types[b.entity_type]: [(m.begin, m.end) for m in b.state.mentions]
            for b in window.branches
        }
        cases = contested(claims)
        if cases and not self._blank:
            self._read_blank(reader)
        questions = []
        for case in cases:
            mention = (case.begin, case.end)
            window.answers[mention] = {}
            surface = window.text.tokens[case.begin : case.end]
            for path in self._names.paths(case.types):
                row = Row(window.prefix, self._names.question(surface, path))
                questions.append(_Question(window, mention, path, row))
        window.unfinished = len(questions)
        return questions

    def _read_blank(self, reader: Reader) -> None:
        """What each adapter says of a mention without content."""
        prompter = self.extractor.prompter
        paths = list(self._names.nodes)
        adapters = self._adapters
        tokens = prompter.prefix(prompter.text(""))
        prefixes = [Prefix(list(tokens), adapter) for adapter in range(adapters)]
        rows = [Row(p, self._names.blank_question(path)) for p in prefixes for path in paths]
        said: list[dict[int, float]] = []
        if rows:
            hidden = reader.read(rows)[0]
            said = self._names.log_probabilities(self.extractor.head, hidden, paths * adapters)
        for adapter, prefix in enumerate(prefixes):
            part = said[adapter * len(paths) : (adapter + 1) * len(paths)]
            answers = dict(zip(paths, part, strict=True))
            self._blank.append({name: self._names.score(name, answers) for name in self.types})
            for row in rows:
                if row.prefix is prefix:
                    reader.release(row)
            reader.close(prefix)

    def _advance(
        self,
        branches: Sequence[_Branch],
        questions: Sequence[_Question],
        reader: Reader,
        *,
        draft: bool,
    ) -> None:
        """Read what is pending; decide how every branch goes on, and answer the questions.

        Args:
            draft: where a mention could end, let its end be read in advance, so that a mention of
                one word takes one pass and not two. It costs a token that may be taken back: worth
                it for narrow passes, whose time does not depend on their width.
        """
        drafted = [branch for branch in branches if branch.row.draft is not None]
        rows = [*(b.row for b in branches), *(q.row for q in questions)]
        hidden, behind = reader.read(rows)
        if branches:
            self._decide(branches, hidden[: len(branches)])
        if questions:
            paths = [question.path for question in questions]
            said = self._names.log_probabilities(
                self.extractor.head, hidden[len(branches) :], paths
            )
            for question, answer in zip(questions, said, strict=True):
                question.window.answers[question.mention][question.path] = answer
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
        logits = extractor.head.logits(hidden, candidates).cpu()
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


def _done(items: Sequence[_Branch | _Question], reader: Reader) -> Iterator[_Window]:
    """Release what is complete; windows for which that was the last of its kind."""
    for item in items:
        if isinstance(item, _Branch) and not item.state.finished:
            continue
        reader.release(item.row)
        item.window.unfinished -= 1
        if not item.window.unfinished:
            yield item.window


def _text_limit(extractor: Extractor, queries: list[list[int]]) -> int:
    longest, positions = max(map(len, queries)), context_length(extractor.base)
    limit = text_limit(extractor.prompter, longest, positions)
    if limit is None:
        raise SamError(
            f"An entity type of {longest} tokens leaves no room for the text: the base model "
            f"reads {positions}.",
            "Give the type a shorter name, or set SAM_BASE_MODEL to a model that reads more.",
        )
    return limit
