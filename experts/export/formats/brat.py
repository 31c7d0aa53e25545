"""brat standoff: for each document its text and its annotations, and a configuration of the types."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from experts.export.formats.base import Entry, ExportFormat, Losses, Row, unlabelled
from experts.export.formats.documents import Assembled, assemble
from experts.formats.brat import LABELS
from experts.spans import Span

__all__ = ["BRAT", "stored_names"]

# brat reads lines as Python's splitlines does.
_LINE = re.compile("[^\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
_RESERVED = frozenset({"ANY", "ENTITY", "RELATION", "EVENT", "NONE", "REL-TYPE", "SEPARATOR"})


def stored_names(types: Iterable[str]) -> dict[str, str]:
    """For each type the name in brat's files: ASCII letters, digits, hyphens and underscores.

    >>> stored_names(["political party", "Größe", "政党"])
    {'political party': 'political_party', 'Größe': 'Groe', '政党': 'type_3'}
    """
    names: dict[str, str] = {}
    for number, label in enumerate(types, start=1):
        plain = unicodedata.normalize("NFKD", label.replace(" ", "_"))
        name = re.sub(r"[^A-Za-z0-9_-]", "_", plain.encode("ascii", "ignore").decode())
        if not re.search("[A-Za-z0-9]", name) or name in _RESERVED:
            name = f"type_{number}"
        while name in names.values():
            name += "_"
        names[label] = name
    return names


def _build(rows: Sequence[Row]) -> Iterator[Entry]:
    documents = assemble(rows)
    names = stored_names(sorted({span.label for row in rows for span in row.best or ()}))
    width = len(str(len(documents)))
    for number, document in enumerate(documents, start=1):
        slug = re.sub(r"[^A-Za-z0-9]+", "-", document.name).strip("-")[:60]
        stem = f"{number:0{width}d}-{slug}" if slug else f"{number:0{width}d}"
        yield f"{stem}.txt", document.text.encode("utf-8", "replace")
        yield f"{stem}.ann", _annotations(document, names).encode("utf-8", "replace")
    shown = ((stored, " ".join(label.split())) for label, stored in names.items())
    yield "annotation.conf", _configuration(names.values()).encode()
    labels = "".join(f"{stored} | {label}\n" for stored, label in shown)
    drawing = "[drawing]\nSPAN_DEFAULT\tfgColor:black, bgColor:lightgreen, borderColor:darken\n"
    yield LABELS, f"[labels]\n{labels}\n{drawing}".encode("utf-8", "replace")


def _configuration(names: Iterable[str]) -> str:
    entities = "".join(f"{name}\n" for name in names)
    overlaps = "<OVERLAP>\tArg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:<ANY>\n"
    return f"[entities]\n{entities}\n[relations]\n{overlaps}\n[events]\n\n[attributes]\n"


def _annotations(document: Assembled, names: dict[str, str]) -> str:
    lines: list[str] = []
    for span in sorted(document.spans, key=lambda span: span.key):
        pieces = _pieces(document.text, span)
        if not pieces:
            continue
        at = ";".join(f"{start} {end}" for start, end in pieces)
        said = " ".join(document.text[start:end] for start, end in pieces).replace("\t", " ")
        lines.append(f"T{len(lines) + 1}\t{names[span.label]} {at}\t{said}\n")
    return "".join(lines)


def _pieces(text: str, span: Span) -> list[tuple[int, int]]:
    """The lines that an entity runs over, without those of white space only."""
    found = _LINE.finditer(text, span.start, span.end)
    return [match.span() for match in found if match[0].strip()]


def _check(rows: Sequence[Row]) -> Losses:
    cut = sum(_loses(row.text, span) for row in rows for span in row.best or ())
    return Losses.of(
        (
            cut,
            "entity loses the line breaks at its edges",
            "entities lose the line breaks at their edges",
        ),
        unlabelled(rows),
    )


def _loses(text: str, span: Span) -> bool:
    pieces = _pieces(text, span)
    return not pieces or (pieces[0][0], pieces[-1][1]) != (span.start, span.end)


BRAT = ExportFormat(
    key="brat",
    title="brat standoff",
    ending=".zip",
    opens="brat, and tools that read standoff annotations: a text and an annotations file for each "
    "document, offsets over the whole document",
    cannot="probabilities, what a person has reviewed, which texts nobody has looked at",
    check=_check,
    build=_build,
)
