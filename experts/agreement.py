"""How far two people agree who have marked entities in the same texts.

F1 treats one of them as the truth; it is the same either way. Cohen's kappa (Cohen 1960) compares
what they call each word with what chance would bring about if both kept to how often they use each
type. Most words are no entity, which kappa takes into account and plain agreement does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from experts.evaluate import Score, Spans, evaluate, f1_interval
from experts.scoring import partial_scores
from experts.spans import Span
from experts.words import split_words

__all__ = ["SpanAgreement", "agree", "cohen_kappa", "word_types"]


@dataclass(frozen=True, slots=True)
class SpanAgreement:
    """Of two annotators over the same sentences.

    Attributes:
        strict: F1 of spans with the same offsets and type, in [0, 1]; 1 where neither has marked
            anything.
        low, high: its 95 % bootstrap interval over sentences.
        partial: F1 where a span that only overlaps counts half and types are not compared.
        kappa: Cohen's kappa over words, in [−1, 1]; None where it is not defined.
        reason: why it is not defined, "" where it is.
        per_type: type -> counts; `tp`: both, `fp`: the second only, `fn`: the first only.
        words: how many words were compared.
    """

    strict: float
    low: float
    high: float
    partial: float
    kappa: float | None
    reason: str
    per_type: dict[str, Score]
    words: int


def agree(texts: Sequence[str], first: Spans, second: Spans) -> SpanAgreement:
    """Compare two annotators; all three lists are parallel.

    Raises:
        SamError: they are not equally long.
    """
    report = evaluate(first, second)
    silent = not report.per_type
    low, high = f1_interval(first, second)
    halves = [partial_scores(first, second).f1, partial_scores(second, first).f1]
    one = [
        kind for text, spans in zip(texts, first, strict=True) for kind in word_types(text, spans)
    ]
    two = [
        kind for text, spans in zip(texts, second, strict=True) for kind in word_types(text, spans)
    ]
    kappa = cohen_kappa(one, two)
    return SpanAgreement(
        strict=1.0 if silent else report.micro.f1,
        low=1.0 if silent else low,
        high=1.0 if silent else high,
        partial=1.0 if silent else sum(halves) / 2,
        kappa=kappa,
        reason="" if kappa is not None else _reason(one),
        per_type=report.per_type,
        words=len(one),
    )


def word_types(text: str, spans: Sequence[Span]) -> list[tuple[str, ...]]:
    """Of each word the types of the spans that it has a part in, sorted; none for most words.

    >>> word_types("Ada left", [Span(0, 3, "person")])
    [('person',), ()]
    """
    return [
        tuple(sorted({s.label for s in spans if s.start < word.end and word.start < s.end}))
        for word in split_words(text)
    ]


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """(observed − expected agreement) / (1 − expected agreement) of two parallel lists of
    categories; None where nothing is compared, or both know one and the same category only.
    """
    total = len(first)
    if not total:
        return None
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / total
    mine, theirs = Counter(first), Counter(second)
    expected = sum(mine[kind] * theirs[kind] for kind in mine) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _reason(kinds: Sequence[tuple[str, ...]]) -> str:
    if not kinds:
        return "there are no words to compare"
    if not kinds[0]:
        return "neither has marked anything"
    return f"both call every word “{' and '.join(kinds[0])}”"
