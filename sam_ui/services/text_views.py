"""What the upload screen reads beside `sam_ui.services.views`: frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

from experts.corpus import FileReport
from sam_ui.services.views import TypeSuggestion

__all__ = ["Added", "Often", "RefusedFile", "Suggestions"]


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that was not added: why, and what to do next."""

    name: str
    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the files that were handed in together."""

    added: tuple[FileReport, ...]
    refused: tuple[RefusedFile, ...]


@dataclass(frozen=True, slots=True)
class Often:
    """A name or term of the texts, and in how many of the sentences looked at it stands."""

    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What could be looked for: types of the pool, best first, and what recurs in the texts.

    Attributes:
        compared: the types were compared with the texts, and are in this order.
        pending: the texts are still being looked at; there may be more to say in a moment.
    """

    types: tuple[TypeSuggestion, ...]
    often: tuple[Often, ...]
    compared: bool
    pending: bool
