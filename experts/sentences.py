"""Sentence boundaries as offsets into the text, for many scripts.

The rules of the `sentencex` package find the boundaries inside a block of running text; this
module finds the blocks (paragraphs, list items, hard-wrapped lines), mends what the rules get wrong
after abbreviations, and keeps every offset exact.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

__all__ = ["MAX_SENTENCE", "blocks", "split_sentences"]

MAX_SENTENCE = 1000
"""A longer "sentence" (a table, a log, text without punctuation) is cut at a comma or space."""

_WINDOW = 4_000  # sentencex takes quadratic time on odd input: give it this much at once
_FINAL = frozenset(".!?…:。！？｡．：؟۔।॥։።፧")
_CLOSING = "\"'”’»›)]}」』】）"
_PARAGRAPH = frozenset("\x0b\x0c\x1c\x1d\x1e\u2029")
_BULLET = re.compile(r"\s*(?:[-*•‣◦▪–—·]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s")
_SPACED = re.compile(r"\S+(?:\s+\S+)*")
_NOT_END = re.compile(
    r"(?:^|[\s(\[“\"'‘])(?:[Mm]rs?|Ms|Mx|Messrs|Figs?|figs?|Eqs?|eqs?|Tabs?|Nos?|nos?|Nr|Inv|inv"
    r"|Vols?|vols?|pp?|Ch|ch|Sect?|sect?|Cat|cat|Ref|Refs|approx|ca|c|cf|Cf|vs|viz|incl|resp|St|Mt"
    r"|Ft|ed|eds|trans|dept|Dept|b|d|fl|[A-Z])\.\s*$"
)
_ENUMERATOR = re.compile(r"\s*[\[(]?(?:\d{1,3}|[ivxIVX]{1,4}|[A-Za-z])[.)]\]?\s*")
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")


def split_sentences(text: str, *, max_chars: int = MAX_SENTENCE) -> list[tuple[int, int]]:
    """Find the sentences of a text.

    Blank lines always separate. A single line break separates too, unless the lines are running
    text that was wrapped to a width. Every non-space character lies in exactly one sentence.

    Args:
        text: any text, in any script.
        max_chars: a sentence is never longer than this many characters.

    Returns:
        Half-open ranges in order, none overlapping, none empty, none with outer whitespace.

    Example:
        ``split_sentences("Dr. Wu left. Who knew?")`` is ``[(0, 12), (13, 22)]``.
    """
    if max_chars < 1:
        raise ValueError("max_chars must be at least 1")
    found: list[tuple[int, int]] = []
    for start, end in blocks(text):
        for a, b in _sentences(text, start, end):
            found.extend(_cap(text, a, b, max_chars))
    return found


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


# --- blocks: stretches of text inside which a line break means nothing -------------------------


def blocks(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of text inside which a line break means nothing: paragraphs, list items, lines."""
    paragraphs = list(_paragraphs(text))
    votes = [vote for lines in paragraphs for vote in _soft_votes(text, lines) or ()]
    width = max((b - a for lines in paragraphs for a, b in lines), default=0)
    wrapped = len(votes) > 0 and sum(votes) >= 0.4 * len(votes)
    for lines in paragraphs:
        yield from _join_lines(text, lines, wrapped, width)


def _paragraphs(text: str) -> Iterator[list[tuple[int, int]]]:
    """Runs of non-blank lines, each line as a trimmed range."""
    lines: list[tuple[int, int]] = []
    position = 0
    for line in text.splitlines(keepends=True):
        start, end = _trim(text, position, position + len(line))
        position += len(line)
        if start < end:
            lines.append((start, end))
        if lines and (start == end or line[-1] in _PARAGRAPH):
            yield lines
            lines = []
    if lines:
        yield lines


def _ends_sentence(text: str, line: tuple[int, int]) -> bool:
    shown = text[line[0] : line[1]].rstrip(_CLOSING)
    return not shown or shown[-1] in _FINAL


def _goes_on(text: str, line: tuple[int, int], after: tuple[int, int], width: int) -> bool:
    """Whether the second line reads as the continuation of the first."""
    last, first = text[line[1] - 1], text[after[0]]
    if _BULLET.match(text, after[0]):
        return False
    if first.islower() or last in ",;-–—(/&、，；،":
        return True
    # A script without capitals: full lines are wrapped lines.
    uncased = first.isalpha() and not first.isupper() and not first.istitle()
    return uncased and width >= 20 and line[1] - line[0] >= 0.75 * width


