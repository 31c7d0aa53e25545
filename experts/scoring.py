"""What is right, half right and wrong about predicted spans.

The categories of SemEval-2013 task 9 (Segura-Bedmar et al.) as nervaluate counts them: each
predicted span is compared with one true span that it shares a character with, if there is one.

    strict      offsets and type must be those of the truth (`experts.evaluate`)
    boundary    the offsets must be ("exact" in nervaluate)
    type        the type must be ("ent_type"), where the spans share a character
    partial     the offsets must be, else the span counts half

Where several spans share characters, those that agree entirely are matched first, so that the
order in which spans are listed does not matter; nervaluate goes by that order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from experts.evaluate import Score, Spans, evaluate
from experts.spans import Span
from experts.words import Word, split_words

__all__ = [
    "Categories",
    "Difference",
    "boundary_scores",
    "confusion",
    "differences",
    "partial_scores",
    "type_scores",
    "word_scores",
]

Rank = Callable[[Span, Span, int], tuple[float, ...]]
"""Of (true, found, position of the found one): the lowest pairs are matched first."""
Test = Callable[[Span, Span], bool]


@dataclass(frozen=True, slots=True)
class Categories:
    """Spans by what became of them. `incorrect` and `partial` have a true and a found span."""

    correct: int = 0
    incorrect: int = 0
    partial: int = 0
    missed: int = 0
    spurious: int = 0

    @property
    def precision(self) -> float:
        """(correct + partial / 2) over the found spans, in [0, 1]; 0 without any."""
        found = self.correct + self.incorrect + self.partial + self.spurious
        return (self.correct + self.partial / 2) / found if found else 0.0

    @property
    def recall(self) -> float:
        """(correct + partial / 2) over the true spans, in [0, 1]; 0 without any."""
        true = self.correct + self.incorrect + self.partial + self.missed
        return (self.correct + self.partial / 2) / true if true else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """A true span and the found one that stands for it; one of them is None where it has no match.

    Attributes:
        kind: "right", "type" (another type), "boundary" (the type only), "missed", "wrong".
    """

    kind: Literal["right", "type", "boundary", "missed", "wrong"]
    true: Span | None
    found: Span | None


def boundary_scores(gold: Spans, pred: Spans) -> Categories:
    """Offsets are compared, types are not; a span that merely overlaps is incorrect."""
    return _categories(gold, pred, _by_place, _same_offsets, half=False)


def partial_scores(gold: Spans, pred: Spans) -> Categories:
    """Offsets are compared, types are not; a span that merely overlaps is partial."""
    return _categories(gold, pred, _by_place, _same_offsets, half=True)


def type_scores(gold: Spans, pred: Spans) -> Categories:
    """Types of spans that share a character are compared; another type is incorrect."""
    return _categories(gold, pred, _by_type, _same_type, half=False)


def word_scores(texts: Sequence[str], gold: Spans, pred: Spans) -> Score:
    """The standard number of shared tasks (CoNLL-2000, seqeval): words are tagged in the scheme
    IOB2, and an entity counts when its words and its type are right.

    A tag cannot stand for two entities: of spans that share a word only the longest is counted, the
    first of those equally long.
    """
    words = [split_words(text) for text in texts]
    cut = [_to_words(w, spans) for w, spans in zip(words, gold, strict=True)]
    found = [_to_words(w, spans) for w, spans in zip(words, pred, strict=True)]
    return evaluate(cut, found).micro


def differences(gold: Sequence[Span], pred: Sequence[Span]) -> list[Difference]:
    """Every true and every found span of one sentence once, in the order of the text."""
    true, found = _unique(gold), _unique(pred)
    pairs = _matched(true, found, _by_likeness)
    told = [Difference(_kind(true[i], found[j]), true[i], found[j]) for i, j in pairs]
    matched = {i for i, _ in pairs}, {j for _, j in pairs}
    told += [Difference("missed", t, None) for i, t in enumerate(true) if i not in matched[0]]
    told += [Difference("wrong", None, f) for j, f in enumerate(found) if j not in matched[1]]
    return sorted(told, key=lambda d: (d.true or d.found or Span(0, 0, "")).key)


def confusion(compared: Sequence[Difference]) -> dict[tuple[str, str], int]:
    """(true type, found type) -> number of spans; "" where there is nothing on that side."""
    counts = Counter(
        (d.true.label if d.true else "", d.found.label if d.found else "") for d in compared
    )
    return dict(sorted(counts.items()))


def _categories(gold: Spans, pred: Spans, rank: Rank, right: Test, *, half: bool) -> Categories:
    counts: Counter[str] = Counter()
    other = "partial" if half else "incorrect"
    for spans, others in zip(gold, pred, strict=True):
        true, found = _unique(spans), _unique(others)
        pairs = _matched(true, found, rank)
        counts.update("correct" if right(true[i], found[j]) else other for i, j in pairs)
        counts["missed"] += len(true) - len(pairs)
        counts["spurious"] += len(found) - len(pairs)
    return Categories(**counts)


def _matched(true: Sequence[Span], found: Sequence[Span], rank: Rank) -> list[tuple[int, int]]:
    """Pairs of spans that share a character, each span in one pair at most."""
    order = sorted(
        ((rank(t, f, j), i, j) for i, t in enumerate(true) for j, f in enumerate(found)
         if t.overlaps(f)),
    )  # fmt: skip
    free, left = set(range(len(true))), set(range(len(found)))
    pairs = []
    for _, i, j in order:
        if i in free and j in left:
            free.remove(i)
            left.remove(j)
            pairs.append((i, j))
    return pairs


def _by_place(true: Span, found: Span, position: int) -> tuple[float, ...]:
    return (true.key != found.key, not _same_offsets(true, found), position)


def _by_type(true: Span, found: Span, position: int) -> tuple[float, ...]:
    apart = abs(true.start - found.start) + abs(true.end - found.end)
    other = not _same_type(true, found)
    return (true.key != found.key, position, other, 0 if other else apart)


def _by_likeness(true: Span, found: Span, position: int) -> tuple[float, ...]:
    shared = min(true.end, found.end) - max(true.start, found.start)
    return (
        true.key != found.key,
        not _same_offsets(true, found),
        not _same_type(true, found),
        -shared,
        position,
    )


def _same_offsets(true: Span, found: Span) -> bool:
    return (true.start, true.end) == (found.start, found.end)


def _same_type(true: Span, found: Span) -> bool:
    return true.label == found.label


def _kind(true: Span, found: Span) -> Literal["right", "type", "boundary"]:
    if true.key == found.key:
        return "right"
    return "boundary" if _same_type(true, found) else "type"


def _unique(spans: Sequence[Span]) -> list[Span]:
    return sorted({span.key: span for span in spans}.values(), key=lambda span: span.key)


def _to_words(words: Sequence[Word], spans: Sequence[Span]) -> list[Span]:
    """Spans of whole words, counted in words, no two of which share one."""
    starts, ends = [word.start for word in words], [word.end for word in words]
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start - s.end, s.key)):
        first, last = bisect_right(ends, span.start), bisect_left(starts, span.end)
        cut = Span(first, last, span.label)
        if first < last and not any(cut.overlaps(other) for other in kept):
            kept.append(cut)
    return kept
