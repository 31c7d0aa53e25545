"""Entity types as a person names them: parsing and checking what they typed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experts.errors import SamError

__all__ = ["MAX_TYPES", "MAX_TYPE_LENGTH", "EntityType", "check_types", "parse_types"]

MAX_TYPE_LENGTH = 200
MAX_TYPES = 100

_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SEPARATOR = re.compile("[,;，、،；]")
_NO_TYPES = ("No entity types are given.", "Name at least one, for example: person, place, date.")


@dataclass(frozen=True, slots=True)
class EntityType:
    """A natural-language name ("political party") and, if given, what it means in one line."""

    name: str
    definition: str = ""


def parse_types(text: str, *, lines: bool = True) -> list[EntityType]:
    """Read entity types from a text box or from a command-line option.

    Types are separated by commas, semicolons or line breaks. ``name: definition`` gives a type a
    definition; on a line of its own the definition may hold commas.

    Args:
        text: what the person typed.
        lines: whether line breaks separate types. The command line says False: a line break inside
            its comma-separated list is a mistake.

    Returns:
        Types in the order given, the first of those that differ only in case.

    Raises:
        SamError: no type, or a name that :func:`check_types` refuses.
    """
    rows = _LINE_BREAK.split(text) if lines else [text.strip()]
    found: list[EntityType] = []
    for row in rows:
        name, colon, definition = row.partition(":")
        if colon and not _SEPARATOR.search(name):
            found.append(EntityType(name.strip(), " ".join(definition.split())))
            continue
        for part in _SEPARATOR.split(row):
            name, _, definition = part.partition(":")
            if part.strip():
                found.append(EntityType(name.strip(), " ".join(definition.split())))
    names = check_types([t.name for t in found])
    definitions = _first_definitions(found)
    return [EntityType(name, definitions.get(name.casefold(), "")) for name in names]


def _first_definitions(types: Iterable[EntityType]) -> dict[str, str]:
    definitions: dict[str, str] = {}
    for t in types:
        if t.definition:
            definitions.setdefault(t.name.casefold(), t.definition)
    return definitions


def check_types(names: Sequence[str]) -> list[str]:
    """Refuse names that cannot be asked for; drop repetitions.

    Returns:
        The names without outer spaces, in order, the first of those that differ only in case.

    Raises:
        SamError: no names, more than ``MAX_TYPES``, or one that is empty, has a line break, a tab
            or another control character, or is longer than ``MAX_TYPE_LENGTH`` characters.
    """
    unique: dict[str, str] = {}
    for name in names:
        cleaned = name.strip(" \u00a0")
        _check_name(cleaned)
        unique.setdefault(cleaned.casefold(), cleaned)
    if not unique:
        raise SamError(*_NO_TYPES)
    if len(unique) > MAX_TYPES:
        raise SamError(
            f"{len(unique)} entity types are more than SaM asks for at once ({MAX_TYPES}).",
            "Keep the types that matter most for your texts.",
        )
    return list(unique.values())


def _check_name(name: str) -> None:
    if not name.strip():
        raise SamError(
            "An entity type has no name.", "Remove the empty one, or the comma that is too many."
        )
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:60]
    if _LINE_BREAK.search(name):
        raise SamError(
            f"The entity type “{shown}” has a line break in it.",
            "Write it on one line; separate types with commas.",
        )
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        raise SamError(
            f"The entity type “{shown}” has a tab or another control character in it.",
            "Type the name again with plain spaces.",
        )
    if len(name) > MAX_TYPE_LENGTH:
        raise SamError(
            f"The entity type “{shown}…” is {len(name)} characters long; "
            f"at most {MAX_TYPE_LENGTH} are allowed.",
            "Give it a short name and put the rest in its definition, after a colon.",
        )
