"""What a job says that it is doing, in the language of whoever looks.

The worker speaks English and the database keeps what it said last, with numbers in it.
"""

from __future__ import annotations

import re

from sam_ui.words import SOURCE, _, mark, spoken

__all__ = ["SAYINGS", "doing"]

SAYINGS = (
    mark("Loading the models"),
    mark("Loading the base model"),
    mark("Comparing your texts with the experts'"),
    mark("Probing expert {done} of {all}"),
    mark("Probing the {best} best of {all} experts"),
    mark("Merging the experts"),
    mark("Reading sentence {done} of {all}"),
)
_NUMBER = re.compile(r"\\{(\w+)\\}")
_PATTERNS = {text: re.compile(_NUMBER.sub(r"(?P<\1>[\\d,]+)", re.escape(text))) for text in SAYINGS}


def doing(message: str) -> str:
    """The translation of a message; one that is not among these stays as it is."""
    if spoken() == SOURCE:
        return message
    for text, pattern in _PATTERNS.items():
        found = pattern.fullmatch(message)
        if found:
            return _(text, **found.groupdict())
    return _(message)
