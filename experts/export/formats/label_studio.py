"""Label Studio: tasks with predictions and annotations, and the labelling interface for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from experts.export.formats.base import Entry, ExportFormat, Row, no_losses
from experts.spans import Span

__all__ = ["LABEL_STUDIO", "labelling_config"]

TASKS = "tasks.json"
CONFIG = "labeling-config.xml"
_FROM, _TO = "label", "text"


def labelling_config(types: Iterable[str]) -> str:
    """The labelling interface for these types, to be pasted into the project's settings."""
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in types)
    # Without the style, the page runs spaces together, and saves texts so.
    return (
        "<View>\n"
        "  <Style>.htx-text{ white-space: pre-wrap; }</Style>\n"
        f'  <Labels name="{_FROM}" toName="{_TO}">\n{labels}\n  </Labels>\n'
        f'  <Text name="{_TO}" value="$text"/>\n'
        "</View>\n"
    )


def _build(rows: Sequence[Row]) -> Iterator[Entry]:
    tasks = [_task(row) for row in rows]
    text = json.dumps(tasks, ensure_ascii=False, indent=1)
    yield TASKS, text.encode("utf-8", "replace")
    found = (span.label for row in rows for span in (*(row.spans or ()), *(row.predicted or ())))
    yield CONFIG, labelling_config(sorted(set(found))).encode("utf-8", "replace")


def _task(row: Row) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {"text": row.text, "document": row.document}}
    if row.spans is not None:
        task["annotations"] = [{"result": _results(row.text, row.spans, scored=False)}]
    if row.predicted is not None:
        scores = [span.score for span in row.predicted if span.score is not None]
        task["predictions"] = [
            {
                "model_version": "SaM",
                # The least sure entity decides which task to look at first.
                **({"score": min(scores)} if scores else {}),
                "result": _results(row.text, row.predicted, scored=True),
            }
        ]
    return task


def _results(text: str, spans: Iterable[Span], *, scored: bool) -> list[dict[str, Any]]:
    return [
        {
            "id": f"e{number}",
            "from_name": _FROM,
            "to_name": _TO,
            "type": "labels",
            **({"score": span.score} if scored and span.score is not None else {}),
            "value": {
                "start": span.start,
                "end": span.end,
                "text": text[span.start : span.end],
                "labels": [span.label],
            },
        }
        for number, span in enumerate(sorted(spans, key=lambda span: span.key), start=1)
    ]


LABEL_STUDIO = ExportFormat(
    key="label-studio",
    title="Label Studio",
    ending=".zip",
    opens=f"Label Studio: paste {CONFIG} into Settings → Labeling Interface, then import {TASKS}; "
    "what a model found are predictions with scores, what a person reviewed are annotations",
    cannot="",
    check=no_losses,
    build=_build,
    main=TASKS,
)
