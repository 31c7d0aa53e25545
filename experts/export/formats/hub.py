"""A folder that Hugging Face `datasets` loads, and the hub shows: data and a card that describes it.

The card's front matter declares the features, so that neither writing nor reading by SaM needs the
library.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from experts.export.formats.base import Entry, ExportFormat, Losses, Row
from experts.export.formats.lines import json_line
from experts.export.formats.tagging import tag, tagging_losses
from experts.spans import Span

__all__ = ["HUB"]

DATA = "data/train.jsonl"
_PLAIN = re.compile(r"[^\x20-\x7e]|[\"\\]")


def _build(rows: Sequence[Row]) -> Iterator[Entry]:
    labels = sorted({"_".join(span.label.split()) for row in rows for span in row.best or ()})
    classes = ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]
    numbers = {name: number for number, name in enumerate(classes)}
    yield DATA, b"".join(json_line(_record(row, numbers)) for row in rows)
    yield "README.md", _card(rows, classes).encode("utf-8", "replace")


def _record(row: Row, numbers: dict[str, int]) -> dict[str, Any]:
    tagged = tag(row.text, row.best or ())
    looked_at = row.best is not None
    return {
        "document": row.document,
        "text": row.text,
        "tokens": [row.text[start:end] for start, end in tagged.tokens],
        "ner_tags": [numbers[name] for name in tagged.tags()] if looked_at else None,
        "entities": None if row.best is None else _entities(row.best),
        "reviewed": row.spans is not None,
    }


def _entities(spans: Sequence[Span]) -> list[dict[str, Any]]:
    return [
        {
            "start": span.start,
            "end": span.end,
            "label": span.label,
            "score": None if span.score is None else float(f"{span.score:.6g}"),
        }
        for span in sorted(spans, key=lambda span: span.key)
    ]


def _card(rows: Sequence[Row], classes: Sequence[str]) -> str:
    names = "".join(f"          '{i}': {_quoted(name)}\n" for i, name in enumerate(classes))
    counts = Counter(span.label for row in rows for span in row.best or ())
    table = "".join(
        f"| {' '.join(label.split()).replace('|', chr(92) + '|')} | {count:,} |\n"
        for label, count in counts.most_common()
    )
    reviewed = sum(row.spans is not None for row in rows)
    return (
        "---\n"
        "task_categories:\n- token-classification\n"
        "tags:\n- named-entity-recognition\n"
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n"
        f"    path: {DATA}\n"
        "dataset_info:\n  features:\n"
        "  - name: document\n    dtype: string\n"
        "  - name: text\n    dtype: string\n"
        "  - name: tokens\n    sequence: string\n"
        f"  - name: ner_tags\n    sequence:\n      class_label:\n        names:\n{names}"
        "  - name: entities\n    list:\n"
        "    - name: start\n      dtype: int64\n"
        "    - name: end\n      dtype: int64\n"
        "    - name: label\n      dtype: string\n"
        "    - name: score\n      dtype: float64\n"
        "  - name: reviewed\n    dtype: bool\n"
        "---\n\n"
        "# Annotated texts\n\n"
        f"{len(rows):,} texts with {sum(counts.values()):,} entities, exported by SaM; a person has "
        f"reviewed {reviewed:,} of the texts, in the others the entities are a model's predictions.\n\n"
        "| entity type | entities |\n| --- | --- |\n"
        f"{table}\n"
        "`entities` counts Unicode code points of `text`, the end excluded. `ner_tags` are IOB2 tags "
        "of `tokens`: of overlapping entities the likeliest, and only those that begin and end with "
        'a word. Load it with `datasets.load_dataset("FOLDER")`.\n'
    )


def _quoted(text: str) -> str:
    """A string of YAML, in ASCII."""
    return '"' + _PLAIN.sub(lambda match: f"\\U{ord(match[0]):08x}", text) + '"'


def _check(rows: Sequence[Row]) -> Losses:
    lost = tagging_losses(rows, overlaps=True)
    return Losses(tuple(f"{line} of the tags (not of “entities”)" for line in lost.lines))


HUB = ExportFormat(
    key="datasets",
    title="Hugging Face dataset",
    ending=".zip",
    opens="datasets.load_dataset on the unpacked folder, or a dataset repository on the hub: tokens "
    "and tags for training, texts and entities as they are",
    cannot="in its tags: overlapping entities and those that begin or end inside a word; its column "
    "“entities” holds everything",
    check=_check,
    build=_build,
)
