"""Entities as tags of words, for the formats that know no characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from experts.export.formats.base import Losses, Row
from experts.spans import Span, drop_overlaps, likeliest
from experts.words import split_words

__all__ = ["Tagged", "tag", "tagging_losses", "tokens_of"]

_SOLID = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Tagged:
    """A text as tokens.

    Attributes:
        tokens: range of each in the text; between them is nothing but white space.
        aligned: spans that begin and end with tokens, as (first token, last + 1, span), sorted.
        chosen: those of them that are left when the likeliest of overlapping ones is kept.
        inside: how many spans begin or end inside a token.
        trimmed: how many had white space at their edges, which they have lost.
    """

    tokens: list[tuple[int, int]]
    aligned: list[tuple[int, int, Span]]
    chosen: list[tuple[int, int, Span]]
    inside: int
    trimmed: int

    def tags(self) -> list[str]:
        """IOB2 tags of the chosen spans; white space in a label becomes an underscore.

        >>> tag("Ada L. met Bo.", [Span(0, 6, "a person")]).tags()
        ['B-a_person', 'I-a_person', 'I-a_person', 'O', 'O', 'O']
        """
        tags = ["O"] * len(self.tokens)
        for first, end, span in self.chosen:
            label = "_".join(span.label.split())
            tags[first:end] = [f"B-{label}"] + [f"I-{label}"] * (end - first - 1)
        return tags


def tokens_of(text: str) -> list[tuple[int, int]]:
    """The words of a text as ranges, none with white space in it."""
    return [
        (word.start + part.start(), word.start + part.end())
        for word in split_words(text)
        for part in _SOLID.finditer(text[word.start : word.end])
    ]


def tag(text: str, spans: Sequence[Span]) -> Tagged:
    """Find the tokens of a text that its spans cover."""
    tokens = tokens_of(text)
    begins = {start: i for i, (start, _) in enumerate(tokens)}
    ends = {end: i + 1 for i, (_, end) in enumerate(tokens)}
    whole: list[Span] = []
    inside = trimmed = 0
    for span in likeliest(spans):
        start, end = _trim(text, span)
        if start in begins and end in ends and start < end:
            whole.append(Span(start, end, span.label, span.score))
            trimmed += (start, end) != (span.start, span.end)
        else:
            inside += 1
    aligned = [(begins[span.start], ends[span.end], span) for span in likeliest(whole)]
    aligned.sort(key=lambda found: found[2].key)
    kept = {span.key for span in drop_overlaps([span for *_, span in aligned])}
    chosen = [found for found in aligned if found[2].key in kept]
    return Tagged(tokens, aligned, chosen, inside, trimmed)


def _trim(text: str, span: Span) -> tuple[int, int]:
    surface = text[span.start : span.end]
    start = span.start + len(surface) - len(surface.lstrip())
    return start, max(start, span.start + len(surface.rstrip()))


def tagging_losses(
    rows: Sequence[Row], *, overlaps: bool, more: Sequence[tuple[int, str, str]] = ()
) -> Losses:
    """What tags of words cannot hold of these rows.

    Args:
        overlaps: whether overlapping spans are lost, too.
        more: further losses, for `Losses.of`.
    """
    inside = trimmed = overlapping = 0
    for row in rows:
        tagged = tag(row.text, row.best or ())
        inside += tagged.inside
        trimmed += tagged.trimmed
        overlapping += len(tagged.aligned) - len(tagged.chosen)
    return Losses.of(
        (
            overlapping if overlaps else 0,
            "entity overlaps a likelier one and is left out",
            "entities overlap likelier ones and are left out",
        ),
        (
            inside,
            "entity begins or ends inside a word and is left out",
            "entities begin or end inside a word and are left out",
        ),
        (
            trimmed,
            "entity loses the white space at its edges",
            "entities lose the white space at their edges",
        ),
        *more,
    )
