"""From the lines of pages to running text: repeated headers out, hyphens and lines joined, every
sentence given to the page on which it begins.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Sequence

from experts.sentences import blocks, split_sentences

__all__ = ["flow", "page_list", "without_running_lines"]

EDGE = 3
"""Lines at the top and at the bottom of a page that may be headers, footers or page numbers."""
LONGEST_RUNNING, SHORT = 120, 20
MOST_PAGES, ONE_SIDE = 0.6, 0.8
"""Shares of the pages, and of the left or right pages, on which a running line stands at least."""
COUNTING = 0.2
"""Share of the pages on which lines carry the page's number at least: chapters change the rest."""

PAGE_NUMBERS = "page numbers"

_NUMBERS = re.compile(r"\b\d{1,4}\b")
_NUMBER = re.compile(r"\W*(?:\d{1,4}|[ivxlc]{1,7})\W*")
_HYPHEN = re.compile(r"([^\W\d_]+)([-\u2010\u00ad])\n([^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)*")


def page_list(pages: Sequence[int]) -> str:
    """“pages 1–3 and 7”: 1-based numbers in increasing order, neighbours joined."""
    runs: list[list[int]] = []
    for page in pages:
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    said = [str(a) if a == b else f"{a}–{b}" for a, b in runs]
    noun = "page" if len(pages) == 1 else "pages"
    return f"{noun} {' and '.join(part for part in (', '.join(said[:-1]), said[-1]) if part)}"


def without_running_lines(pages: Sequence[tuple[int, list[str]]]) -> list[str]:
    """Drop from the (page number, lines), which are changed, what repeats at the edge of pages.

    A line is dropped only where it stands first or last, so that nothing is taken out of the text:
    when it stands on most pages, when it is a page number ("page 3 of 9"), or when it carries one,
    which goes up with the pages ("Chapter 4: Lakes 17"). Fewer than three pages prove nothing.

    Returns:
        What was dropped, most frequent first: each line as it stood on its first page in quotation
        marks, and "page numbers".
    """
    dropped: Counter[str] = Counter()
    for edge in (0, -1):
        for _ in range(EDGE):
            filled = [(number, lines) for number, lines in pages if lines]
            named = _repeated(filled, edge) | _counting(filled, edge)
            if sum(len(lines) == 1 for _, lines in filled) > len(filled) / 2:
                break  # it would leave nothing of them
            for number, lines in filled:
                if number in named:
                    lines.pop(edge)
                    dropped[named[number]] += 1
            if not named:
                break
    return [line for line, _ in dropped.most_common()]


def _shape(line: str) -> str:
    if _NUMBER.fullmatch(line) and any(c.isdigit() or c in "ivxlc" for c in line):
        return "#"
    return " ".join(line.casefold().split())


def _repeated(pages: Sequence[tuple[int, list[str]]], edge: int) -> dict[int, str]:
    """Page -> what to call its line at the edge, if that stands on most pages, or on most of the
    left or right ones.
    """
    where: dict[str, list[int]] = {}
    first: dict[str, str] = {}
    for number, lines in pages:
        line = lines[edge]
        if len(line) <= LONGEST_RUNNING:
            shape = _shape(line)
            first.setdefault(shape, PAGE_NUMBERS if shape == "#" else f"“{line.strip()}”")
            where.setdefault(shape, []).append(number)
    sides = [sum(number % 2 == side for number, _ in pages) for side in (0, 1)]
    named = {}
    for shape, numbers in where.items():
        side = numbers[0] % 2
        same = all(number % 2 == side for number in numbers)
        most = len(numbers) >= MOST_PAGES * len(pages)
        if len(numbers) >= 3 and (most or (same and len(numbers) >= ONE_SIDE * sides[side])):
            named.update(dict.fromkeys(numbers, first[shape]))
    return named


def _counting(pages: Sequence[tuple[int, list[str]]], edge: int) -> dict[int, str]:
    """Page -> what to call its line at the edge, if that begins or ends with a number that is a
    fixed distance from the page's own ("page 3 of 9" may have it inside).
    """
    found: dict[int, list[int]] = {}
    for number, lines in pages:
        line = lines[edge].strip()
        for match in _NUMBERS.finditer(line) if len(line) <= LONGEST_RUNNING else ():
            at_end = match.start() == 0 or match.end() == len(line)
            if at_end or len(line) <= SHORT:
                found.setdefault(int(match.group()) - number, []).append(number)
    counted = max(found.values(), key=len, default=[])
    if len(counted) < max(3, COUNTING * len(pages)):
        return {}
    lines_at = {number: lines[edge].strip() for number, lines in pages}
    line = lines_at[counted[0]]
    said = PAGE_NUMBERS if len(line) <= SHORT else f"“{line}”"
    # Pages that are numbered otherwise (a preface, a plate left out) have lines of the same form.
    forms = {_NUMBERS.sub("#", lines_at[number]) for number in counted}
    return {n: said for n, line in lines_at.items() if _NUMBERS.sub("#", line) in forms}


def flow(pages: Sequence[tuple[int, list[str]]]) -> list[tuple[int, str]]:
    """Running text of each page, of (page number, lines).

    Words that a hyphen cuts at a line's end are joined, and so are the lines of a paragraph, across
    pages too; paragraphs are separated by a blank line.

    Returns:
        (page number, text), pages without a sentence that begins on them left out.
    """
    text, starts = _joined(pages)
    found: dict[int, list[str]] = {}
    for begin, end in blocks(text):
        block = text[begin:end].replace("\n", " ")
        parts: dict[int, tuple[int, int]] = {}
        for a, b in split_sentences(block):
            page = pages[bisect.bisect_right(starts, begin + a) - 1][0]
            parts[page] = (parts.get(page, (a, b))[0], b)
        for page, (a, b) in parts.items():
            found.setdefault(page, []).append(block[a:b])
    return [(page, "\n\n".join(texts)) for page, texts in sorted(found.items())]


def _joined(pages: Sequence[tuple[int, list[str]]]) -> tuple[str, list[int]]:
    """All pages in one text with hyphens joined, and where in it each page begins."""
    seam = "\x00"  # stands for the end of a page while offsets move
    whole = f"\n{seam}".join("\n".join(lines) for _, lines in pages)
    words = Counter(word.casefold() for word in _WORD.findall(whole.replace(seam, "")))

    def join(match: re.Match[str]) -> str:
        left, hyphen, right = match.groups()
        compound = f"{left}-{right}".casefold()
        # A capital after the hyphen is a double name; a compound that stands elsewhere keeps it.
        keeps = right[0].isupper() or words[compound] > words[f"{left}{right}".casefold()]
        return f"{left}-{right}" if keeps and hyphen != "\u00ad" else left + right

    across = re.compile(f"([^\\W\\d_]+)([-\u2010\u00ad])\n{seam}([^\\W\\d_]+)")
    whole = across.sub(lambda match: join(match) + seam, whole)
    whole = _HYPHEN.sub(join, whole).replace("\u00ad", "")
    starts, parts, position = [], whole.split(seam), 0
    for part in parts:
        starts.append(position)
        position += len(part)
    return "".join(parts), starts
