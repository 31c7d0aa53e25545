"""Annotations for spreadsheets."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experts.errors import SamError
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
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in rows:
                span = row.span
                score = "" if span.score is None else f"{span.score:.4f}"
                mention = row.sentence[span.start : span.end]
                writer.writerow(
                    [row.document, row.sentence, span.start, span.end, span.label, mention, score]
                )
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SamError(
            f"{path} cannot be written ({error.strerror}).", "Choose another folder."
        ) from None
