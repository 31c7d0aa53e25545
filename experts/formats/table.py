"""Tables: csv and tsv. One column holds the texts, each row is a record.

Or each row is an entity (:mod:`experts.formats.entity_table`).
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import PurePath

from experts.errors import SamError
from experts.formats.base import MAX_LINE, Format, Options, Parsed, Record, register
from experts.formats.entity_table import is_entity_table, parse_entities

__all__ = ["FORMAT", "columns_of"]

_TEXT_NAMES = ("text", "texts", "sentence", "sentences", "content", "body")
_DELIMITERS = (",", ";", "\t", "|")
_NO_DELIMITER = "\x1f"  # the ASCII unit separator: in no text, so a row is one cell
_DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SAMPLE_ROWS = 50
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def _rows(
    name: str, text: str, delimiter: str, limit: int | None = None
) -> list[tuple[int, list[str]]]:
    """Non-empty rows, each with the line of the file where it begins (from 1)."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    bare = delimiter == "\t" and _bare_quotes(text)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL,
    )
    rows: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((begins, row))
            begins = reader.line_num + 1
            if limit is not None and len(rows) >= limit:
                break
    except csv.Error as error:
        raise SamError(
            f"{name} cannot be read as a table: in the row at line {begins}, {error}.",
            "Look for a quotation mark that is never closed there.",
        ) from error
    return rows


def _bare_quotes(text: str) -> bool:
    """Whether quotation marks in a tsv are just text: a cell begins with one that does not close.

    Rows must then be whole without quoting, or it is a cell with line breaks after all.
    """
    rows = [line.rstrip("\r").split("\t") for line in text.split("\n") if line.strip()]
    cells = (cell for row in rows for cell in row if cell.startswith('"'))
    return any(not _QUOTED.fullmatch(cell) for cell in cells) and len({len(r) for r in rows}) == 1


def _delimiter(name: str, text: str) -> str:
    """The delimiter that cuts the first rows into equally many cells, more than one."""
    if PurePath(name).suffix.lower() in (".tsv", ".tab"):
        return "\t"
    best, best_score = _NO_DELIMITER, (0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            rows = [row for _, row in _rows(name, text, delimiter, _SAMPLE_ROWS)]
        except SamError:
            continue
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        score = (sum(len(row) == width for row in rows) / len(rows), width)
        if score > best_score and score[0] >= 0.5:
            best, best_score = delimiter, score
    if best != _NO_DELIMITER:
        return best
    try:
        sniffed = csv.Sniffer().sniff(text.split("\n", 1)[0], "".join(_DELIMITERS)).delimiter
    except csv.Error:
        return _NO_DELIMITER
    return sniffed if _known(text.split("\n", 1)[0].split(sniffed)) else _NO_DELIMITER


def _known(cells: list[str]) -> bool:
    return any(cell.strip().strip('"').casefold() in _TEXT_NAMES for cell in cells)


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: a known name, or short cells above much longer ones."""
    first = rows[0]
    if _known(first):
        return True
    cells = [cell.strip() for cell in first]
    if len(rows) < 2 or len({c.casefold() for c in cells}) < len(cells):
        return False
    if not all(0 < len(c) <= 40 and c[-1] not in ".!?。！？" for c in cells):
        return False
    column = _longest(rows[1:], len(first))
    below = [len(row[column].strip()) for row in rows[1:] if column < len(row)]
    return len(cells[column]) < 0.5 * sum(below) / max(len(below), 1)


def _longest(rows: list[list[str]], width: int) -> int:
    """Index of the column whose cells are longest on average; the first of equals."""
    totals = [sum(len(row[i].strip()) for row in rows if i < len(row)) for i in range(width)]
    return max(range(width), key=lambda i: (totals[i], -i))


def _header(rows: list[list[str]]) -> tuple[list[str], bool]:
    if _has_header(rows):
        names = [cell.strip() or f"column {i}" for i, cell in enumerate(rows[0], start=1)]
        return names, True
    return [f"column {i}" for i in range(1, len(rows[0]) + 1)], False


def columns_of(name: str, text: str) -> list[str]:
    """Names of the table's columns; ``column 1``, ``column 2`` … where it has no header."""
    rows = [row for _, row in _rows(name, text, _delimiter(name, text), _SAMPLE_ROWS)]
    return _header(rows)[0] if rows else []


def _choose(name: str, names: list[str], rows: list[list[str]], wanted: str | None) -> int:
    folded = [n.casefold() for n in names]
    if wanted is None:
        named = next((folded.index(t) for t in _TEXT_NAMES if t in folded), None)
        return _longest(rows, len(names)) if named is None else named
    key = wanted.strip().casefold()
    if key in folded:
        return folded.index(key)
    if key.isdecimal() and 1 <= int(key) <= len(names):
        return int(key) - 1
    have = ", ".join(f"“{n}”" for n in names[:20])
    raise SamError(f"{name} has no column “{wanted}”.", f"Choose one of its columns: {have}.")


def _parse(name: str, text: str, options: Options) -> Parsed:
    delimiter = _delimiter(name, text)
    numbered = _rows(name, text, delimiter)
    if not numbered:
        raise SamError(f"{name} has no rows.", "Choose a table with a column of texts.")
    rows = [row for _, row in numbered]
    if options.column is None and is_entity_table(rows[0]):
        return parse_entities(name, numbered[1:], options)
    names, has_header = _header(rows[:_SAMPLE_ROWS])
    numbered = numbered[has_header:]
    column = _choose(name, names, rows[has_header:], options.column)
    parsed = Parsed([])
    if delimiter != _NO_DELIMITER:
        parsed.notes.append(
            f"texts from “{names[column]}”, {_DELIMITER_NAMES[delimiter]}-separated"
        )
    without, longer = 0, 0
    for number, row in numbered:
        longer += len(row) > len(names)
        if column < len(row) and row[column].strip():
            parsed.records.append(Record(row[column], None, number))
        else:
            without += 1
    if without:
        parsed.notes.append(f"{_count(without)} without a text left out")
    if longer:
        parsed.notes.append(
            f"{_count(longer)} with more cells than the header: texts with a "
            f"{_DELIMITER_NAMES.get(delimiter, 'separator')} need quotation marks"
        )
    return parsed


def _count(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


FORMAT = register(
    Format(
        key="csv",
        extensions=(".csv", ".tsv", ".tab"),
        parse=_parse,
        sniff=lambda text: False,  # any text with commas would do; the ending decides
    )
)
