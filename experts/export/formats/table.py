"""A table of entities for spreadsheet programs: a row an entity."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from experts.export.formats.base import Entry, ExportFormat, Losses, Row
from experts.formats.entity_table import COLUMNS, harmless

__all__ = ["CSV"]


def _build(rows: Sequence[Row]) -> Iterator[Entry]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        for span in sorted(row.best or (), key=lambda span: span.key):
            cells = row.document, row.text, span.label, row.text[span.start : span.end]
            document, sentence, label, mention = map(harmless, cells)
            score = "" if span.score is None else f"{span.score:.4f}"
            writer.writerow([document, sentence, span.start, span.end, label, mention, score])
    # With a mark at the beginning that tells spreadsheet programs the encoding.
    yield "entities.csv", text.getvalue().encode("utf-8-sig", "replace")


def _check(rows: Sequence[Row]) -> Losses:
    without = sum(not row.best for row in rows)
    found = [(row.document, row.text) for row in rows if row.best]
    return Losses.of(
        (without, "text without entities has no row", "texts without entities have no row"),
        (
            len(found) - len(set(found)),
            "text is no longer told from the same text in its document",
            "texts are no longer told from the same text in their document",
        ),
    )


CSV = ExportFormat(
    key="csv",
    title="table of entities (CSV)",
    ending=".csv",
    opens="spreadsheet programs and R: a row an entity, with its sentence. A cell that would run as "
    "a formula gets an apostrophe before it",
    cannot="texts without entities, what a person has reviewed",
    check=_check,
    build=_build,
)
