"""JSON Lines, as SaM and doccano write it: one object a line.

Text is under ``text``; entities are under ``entities``, ``label``, ``labels`` or ``spans``, each
``{"start": 0, "end": 3, "label": "person"}``, ``{"start_offset": …, "end_offset": …, "label": …}``
or ``[0, 3, "person"]``. Offsets count code points and the end is exclusive.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from experts.errors import SamError
from experts.formats.base import Format, Options, Parsed, Record, register
from experts.spans import Span, check_spans

__all__ = ["ENTITY_KEYS", "FORMAT"]

TEXT_KEYS = ("text", "data", "sentence", "content", "body")
ENTITY_KEYS = ("entities", "label", "labels", "spans")
_START_KEYS = ("start", "start_offset")
_END_KEYS = ("end", "end_offset")
_LABEL_KEYS = ("label", "type", "tag")
_SHAPE = 'Write an entity as {"start": 0, "end": 3, "label": "person"} or [0, 3, "person"].'
_SURROGATE = re.compile("[\ud800-\udfff]")


def _parse(name: str, text: str, options: Options) -> Parsed:
    if text.lstrip().startswith("["):
        _refuse_array(name, text)
    parsed = Parsed([])
    replaced = 0
    # Only "\n" ends a line here: JSON strings may hold U+2028 and its like as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number} of {name}"
        row = _object(where, line)
        surface = _text(where, row)
        if _SURROGATE.search(surface):
            # Half an emoji, cut by a program that counts in UTF-16: no file can hold it.
            surface = _SURROGATE.sub("\ufffd", surface)
            replaced += 1
        spans = _spans(where, surface, row) if options.gold else None
        parsed.records.append(Record(surface, spans, number))
    if replaced:
        parsed.notes.append(f"half characters shown as “\ufffd” in {replaced} of the texts")
    return parsed


def _refuse_array(name: str, text: str) -> None:
    first = text.lstrip().split("\n", 1)[0].strip()
    try:
        whole_line = isinstance(json.loads(first), list)
    except (ValueError, RecursionError):
        whole_line = True  # "[" alone: an array over several lines
    if whole_line:
        raise SamError(
            f"{name} is a JSON array, not JSON Lines.",
            "Save it with one object on each line, without the outer brackets.",
        )


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "") or "the value cannot be read"
        raise SamError(
            f"{where[0].upper()}{where[1:]} is not valid JSON: {reason}.",
            'Each line must be one object such as {"text": "…"}.',
        ) from error
    if not isinstance(row, dict):
        raise SamError(
            f"{where[0].upper()}{where[1:]} is not a JSON object.",
            'Each line must be one object such as {"text": "…"}.',
        )
    return row


def _text(where: str, row: dict[str, Any]) -> str:
    key = next((k for k in TEXT_KEYS if k in row), None)
    if key is None:
        keys = ", ".join(f"“{k}”" for k in list(row)[:10]) or "no keys at all"
        raise SamError(
            f"{where[0].upper()}{where[1:]} has no “text”; it has {keys}.",
            "Name the key that holds the text “text”.",
        )
    if not isinstance(row[key], str):
        raise SamError(
            f"In {where}, “{key}” is not a string.",
            "Put the text itself there, in quotation marks.",
        )
    return str(row[key])


def _spans(where: str, text: str, row: dict[str, Any]) -> tuple[Span, ...] | None:
    key = next((k for k in ENTITY_KEYS if row.get(k) is not None), None)
    if key is None:
        return None
    raw = row[key]
    if not isinstance(raw, list):
        raise SamError(f"In {where}, “{key}” is not a list of entities.", _SHAPE)
    spans = [_span(where, item) for item in raw]
    check_spans(text, spans, where=where)
    for span in spans:
        if not text[span.start : span.end].strip():
            raise SamError(
                f"In {where}, the span {span.start}–{span.end} ({span.label}) covers only spaces.",
                "Remove it or correct its offsets.",
            )
    unique = {span.key: span for span in reversed(spans)}
    return tuple(sorted(unique.values(), key=lambda span: span.key))


def _span(where: str, item: object) -> Span:
    score: object = None
    if isinstance(item, dict):
        start = next((item[k] for k in _START_KEYS if k in item), None)
        end = next((item[k] for k in _END_KEYS if k in item), None)
        label = next((item[k] for k in _LABEL_KEYS if k in item), None)
        score = item.get("score")
    elif isinstance(item, list) and len(item) == 3:
        start, end, label = item
    else:
        start = end = label = None
    if type(start) is not int or type(end) is not int or not isinstance(label, str):
        raise SamError(
            f"In {where}, an entity is not start, end and label: {_short(item)}.", _SHAPE
        )
    if not label.strip() or _SURROGATE.search(label):
        raise SamError(f"In {where}, an entity has no readable label: {_short(item)}.", _SHAPE)
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        score = None
    return Span(start, end, label.strip(), None if score is None else float(score))


def _short(item: object) -> str:
    shown = json.dumps(item)
    return shown if len(shown) <= 80 else shown[:79] + "…"


def _sniff(text: str) -> bool:
    first = text.lstrip()[:100_000].split("\n", 1)[0].strip()
    if not first.startswith("{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        # A damaged first line is still clearly JSON when it names the key that we look for.
        return re.match(r'\{\s*"\w+"\s*:', first) is not None


FORMAT = register(
    Format(
        key="jsonl", extensions=(".jsonl", ".ndjson", ".jl", ".json"), parse=_parse, sniff=_sniff
    )
)
