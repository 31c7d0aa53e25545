"""Annotations for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experts.files import written_whole
from experts.spans import Span

__all__ = ["SpanRow", "write_spans_csv"]

COLUMNS = ("document", "sentence", "start", "end", "type", "mention", "score")


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
    with (
        written_whole(path) as temporary,
        temporary.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            span = row.span
            score = "" if span.score is None else f"{span.score:.4f}"
            mention = row.sentence[span.start : span.end]
            writer.writerow(
                [row.document, row.sentence, span.start, span.end, span.label, mention, score]
            )
