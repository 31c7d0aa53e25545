"""CoNLL-2003 columns: a token a line, its tag in the last column, a blank line between sentences.

IOB1, IOB2, BIOES and BILOU tags are all read by one rule: a mention begins at ``B``, ``S``, ``U``,
or where the type changes, and ends after ``E``, ``L``, ``S``, ``U`` or before the next beginning.
The text is put together from the tokens as people write, or exactly as it was where the column
before the tag says which spaces there were (:mod:`experts.formats.spacing`).
Source of the format: Tjong Kim Sang and De Meulder, CoNLL-2003 shared task.
"""

from __future__ import annotations

import re
import unicodedata

from experts.errors import SamError
from experts.formats.base import Format, Options, Parsed, Record, register
from experts.formats.spacing import rebuild, says_spacing
from experts.spans import Span

__all__ = ["FORMAT", "decode_tags", "join_tokens"]

_TAG = re.compile(r"O|[BIESLUM]-\S.*")
_NO_SPACE_BEFORE = frozenset(
    [
        *".,;:!?%)]}»”’…、。，！？；：）」』】।؟،؛",
        *("...", "n't", "n’t", "''", "-RRB-", "-RSB-"),
        *(mark + rest for mark in "'’" for rest in ("s", "re", "ve", "m", "ll", "d")),
    ]
)
_NO_SPACE_AFTER = frozenset([*"([{«“‘$£€¥（「『【#@", "``", "-LRB-", "-LSB-"])
# Scripts written without spaces between words.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "IDEOGRAPHIC")


def join_tokens(tokens: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """Join tokens into a natural text whose tokens are unchanged.

    Returns:
        The text, and for each token its range: ``text[start:end] == token``.

    Example:
        ``["(", "Ada", ")", "met", "Bo", "."]`` gives ``"(Ada) met Bo."``.
    """
    parts: list[str] = []
    ranges: list[tuple[int, int]] = []
    position = 0
    quote_open = False
    glue = True  # no space before the next token
    previous = ""
    for token in tokens:
        closing_quote = token == '"' and quote_open
        unspaced = bool(previous) and _is_unspaced(previous[-1]) and _is_unspaced(token[0])
        if not (glue or closing_quote or unspaced or token in _NO_SPACE_BEFORE):
            parts.append(" ")
            position += 1
        ranges.append((position, position + len(token)))
        parts.append(token)
        position += len(token)
        glue = token in _NO_SPACE_AFTER or (token == '"' and not quote_open)
        if token == '"':
            quote_open = not quote_open
        previous = token
    return "".join(parts), ranges


def _is_unspaced(char: str) -> bool:
    return unicodedata.name(char, "").startswith(_UNSPACED)


def decode_tags(tags: list[str]) -> list[tuple[int, int, str]]:
    """Mentions as ``(first token, last token + 1, label)`` from IOB1/IOB2/BIOES/BILOU tags."""
    found: list[tuple[int, int, str]] = []
    start, label = -1, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        # I, M, E and L go on with a mention of their own type; anything else begins or ends one.
        goes_on = prefix in ("I", "M", "E", "L") and start >= 0 and kind == label
        if start >= 0 and not goes_on:
            found.append((start, i, label))
            start = -1
        if prefix != "O" and start < 0:
            start, label = i, kind
        if prefix in ("E", "L", "S", "U") and start >= 0:
            found.append((start, i + 1, label))
            start = -1
    return found


_OF_LABEL_STUDIO = re.compile(r"(\S+) (-X-) (_) ([BI]-\S.*)")


def _columns(line: str) -> list[str]:
    spaced = _OF_LABEL_STUDIO.fullmatch(line.rstrip())  # whose tags may have spaces in them
    if spaced:
        return list(spaced.groups())
    columns = line.split("\t") if "\t" in line else line.split()
    return [c.strip() for c in columns]


def _is_header(columns: list[str]) -> bool:
    return len(columns) > 1 and columns[0].casefold() in (
        "token",
        "tokens",
        "word",
        "words",
        "form",
    )


def _parse(name: str, text: str, options: Options) -> Parsed:
    parsed = Parsed([])
    tokens: list[str] = []
    notes: list[str] = []
    tags: list[str] = []
    begins = 1
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        columns = _columns(line.strip("\r"))
        if not any(columns) or columns[0] == "-DOCSTART-":
            if tokens:
                parsed.records.append(_record(tokens, notes, tags, begins, options))
                tokens, notes, tags = [], [], []
            continue
        tag = columns[-1]
        if not _TAG.fullmatch(tag) or len(columns) < 2 or not columns[0]:
            if not tokens and (columns[0].startswith("#") or _is_header(columns)):
                continue  # a comment above a sentence, or names of the columns
            raise SamError(
                f"Line {number} of {name} is not a token and a tag: “{line.strip()[:60]}”.",
                "CoNLL lines end in a tag such as O, B-PER or I-PER; a blank line ends a sentence.",
            )
        if not tokens:
            begins = number
        tokens.append(columns[0])
        notes.append(columns[-2] if len(columns) > 2 else "")
        tags.append(tag)
    return parsed


def _record(
    tokens: list[str], notes: list[str], tags: list[str], number: int, options: Options
) -> Record:
    text, ranges = rebuild(tokens, notes) if says_spacing(notes) else join_tokens(tokens)
    if not options.gold:
        return Record(text, None, number)
    spans = [
        Span(ranges[first][0], ranges[last - 1][1], label)
        for first, last, label in decode_tags(tags)
    ]
    return Record(text, tuple(spans), number)


def _sniff(text: str) -> bool:
    lines = [line for line in text[:50_000].split("\n")[:400] if line.strip()]
    if len(text) > 50_000 and len(lines) > 1:
        lines.pop()  # may be cut
    rows = [_columns(line) for line in lines]
    rows = [row for row in rows if row[0] != "-DOCSTART-" and not row[0].startswith("#")]
    rows = rows[1:] if rows and _is_header(rows[0]) else rows
    if len(rows) < 2:
        return False
    tagged = sum(len(row) >= 2 and _TAG.fullmatch(row[-1]) is not None for row in rows)
    return tagged >= 0.95 * len(rows)


FORMAT = register(
    Format(
        key="conll",
        extensions=(".conll", ".conll03", ".conll2003", ".iob", ".iob2", ".bio", ".bioes"),
        parse=_parse,
        sniff=_sniff,
    )
)
