"""What every export format shares: rows in, files out, and what gets lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from experts.spans import Span

__all__ = ["Entry", "ExportFormat", "Losses", "Row", "no_losses", "unlabelled"]


@dataclass(frozen=True, slots=True)
class Row:
    """One text (a sentence, or any other stretch of a document) with its entities.

    Attributes:
        text: the text; offsets of all spans are code points of it.
        spans: what a person says: corrections or gold. ``()``: looked at, nothing there; None:
            nobody has looked at it.
        predicted: what a model found; None: it was not asked.
        document: name of the document that the text is from, "" unknown.
        whole: text of that document, of which ``whole[start : start + len(text)]`` is the text.
            None: unknown; a format of documents then makes them of their rows, a line each.
        start: where the text begins in the document.
    """

    text: str
    spans: tuple[Span, ...] | None = None
    predicted: tuple[Span, ...] | None = None
    document: str = ""
    whole: str | None = None
    start: int = 0

    @property
    def best(self) -> tuple[Span, ...] | None:
        """What counts: what a person says, else what a model found; None where neither did."""
        return self.predicted if self.spans is None else self.spans


@dataclass(frozen=True, slots=True)
class Losses:
    """What a file cannot hold of some rows, one sentence with its count each; falsy: nothing."""

    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, *counted: tuple[int, str, str]) -> Losses:
        """From (count, what to say of one, what to say of several); zeros say nothing.

        >>> Losses.of((0, "text is", "texts are"), (2, "text is cut", "texts are cut")).lines
        ('2 texts are cut',)
        """
        return cls(tuple(f"{n:,} {one if n == 1 else many}" for n, one, many in counted if n))

    def __bool__(self) -> bool:
        return bool(self.lines)


Entry = tuple[str, bytes]
"""A file: its path below the export, and what is in it."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One way to write annotations.

    Attributes:
        key: short name, as the command line takes it.
        title: what a person calls it.
        ending: of the file that is handed over; ".zip" for formats of several files.
        opens: what it is for: "spaCy: training and displaCy".
        cannot: what it cannot hold, in plain words; "" for nothing that is lost.
        check: what of these rows it cannot hold. Never raises.
        build: the files, the main one first; leaves out what `check` counts.
        main: name of the file among several that is worth having alone; "" for none.
        extra: of sam-ui, which writing it needs; "" for none.
        reads: whether SaM reads it back.
    """

    key: str
    title: str
    ending: str
    opens: str
    cannot: str
    check: Callable[[Sequence[Row]], Losses]
    build: Callable[[Sequence[Row]], Iterable[Entry]]
    main: str = ""
    extra: str = ""
    reads: bool = True


def no_losses(rows: Sequence[Row]) -> Losses:
    """For formats that hold everything."""
    return Losses()


def unlabelled(rows: Sequence[Row]) -> tuple[int, str, str]:
    """For `Losses.of`: texts that nobody has looked at, where the format cannot say so."""
    return (
        sum(row.best is None for row in rows),
        "text that nobody has looked at comes out as a text without entities",
        "texts that nobody has looked at come out as texts without entities",
    )
