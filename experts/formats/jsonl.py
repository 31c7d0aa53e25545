"""JSON Lines, as SaM and doccano write it: one object a line.

Text is under ``text``; entities are under ``entities``, ``label``, ``labels`` or ``spans``, each
``{"start": 0, "end": 3, "label": "person"}``, ``{"start_offset": …, "end_offset": …, "label": …}``
or ``[0, 3, "person"]``. Offsets count code points and the end is exclusive. The last two ways are
doccano's, whose page counts UTF-16 units: see :func:`_counts_units`.

``document``, where it is short, names the document that a text is from.
SaM's own files say of a line ``"reviewed": false`` when its entities are only predicted, and keep
under ``predicted`` what was found in a line that somebody has reviewed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from experts.errors import SamError
from experts.formats.base import Format, Options, Parsed, Record, checked, counted, register
from experts.formats.offsets import Utf16, beyond_bmp
from experts.spans import Span

__all__ = ["ENTITY_KEYS", "FORMAT", "UNITS", "document_name", "spans_of_json"]

TEXT_KEYS = ("text", "data", "sentence", "content", "body")
ENTITY_KEYS = ("entities", "label", "labels", "spans")
UNITS = {"offsets": "utf-16"}
"""What a line holds when its offsets count UTF-16 units; doccano keeps it as metadata."""
_START_KEYS = ("start", "start_offset")
_END_KEYS = ("end", "end_offset")
_LABEL_KEYS = ("label", "type", "tag")
_SHAPE = 'Write an entity as {"start": 0, "end": 3, "label": "person"} or [0, 3, "person"].'
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class _Line:
    """One line: `spans` and `predicted` with the offsets of the file. `units`: they are known to
    count UTF-16 units; None where that is to be found out.
    """

    number: int
    where: str
    text: str
    spans: list[Span] | None
    predicted: list[Span] | None
    units: bool | None
    part: str = ""


def _parse(name: str, text: str, options: Options) -> Parsed:
    if text.lstrip().startswith("["):
        _refuse_array(name, text)
    lines: list[_Line] = []
    replaced = relations = 0
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
        if options.gold:
            lines.append(_line(number, where, surface, row))
            relations += len(row["relations"]) if isinstance(row.get("relations"), list) else 0
        else:
            lines.append(_Line(number, where, surface, None, None, False))
        lines[-1].part = document_name(row.get("document"), name)
    parsed = Parsed([])
    units, moved = _counts_units(lines), 0
    for each in lines:
        each.units = units if each.units is None else each.units
        moved += each.units and beyond_bmp(each.text) and bool(each.spans or each.predicted)
        parsed.records.append(_record(each))
    if replaced:
        parsed.notes.append(f"half characters shown as “\ufffd” in {replaced} of the texts")
    if moved:
        parsed.notes.append(f"positions in {moved} of the texts count an emoji as two, as doccano")
    if relations:
        parsed.notes.append(counted(relations, "relation left out", "relations left out"))
    return parsed


def _line(number: int, where: str, text: str, row: dict[str, Any]) -> _Line:
    key = next((k for k in ENTITY_KEYS if row.get(k) is not None), None)
    spans = None if key is None else spans_of_json(where, key, row[key])
    predicted = row.get("predicted")
    found = None if predicted is None else spans_of_json(where, "predicted", predicted)
    # "id" is doccano's: what comes back from there was looked at, whatever the line says.
    if row.get("reviewed") is False and "id" not in row:
        spans, found = None, found or spans
    units: bool | None = False
    if row.get("offsets") == UNITS["offsets"]:
        units = True
    elif key is not None and any(_of_doccano(item) for item in row[key]):
        units = None
    return _Line(number, where, text, spans, found, units)


def _of_doccano(item: object) -> bool:
    return isinstance(item, list) or (isinstance(item, dict) and "start_offset" in item)


def _counts_units(lines: Sequence[_Line]) -> bool:
    """Whether the lines whose way of counting is open are likelier to count UTF-16 units.

    Judged by the texts where it makes a difference: the right way is the one in which spans lie
    inside the text and do not cut words in two. Code points unless the other way is clearly better.
    """
    wrong = [[0, 0], [0, 0]]  # [impossible spans, cut words] by code points, by units
    for line in lines:
        if line.units is not None or not line.spans or not beyond_bmp(line.text):
            continue
        count = Utf16(line.text)
        for span in line.spans:
            for i, (start, end) in enumerate(
                [(span.start, span.end), (count.points(span.start), count.points(span.end))]
            ):
                if start is None or end is None or not _possible(line.text, start, end):
                    wrong[i][0] += 1
                else:
                    wrong[i][1] += _cuts(line.text, start) + _cuts(line.text, end)
    points, units = wrong
    return units[0] < points[0] or (units[0] == points[0] and 2 * units[1] <= points[1] > 0)


def _possible(text: str, start: int, end: int) -> bool:
    return 0 <= start < end <= len(text) and text[start:end] == text[start:end].strip()


def _cuts(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def _record(line: _Line) -> Record:
    spans, predicted = (
        None if found is None else _placed(line, found) for found in (line.spans, line.predicted)
    )
    return Record(line.text, spans, line.number, line.part, predicted)


def document_name(value: object, file: str) -> str:
    """The name that a record gives of its document; "" for none, or that of the file itself."""
    named = isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
    return str(value) if named and value != file else ""


def _placed(line: _Line, spans: Sequence[Span]) -> tuple[Span, ...]:
    if line.units and beyond_bmp(line.text):
        count = Utf16(line.text)
        moved = []
        for span in spans:
            start, end = count.points(span.start), count.points(span.end)
            if start is None or end is None:
                raise SamError(
                    f"In {line.where}, the span {span.start}–{span.end} ({span.label}) lies outside "
                    "the text or cuts a character in two.",
                    "Offsets of this file count UTF-16 units, as doccano does: an emoji is two.",
                )
            moved.append(replace(span, start=start, end=end))
        spans = moved
    return checked(line.text, spans, where=line.where)


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


def spans_of_json(where: str, key: str, raw: object) -> list[Span]:
    """The spans of a JSON value, not yet checked against a text.

    Raises:
        SamError: it is no list, or an item of it no span.
    """
    if not isinstance(raw, list):
        raise SamError(f"In {where}, “{key}” is not a list of entities.", _SHAPE)
    return [_span(where, item) for item in raw]


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