def _soft_votes(text: str, lines: list[tuple[int, int]]) -> list[bool] | None:
    """For each line break where a sentence could go on: does it?

    Returns:
        One vote a break; None where each line clearly stands for itself.
    """
    finals = sum(_ends_sentence(text, line) for line in lines)
    width = max(end - start for start, end in lines)
    if (len(lines) > 2 and finals >= 0.6 * len(lines)) or (width < 45 and finals == 0):
        return None  # a sentence a line, or a list of short items
    return [
        _goes_on(text, line, after, width)
        for line, after in pairwise(lines)
        if not _ends_sentence(text, line) and not _BULLET.match(text, after[0])
    ]


def _join_lines(
    text: str, lines: list[tuple[int, int]], document_wrapped: bool, document_width: int
) -> Iterator[tuple[int, int]]:
    """Blocks of one paragraph; its own line breaks decide if it has enough of them."""
    votes = _soft_votes(text, lines)
    if votes is None:
        yield from lines
        return
    own = len(votes) >= 2
    wrapped = sum(votes) >= 0.4 * len(votes) if own else document_wrapped
    width = max(b - a for a, b in lines) if own else document_width
    block = lines[0]
    for line, after in pairwise(lines):
        full = line[1] - line[0] >= 0.6 * width and not _BULLET.match(text, after[0])
        soft = wrapped and not _ends_sentence(text, line)
        if soft and (full or _goes_on(text, line, after, width)):
            block = (block[0], after[1])
        else:
            yield block
            block = after
    yield block


# --- sentences of one block -------------------------------------------------------------------


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    # Line breaks count as spaces here, and sentencex refuses half characters; lengths stay.
    block = "".join(
        " " if char.isspace() else "\ufffd" if "\ud800" <= char <= "\udfff" else char
        for char in text[start:end]
    )
    piece: tuple[int, int] | None = None
    for a, b in _boundaries(block):
        a, b = _trim(block, a, b)
        if a == b:
            continue
        if piece is not None and _belongs_together(block[piece[0] : piece[1]]):
            piece = (piece[0], b)
            continue
        if piece is not None:
            yield start + piece[0], start + piece[1]
        piece = (a, b)
    if piece is not None:
        yield start + piece[0], start + piece[1]


def _belongs_together(piece: str) -> bool:
    """Whether a boundary after this piece is a mistake: an abbreviation, a bare number or sign."""
    if _ENUMERATOR.fullmatch(piece) or not any(char.isalnum() for char in piece):
        return True
    return piece.endswith(".") and _NOT_END.search(piece[-12:]) is not None


def _boundaries(block: str) -> Iterator[tuple[int, int]]:
    """Ranges by sentencex that tile the block, found window by window."""
    done = 0
    while done < len(block):
        window = block[done : done + _WINDOW]
        last_window = done + len(window) == len(block)
        ranges = _rules(window)
        if not last_window and len(ranges) > 1:
            ranges.pop()  # the window may have cut it: start again there
        for a, b in ranges:
            yield done + a, done + b
        done += ranges[-1][1]


def _rules(block: str) -> list[tuple[int, int]]:
    from sentencex import get_sentence_boundaries

    ranges: list[tuple[int, int]] = []
    position = 0
    for found in get_sentence_boundaries("en", block):
        a, b = int(found["start_index"]), int(found["end_index"])
        if a < position or b > len(block) or block[a:b] != found["text"]:
            return [(0, len(block))]  # not what we asked for: one sentence is better than drift
        if b > a:
            ranges.append((position, b))
            position = b
    if position < len(block):
        ranges.append((position, len(block)))
    return ranges


# --- overlong sentences -----------------------------------------------------------------------


def _cap(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    while end - start > limit:
        cut = _cut(text, start, start + limit)
        a, b = _trim(text, start, cut)
        if a < b:
            yield a, b
        start, _ = _trim(text, cut, end)
    if start < end:
        yield start, end


def _cut(text: str, start: int, end: int) -> int:
    """Where to cut ``text[start:…]`` so that the first part ends at `end` or a little before."""
    earliest = start + (end - start) * 2 // 5
    for marks in (";；", ",，、،", None):
        for i in range(end - 1, earliest, -1):
            if marks is None and text[i].isspace():
                return i
            # A comma cuts only before a space or in a script without spaces, not in "1,000".
            if marks is not None and text[i] in marks and (text[i] > "~" or text[i + 1].isspace()):
                return i + 1
    cut = end
    while cut > earliest + 1 and _sticks(text, cut):
        cut -= 1
    return end if cut == earliest + 1 else cut


def _sticks(text: str, i: int) -> bool:
    """Whether a cut before ``text[i]`` would break one visible character into two."""
    return (
        unicodedata.combining(text[i]) > 0
        or unicodedata.category(text[i]) in ("Mn", "Mc", "Me")
        or text[i] in _JOINERS
        or text[i - 1] == "\u200d"
    )
