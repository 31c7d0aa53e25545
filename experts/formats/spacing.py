"""The white space between the tokens of a CoNLL file, as UDPipe notes it in a column of its own.

``SpaceAfter=No`` where the next token follows at once, ``SpacesAfter=\\s\\n`` where there is more
than one space; nothing where there is just one.
"""

from __future__ import annotations

import re

__all__ = ["note_of", "rebuild", "says_spacing"]

_SHORT = {" ": "\\s", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_LONG = {short: char for char, short in _SHORT.items()}
_ESCAPE = re.compile(r"\\[stnr]|\\u[0-9a-f]{4}")
_NOTE = re.compile(r"(SpacesBefore|SpacesAfter|SpaceAfter)=(\S*)")


def note_of(after: str, before: str = "", *, last: bool = False) -> str:
    """The note for the white space after a token, and before it where it is the first one.

    The last token of a sentence always gets one, which tells that this is not just any CoNLL file.

    >>> note_of(""), note_of(" "), note_of(" \\t")
    ('SpaceAfter=No', '_', 'SpacesAfter=\\\\s\\\\t')
    """
    notes = [f"SpacesBefore={_escaped(before)}"] if before else []
    if not after:
        notes.append("SpaceAfter=No")
    elif after != " " or last:
        notes.append(f"SpacesAfter={_escaped(after)}")
    return "|".join(notes) or "_"


def _escaped(spaces: str) -> str:
    return "".join(_SHORT.get(char) or f"\\u{ord(char):04x}" for char in spaces)


def says_spacing(notes: list[str]) -> bool:
    """Whether the notes of a sentence say anything about its spaces."""
    return any(_NOTE.match(note) for note in notes)


def rebuild(tokens: list[str], notes: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text as it was, and for each token its range in it."""
    parts: list[str] = []
    ranges: list[tuple[int, int]] = []
    position = 0
    for token, note in zip(tokens, notes, strict=True):
        said = dict(_NOTE.findall(note.replace("|", " ")))
        before = _spaces(said.get("SpacesBefore", "")) if not ranges else ""
        after = "" if said.get("SpaceAfter") == "No" else " "
        if "SpacesAfter" in said:
            after = _spaces(said["SpacesAfter"])
        start = position + len(before)
        ranges.append((start, start + len(token)))
        parts += [before, token, after]
        position = start + len(token) + len(after)
    return "".join(parts), ranges


def _spaces(escaped: str) -> str:
    found = (_LONG.get(part) or chr(int(part[2:], 16)) for part in _ESCAPE.findall(escaped))
    return "".join(char for char in found if char.isspace())
