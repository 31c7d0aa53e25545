"""A table of entities, a row each, as SaM writes it: the reader of ``csv of entities``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from experts.errors import SamError
from experts.formats.base import Options, Parsed, Record, checked
from experts.spans import Span

__all__ = ["COLUMNS", "harmless", "is_entity_table", "parse_entities"]

COLUMNS = ("document", "sentence", "start", "end", "type", "mention", "score")
# A spreadsheet program runs a cell that begins so as a formula.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MASKED = re.compile(r"'+[=+\-@\t\r]")


def harmless(cell: str) -> str:
    """A cell that no spreadsheet program takes for a formula: with an apostrophe before it.

    >>> harmless("=1+1"), harmless("Ada")
    ("'=1+1", 'Ada')
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _as_it_was(cell: str) -> str:
    return cell[1:] if _MASKED.match(cell) else cell


def is_entity_table(header: Sequence[str]) -> bool:
    """Whether these are the columns of a table of entities; a score may be missing."""
    return tuple(cell.strip() for cell in header)[:6] == COLUMNS[:6]


def parse_entities(name: str, rows: Sequence[tuple[int, list[str]]], options: Options) -> Parsed:
    """The sentences of a table of entities, each once, in order.

    Args:
        rows: the line of each, and its cells; without the header.

    Raises:
        SamError: naming the line, when cells are missing, an offset is none, or the mention is not
            what stands there.
    """
    found: dict[tuple[str, str], tuple[int, list[Span]]] = {}
    for number, cells in rows:
        where = f"line {number} of {name}"
        if len(cells) < 6:
            raise SamError(
                f"In {where}, cells are missing.", "Each row has: " + ", ".join(COLUMNS) + "."
            )
        document, sentence, *_ = map(_as_it_was, cells)
        span = _span(where, cells)
        checked(sentence, [span], where=where)
        if sentence[span.start : span.end] != _as_it_was(cells[5]):
            raise SamError(
                f"In {where}, the mention is “{cells[5][:60]}”, but at {span.start}–{span.end} the "
                f"sentence has “{sentence[span.start : span.end][:60]}”.",
                "Correct the offsets (they count characters from 0) or the sentence.",
            )
        found.setdefault((document, sentence), (number, []))[1].append(span)
    records = [
        Record(
            sentence,
            checked(sentence, spans, where=f"line {number} of {name}") if options.gold else None,
            number,
            document if document != name else "",
        )
        for (document, sentence), (number, spans) in found.items()
    ]
    return Parsed(records, ["a table of entities: sentences without any are not in it"])


def _span(where: str, cells: Sequence[str]) -> Span:
    try:
        score = float(cells[6]) if len(cells) > 6 and cells[6].strip() else None
        span = Span(int(cells[2]), int(cells[3]), _as_it_was(cells[4]).strip(), score)
    except ValueError:
        raise SamError(
            f"In {where}, start, end or score is not a number: "
            f"“{'”, “'.join([*cells[2:4], *cells[6:7]])}”.",
            "Start and end count characters of the sentence from 0.",
        ) from None
    if not span.label:
        raise SamError(f"In {where}, the entity has no type.", "Write one into the column “type”.")
    return span
