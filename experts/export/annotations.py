"""Annotations for spreadsheets, a span at a time; see :mod:`experts.export.formats` for all formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experts.export.formats import get
from experts.export.formats.base import Row
from experts.files import written_whole
from experts.spans import Span

__all__ = ["SpanRow", "write_spans_csv"]


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span (offsets relative to `sentence`) with where it stands."""

    document: str
    sentence: str
    span: Span


def write_spans_csv(path: Path, rows: Iterable[SpanRow]) -> None:
    """Write a row a span, UTF-8 with a mark that spreadsheet programs recognise; atomic.

    Raises:
        SamError: the place cannot be written to.
    """
    spans = [Row(row.sentence, None, (row.span,), row.document) for row in rows]
    (entry,) = get("csv").build(spans)
    with written_whole(path) as temporary:
        temporary.write_bytes(entry[1])
