"""From rows back to the documents that they are from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from experts.export.formats.base import Row
from experts.spans import Span

__all__ = ["Assembled", "assemble"]


@dataclass(slots=True)
class Assembled:
    """A whole document, with the spans of all its rows at their places in it."""

    name: str
    text: str
    spans: list[Span] = field(default_factory=list)


def assemble(rows: Sequence[Row]) -> list[Assembled]:
    """The documents of some rows, in their order.

    Rows that know their document give it as it was. Others that follow each other and have the same
    name make a document together, a line each.
    """
    documents: list[Assembled] = []
    before: Row | None = None
    for row in rows:
        begins = before is None or not _goes_on(before, row)
        if begins:
            documents.append(Assembled(row.document, row.whole if row.whole is not None else ""))
        document = documents[-1]
        start = row.start
        if row.whole is None:
            document.text += row.text if begins else f"\n{row.text}"
            start = len(document.text) - len(row.text)
        document.spans += [
            replace(span, start=span.start + start, end=span.end + start) for span in row.best or ()
        ]
        before = row
    return documents


def _goes_on(before: Row, row: Row) -> bool:
    """Whether two rows are of one document; the same stretch again is of another."""
    if (before.document, before.whole) != (row.document, row.whole):
        return False
    return row.whole is None or before.start + len(before.text) <= row.start
