"""Words: the smallest units that a mention begins and ends with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import regex

__all__ = ["Word", "occurrences", "split_words"]

# Scripts written without spaces between words: every character may begin or end a mention.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(
    rf"(?V1)[{_UNSPACED}]\p{{M}}*"
    rf"|(?:\p{{N}}\p{{M}}*)+"
    rf"|(?:[\p{{L}}--[{_UNSPACED}]]\p{{M}}*)+"
    rf"|(?![\s\x1c-\x1f])\X"  # str.isspace takes these four for white space as well
)
_LETTER = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_UNSPACED}]]"
_JOINED = regex.compile(rf"(?<={_LETTER}){_LETTER}|\p{{M}}", regex.V1)


@dataclass(frozen=True, slots=True)
class Word:
    """The smallest unit of a mention: letters, digits, or one symbol; ``text[start:end]``."""

    start: int
    end: int
    spaced: bool  # whether white space (or the beginning of the text) stands before it


def split_words(text: str) -> list[Word]:
    """Cut a text into words, leaving out white space only.

    >>> [(w.start, w.end, w.spaced) for w in split_words("p53 (TP53)")]
    [(0, 1, True), (1, 3, False), (4, 5, True), (5, 7, False), (7, 9, False), (9, 10, False)]
    """
    words: list[Word] = []
    end = -1
    for match in _WORD.finditer(text):
        words.append(Word(match.start(), match.end(), spaced=match.start() != end))
        end = match.end()
    return words


def occurrences(text: str, surface: str) -> Iterator[tuple[int, int]]:
    """Where exactly `surface` stands in `text`, not inside a word, as (start, end) in code points;
    no two overlap.

    >>> list(occurrences("Bled, not Bledsoe", "Bled"))
    [(0, 4)]
    """
    start = text.find(surface) if surface else -1
    while start >= 0:
        end = start + len(surface)
        if _JOINED.match(text, start) is None and _JOINED.match(text, end) is None:
            yield start, end
            start = text.find(surface, end)
        else:
            start = text.find(surface, start + 1)
