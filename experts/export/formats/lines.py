"""JSON Lines: SaM's own, and doccano's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from experts.export.formats.base import Entry, ExportFormat, Losses, Row, no_losses
from experts.formats.jsonl import UNITS
from experts.formats.offsets import Utf16
from experts.spans import Span

__all__ = ["DOCCANO", "JSONL", "json_line", "span_objects"]


def span_objects(spans: Iterable[Span]) -> list[dict[str, int | str | float]]:
    """Spans as ``{"start", "end", "label"}``, with ``score`` where there is one, sorted."""
    objects: list[dict[str, int | str | float]] = []
    for span in sorted(spans, key=lambda span: span.key):
        found: dict[str, int | str | float] = {
            "start": span.start,
            "end": span.end,
            "label": span.label,
        }
        if span.score is not None:
            found["score"] = float(f"{span.score:.6g}")  # never 0 for what is only unlikely
        objects.append(found)
    return objects


def json_line(row: dict[str, Any]) -> bytes:
    """One line of a JSON Lines file."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _state(row: Row) -> dict[str, Any]:
    """What tells a person's work from a model's, where a model was asked."""
    if row.predicted is None:
        return {}
    if row.spans is None:
        return {"reviewed": False}
    return {"reviewed": True, "predicted": span_objects(row.predicted)}


def _jsonl(rows: Sequence[Row]) -> Iterator[Entry]:
    lines = []
    for row in rows:
        line: dict[str, Any] = {"text": row.text}
        if row.best is not None:
            line["entities"] = span_objects(row.best)
        line |= _state(row)
        if row.document:
            line["document"] = row.document
        lines.append(json_line(line))
    yield "annotations.jsonl", b"".join(lines)


JSONL = ExportFormat(
    key="jsonl",
    title="JSON Lines",
    ending=".jsonl",
    opens="SaM itself, and programs of your own: a line a text, entities with start, end, label "
    "and score",
    cannot="",
    check=no_losses,
    build=_jsonl,
)


def _doccano(rows: Sequence[Row]) -> Iterator[Entry]:
    lines = []
    for row in rows:
        if not row.text:
            continue  # doccano refuses a file with an empty text
        count = Utf16(row.text)
        line: dict[str, Any] = {"text": row.text}
        if row.best is not None:
            ordered = sorted(span.key for span in row.best)
            line["label"] = [[count.units(a), count.units(b), label] for a, b, label in ordered]
        state = _state(row)
        if row.predicted is not None:
            moved = (
                replace(span, start=count.units(span.start), end=count.units(span.end))
                for span in row.predicted
            )
            state["predicted"] = span_objects(moved)
        lines.append(json_line({**line, **state, **UNITS, "document": row.document}))
    yield "doccano.jsonl", b"".join(lines)


def _doccano_losses(rows: Sequence[Row]) -> Losses:
    empty = sum(not row.text for row in rows)
    return Losses.of((empty, "empty text is left out", "empty texts are left out"))


DOCCANO = ExportFormat(
    key="doccano",
    title="doccano",
    ending=".jsonl",
    opens="doccano, project “Sequence Labeling”, import as JSONL; leave “Count grapheme clusters as "
    "one character” off, and allow overlapping entities where there are any",
    cannot="empty texts",
    check=_doccano_losses,
    build=_doccano,
)
