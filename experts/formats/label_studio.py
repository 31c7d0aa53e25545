"""Label Studio's JSON: a list of tasks with annotations (a person's) and predictions (a model's).

Read is what Label Studio exports as "JSON" and "JSON-MIN". Its offsets count code points
(its own tests of emoji say so), but have counted UTF-16 units up to 2021: where a task repeats the
labelled text, that decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from experts.errors import SamError
from experts.formats.base import Format, Options, Parsed, Record, checked, counted, register
from experts.formats.encoding import check_lines
from experts.formats.jsonl import document_name
from experts.formats.offsets import Utf16
from experts.spans import Span

__all__ = ["FORMAT"]

_HINT = "Export the project from Label Studio as JSON, and choose that file."
_TEXT_KEYS = ("text", "sentence", "content", "body")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"(?:\s|\\n)+")


def _parse(name: str, text: str, options: Options) -> Parsed:
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        reason = getattr(error, "msg", "") or "the value cannot be read"
        raise SamError(f"Line {line} of {name} is not valid JSON: {reason}.", _HINT) from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise SamError(f"{name} is not a list of tasks.", _HINT)
    parsed = Parsed([])
    other = several = 0
    for number, task in enumerate(tasks, start=1):
        where = f"task {number} of {name}"
        surface = _text(where, task)
        if not options.gold:
            parsed.records.append(Record(surface, None, number))
            continue
        annotations = _annotations(task)
        several += len(annotations) > 1
        spans = predicted = None
        if annotations:
            spans, skipped = _spans(where, surface, annotations[-1])
            other += skipped
        if task.get("predictions"):
            newest = [p for p in task["predictions"] if isinstance(p, dict)][-1:]
            if newest:
                predicted, _ = _spans(where, surface, newest[0].get("result"))
        data = task.get("data")
        part = document_name(data.get("document"), name) if isinstance(data, dict) else ""
        parsed.records.append(Record(surface, spans, number, part, predicted))
    if several:
        tasks_have = counted(several, "task has", "tasks have")
        parsed.notes.append(f"{tasks_have} several annotations: the last one was taken")
    if other:
        parsed.notes.append(counted(other, "other result left out", "other results left out"))
    return parsed


def _text(where: str, task: dict[str, Any]) -> str:
    data = task.get("data", task)
    strings = (
        {k: v for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {}
    )
    key = next((k for k in _TEXT_KEYS if k in strings), None)
    if key is None:
        raise SamError(
            f"{where[0].upper()}{where[1:]} has no “text” in its data.",
            "Name the key that holds the text “text”.",
        )
    check_lines(where, strings[key])
    return _SURROGATE.sub("\ufffd", strings[key])


def _annotations(task: dict[str, Any]) -> list[Any]:
    """The results of each annotation in order, the last change last; skipped tasks have none."""
    if "data" not in task:  # JSON-MIN: the key is the name of the tag in the labelling config
        found = [v for v in task.values() if isinstance(v, list) and _labelled(v)]
        return found[:1] or ([[]] if "annotation_id" in task else [])
    rows = task.get("annotations") or task.get("completions") or []
    rows = [row for row in rows if isinstance(row, dict) and not row.get("was_cancelled")]
    rows.sort(key=lambda row: str(row.get("updated_at") or row.get("created_at") or ""))
    return [row.get("result") or [] for row in rows]


def _labelled(items: Iterable[Any]) -> bool:
    return all(isinstance(i, dict) and {"start", "end", "labels"} <= i.keys() for i in items)


def _spans(where: str, text: str, results: object) -> tuple[tuple[Span, ...], int]:
    """The spans of one annotation, and how many results are something else (choices, relations)."""
    if not isinstance(results, list):
        raise SamError(f"In {where}, the result is not a list.", _HINT)
    spans: list[Span] = []
    other = 0
    for item in results:
        value = item.get("value", item) if isinstance(item, dict) else None
        if not isinstance(value, dict) or not isinstance(value.get("labels"), list):
            other += 1
            continue
        if "startOffset" in value or item.get("type") == "hypertextlabels":
            raise SamError(
                f"{where[0].upper()}{where[1:]} was labelled as HTML, whose offsets mean tags.",
                "Label it as text: use the tag Text, not HyperText.",
            )
        spans += _labels(where, text, value, item.get("score"))
    return checked(text, spans, where=where), other


def _labels(where: str, text: str, value: dict[str, Any], score: object) -> list[Span]:
    start, end = value.get("start"), value.get("end")
    if type(start) is not int or type(end) is not int:
        raise SamError(
            f"In {where}, start and end of an entity are not whole numbers: {start!r}, {end!r}.",
            "Label the text with the tag Text.",
        )
    said = value.get("text")
    if isinstance(said, str) and not _same(text[max(start, 0) : end], said):
        start, end = _by_units(where, text, start, end, said)
    sure = float(score) if isinstance(score, int | float) and 0 <= score <= 1 else None
    labels = [_SURROGATE.sub("\ufffd", str(label)).strip() for label in value["labels"]]
    return [Span(start, end, label, sure) for label in labels if label]


def _by_units(where: str, text: str, start: int, end: int, said: str) -> tuple[int, int]:
    count = Utf16(text)
    a, b = count.points(start), count.points(end)
    if a is None or b is None or not _same(text[a:b], said):
        raise SamError(
            f"In {where}, an entity is “{said[:60]}”, but at {start}–{end} the text has "
            f"“{text[max(start, 0) : end][:60]}”.",
            "The text was changed after it was labelled: restore it, or label the task again.",
        )
    return a, b


def _same(found: str, said: str) -> bool:
    """Whether two texts differ at most in white space, which a page may show in other ways."""
    return found == said or _SPACES.sub(" ", found).strip() == _SPACES.sub(" ", said).strip()


def _sniff(text: str) -> bool:
    start = text.lstrip()[:20_000]
    return start.startswith("[") and (
        re.match(r'\[\s*\{[^\[\]]*"data"\s*:\s*\{', start) is not None
        or (
            re.match(r"\[\s*\{", start) is not None
            and re.search(r'"(?:annotations|predictions|completions|annotation_id)"\s*:', start)
            is not None
        )
    )


FORMAT = register(Format(key="label_studio", extensions=(), parse=_parse, sniff=_sniff))
