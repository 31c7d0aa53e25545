"""Entity spans: half-open character ranges with a type.

Example:
    In ``"Ada met Grace."`` the span ``Span(0, 3, "person")`` covers ``"Ada"``: offsets count Python
    code points, ``start`` is the first character and ``end`` the first one after the mention, so
    ``text[start:end]`` is always the surface form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experts.errors import SamError

__all__ = ["Example", "Span", "check_spans", "drop_overlaps", "likeliest"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """One mention.

    Attributes:
        start: first character (code points).
        end: first character after the mention; ``end > start``.
        label: name of the entity type.
        score: probability in [0, 1] that a model gives to the span, ``None`` for gold spans.
    """

    start: int
    end: int
    label: str
    score: float | None = None

    @property
    def key(self) -> tuple[int, int, str]:
        """What strict scoring compares: both offsets and the type."""
        return (self.start, self.end, self.label)

    def overlaps(self, other: Span) -> bool:
        """Whether the two share at least one character."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Example:
    """A text with the spans that it contains (gold or predicted), sorted by position."""

    text: str
    spans: tuple[Span, ...] = ()


def check_spans(text: str, spans: Iterable[Span], *, where: str = "the text") -> None:
    """Refuse spans that do not lie inside `text`.

    Raises:
        SamError: naming `where` and the first span that is empty, negative or past the end.
    """
    for span in spans:
        if not 0 <= span.start < span.end <= len(text):
            raise SamError(
                f"In {where}, the span {span.start}–{span.end} ({span.label}) does not lie inside "
                f"the text of {len(text)} characters.",
                "Offsets count characters from 0, the end is the first character after the mention.",
            )


def likeliest(spans: Iterable[Span]) -> list[Span]:
    """Every span once, however often it is listed, with its highest score; in order of appearance."""
    best: dict[tuple[int, int, str], Span] = {}
    for span in spans:
        known = best.get(span.key)
        if known is None or (span.score or 0.0) > (known.score or 0.0):
            best[span.key] = span
    return list(best.values())


def drop_overlaps(spans: Sequence[Span]) -> list[Span]:
    """Keep the likeliest of spans that overlap; ties go to the longer, then to the earlier one.

    Returns:
        Spans sorted by position, no two of which share a character.
    """
    ranked = sorted(spans, key=lambda s: (-(s.score or 0.0), s.start - s.end, s.start, s.label))
    kept: list[Span] = []
    for span in ranked:
        if not any(span.overlaps(other) for other in kept):
            kept.append(span)
    return sorted(kept)
