"""brat standoff: a text (.txt) and its annotations (.ann) beside it, with offsets over the text.

``T1<TAB>person 0 3<TAB>Ada`` is an entity; ``0 3;10 14`` one in several pieces. Every other kind of
line (relations, events, attributes, notes) is counted and left out. The text that a line repeats
is compared with the text that stands there, so that no offset can have drifted unseen.
Source of the format: brat's page "standoff".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from experts.errors import SamError
from experts.formats.base import Format, Options, Parsed, Record, checked, counted, register
from experts.formats.encoding import decode
from experts.formats.offsets import Utf16
from experts.spans import Span

__all__ = ["FORMAT", "LABELS", "is_brat", "read_brat"]

LABELS = "visual.conf"
"""The file with the names that brat shows for the types, which itself have no spaces."""
_ENTITY = re.compile(r"(T\S*)\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)", re.DOTALL)
_SPACE = re.compile(r"\s")
_OTHER = re.compile(r"(?:[REAMN]\d+|#\d*|\*)\t")


@dataclass(frozen=True, slots=True)
class _Entity:
    line: int
    label: str
    pieces: tuple[tuple[int, int], ...]
    said: str


def is_brat(files: Mapping[str, bytes]) -> bool:
    """Whether these are the files of a brat folder."""
    return any(name.lower().endswith(".ann") for name in files)


def read_brat(files: Mapping[str, bytes], options: Options) -> Parsed:
    """The texts of a brat folder in the order of their names, a record each.

    A text without annotations file is one that nobody has looked at.

    Raises:
        SamError: annotations without their text; a line that is none, or whose offsets do not fit,
            naming file and line.
    """
    texts = {_stem(name): name for name in sorted(files) if name.lower().endswith(".txt")}
    annotated = {_stem(name): name for name in sorted(files) if name.lower().endswith(".ann")}
    for stem, name in annotated.items():
        if stem not in texts:
            raise SamError(
                f"{name} has no text beside it.",
                f"Add {PurePath(stem).name}.txt to the same folder.",
            )
    shown = _shown_names(files)
    parsed = Parsed([])
    split = pieces = other = 0
    for number, (stem, name) in enumerate(texts.items(), start=1):
        if not files[name].strip():
            continue
        text = decode(name, files[name]).text
        spans: list[Span] | None = None
        if options.gold and stem in annotated:
            entities, skipped = _entities(annotated[stem], files[annotated[stem]])
            other += skipped
            spans = []
            for entity, ranges in _placed(annotated[stem], text, entities):
                split += len(ranges) > 1
                pieces += len(ranges) if len(ranges) > 1 else 0
                label = shown.get(entity.label, entity.label)
                spans += [Span(start, end, label) for start, end in ranges]
        found = None if spans is None else checked(text, spans, where=annotated[stem])
        parsed.records.append(Record(text, found, number, stem))
    if split:
        entities_in = counted(
            split, "entity in several pieces was", "entities in several pieces were"
        )
        parsed.notes.append(f"{entities_in} split into {pieces:,}")
    if other:
        lines = counted(other, "line", "lines")
        parsed.notes.append(f"{lines} with relations, events, attributes or notes left out")
    return parsed


def _stem(name: str) -> str:
    return name[: -len(PurePath(name).suffix)]


def _shown_names(files: Mapping[str, bytes]) -> dict[str, str]:
    """What brat shows for a type: from the [labels] of visual.conf."""
    names: dict[str, str] = {}
    for path, data in files.items():
        if PurePath(path).name != LABELS or not data.strip():
            continue
        section = ""
        for line in decode(path, data).text.splitlines():
            if line.startswith("["):
                section = line.strip().strip("[]")
            elif section == "labels" and "|" in line:
                stored, shown = line.split("|", 1)
                if stored.strip() and shown.strip():
                    names[stored.strip()] = shown.strip()
    return names


def _entities(name: str, data: bytes) -> tuple[list[_Entity], int]:
    """The entities of an annotations file, and how many lines are something else."""
    found: list[_Entity] = []
    other = 0
    lines = decode(name, data).text.split("\n") if data.strip() else []
    for number, line in enumerate((line.rstrip("\r") for line in lines), start=1):
        if not line.strip():
            continue
        if _OTHER.match(line):
            other += 1
            continue
        match = _ENTITY.fullmatch(line)
        if match is None:
            raise SamError(
                f"Line {number} of {name} is no annotation: “{line[:60]}”.",
                "An entity is T1, a tab, type, start and end with spaces between, a tab, its text.",
            )
        ends = [tuple(map(int, piece.split())) for piece in match[3].split(";")]
        found.append(_Entity(number, match[2], tuple((p[0], p[1]) for p in ends), match[4]))
    return found, other


def _placed(
    name: str, text: str, entities: list[_Entity]
) -> list[tuple[_Entity, list[tuple[int, int]]]]:
    """The entities with their ranges, code points or, where all fit only so, UTF-16 units."""
    wrong = next((e for e in entities if not _fits(text, e.pieces, e.said)), None)
    if wrong is None:
        return [(e, _joined(text, e.pieces)) for e in entities]
    count = Utf16(text)
    moved = [(e, tuple((count.points(a), count.points(b)) for a, b in e.pieces)) for e in entities]
    placed = [
        (e, tuple((a, b) for a, b in pieces if a is not None and b is not None))
        for e, pieces in moved
    ]
    if all(len(p) == len(e.pieces) and _fits(text, p, e.said) for e, p in placed):
        return [(e, _joined(text, pieces)) for e, pieces in placed]
    at = ";".join(f"{a}–{b}" for a, b in wrong.pieces)
    there = " ".join(text[a:b] for a, b in wrong.pieces)
    raise SamError(
        f"Line {wrong.line} of {name} says “{wrong.said[:60]}” at {at}, but the text has "
        f"“{there[:60]}” there.",
        "Offsets count characters of the .txt from 0, line breaks included: was the text changed?",
    )


def _fits(text: str, pieces: tuple[tuple[int, int], ...], said: str) -> bool:
    inside = all(0 <= a < b <= len(text) for a, b in pieces)
    there = " ".join(text[a:b] for a, b in pieces)
    return inside and _SPACE.sub(" ", there) == _SPACE.sub(" ", said)


def _joined(text: str, pieces: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """Pieces with nothing but white space between them are one: brat cuts at each line break."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(pieces):
        if joined and not text[joined[-1][1] : start].strip():
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _alone(name: str, text: str, options: Options) -> Parsed:
    raise SamError(
        f"{name} holds annotations of brat without their text.",
        "Put it into a zip together with the .txt of the same name, and add that.",
    )


FORMAT = register(
    Format(key="brat", extensions=(".ann",), parse=_alone, sniff=lambda text: False, split=True)
)
