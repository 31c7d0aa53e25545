"""What every text format shares: records, options and the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from experts.errors import SamError
from experts.spans import Span, check_spans

__all__ = [
    "FORMATS",
    "MAX_LINE",
    "Format",
    "Options",
    "Parsed",
    "Record",
    "checked",
    "counted",
    "register",
]

MAX_LINE = 1_000_000
"""Longest line or table cell that is read, in characters."""


@dataclass(frozen=True, slots=True)
class Record:
    """One text of a file: the whole of a txt, a line of a jsonl, a row of a csv.

    Attributes:
        text: the text, never changed in any way that would move offsets.
        spans: gold spans sorted by position, ``()`` for "looked at, nothing there", ``None`` for
            "nobody says".
        predicted: what a model found, in files that tell it from what a person says.
        number: line, row or page of the file where the record begins, from 1.
        part: where in the file that is, in a person's words: "page 4". "": the file has no parts.
    """

    text: str
    spans: tuple[Span, ...] | None = None
    number: int = 1
    part: str = ""
    predicted: tuple[Span, ...] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of the reader: `column` of a table (name or number), `gold` to read entities."""

    column: str | None = None
    gold: bool = True


@dataclass(slots=True)
class Parsed:
    """All records of a file in file order, and what the person should know about the reading."""

    records: list[Record]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    Attributes:
        key: short name, stored with documents ("txt", "csv", "jsonl", "conll").
        extensions: lower-case file endings with their dot.
        parse: ``(file name, decoded text, options) -> Parsed``; raises SamError naming the line.
            Of a `binary` format it takes the bytes.
        sniff: whether a decoded text looks like this format, for files of another or no ending.
        split: whether records are running text, to be split into sentences at any length.
        binary: the file is no text.
    """

    key: str
    extensions: tuple[str, ...]
    parse: Callable[[str, Any, Options], Parsed]
    sniff: Callable[[str], bool]
    split: bool = False
    binary: bool = False


FORMATS: dict[str, Format] = {}


def register(fmt: Format) -> Format:
    """Add a format to the registry; its key must be new."""
    if fmt.key in FORMATS:
        raise ValueError(f"format {fmt.key!r} is registered twice")
    FORMATS[fmt.key] = fmt
    return fmt


def checked(text: str, spans: Iterable[Span], *, where: str) -> tuple[Span, ...]:
    """The spans of a record, sorted, each once.

    Raises:
        SamError: naming `where` and the first span that lies outside the text or covers only spaces.
    """
    found = list(spans)
    check_spans(text, found, where=where)
    for span in found:
        if not text[span.start : span.end].strip():
            raise SamError(
                f"In {where}, the span {span.start}–{span.end} ({span.label}) covers only spaces.",
                "Remove it or correct its offsets.",
            )
    unique = {span.key: span for span in reversed(found)}
    return tuple(sorted(unique.values(), key=lambda span: span.key))


def counted(number: int, one: str, many: str) -> str:
    """A count in words: "1 row", "1,200 rows"."""
    return f"{number:,} {one if number == 1 else many}"
