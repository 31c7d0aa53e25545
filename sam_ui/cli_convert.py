"""``sam-ui convert``: labelled texts from one format into another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experts.errors import SamError
from experts.export.formats import Row, formats, get, write
from sam_ui.cli_experts import Json
from sam_ui.cli_output import print_json

if TYPE_CHECKING:
    from experts.formats import ReadFile

__all__ = ["convert", "rows_of"]

KEYS = ", ".join(fmt.key for fmt in formats())


def convert(
    labelled: Annotated[
        Path,
        typer.Argument(help="Labelled texts: a file, a zip, or a folder of brat or a dataset."),
    ],
    to: Annotated[str, typer.Option("--to", help=f"Format to write: {KEYS}.")],
    out: Annotated[
        Path,
        typer.Option(help="File to write; for several files a zip, or a new folder."),
    ],
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Go on although the format cannot hold everything.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write labelled texts in the format of another tool."""
    from experts.corpus import read_records

    chosen = get(to)
    if out.exists() and labelled.exists() and out.samefile(labelled):
        raise SamError(f"{out} is the input itself.", "Name another place for --out.")
    read = read_records(labelled)
    rows = rows_of(labelled.name, read)
    losses = chosen.check(rows)
    if losses and not lossy:
        raise SamError(
            f"{chosen.title} cannot hold everything of {labelled.name}: "
            + "; ".join(losses.lines)
            + ".",
            "Nothing was written. Choose another format (jsonl holds everything), or add --lossy.",
        )
    write(to, rows, out)
    document: dict[str, Any] = {
        "out": str(out),
        "from": read.key,
        "to": to,
        "texts": len(rows),
        "entities": sum(len(row.best or ()) for row in rows),
        "lost": list(losses.lines),
        "notes": read.parsed.notes,
    }
    for line in (*read.parsed.notes, *losses.lines):
        print(f"Note: {line}.", file=sys.stderr)
    if as_json:
        print_json(document)
        return
    print(f"Wrote {document['texts']} texts with {document['entities']} entities to {out}.")


def rows_of(name: str, read: ReadFile) -> list[Row]:
    """The rows of a file that was read, each a document of its own.

    A file of which all entities have probabilities, and which does not say what of it was reviewed,
    holds predictions.

    Raises:
        SamError: it says nothing about entities.
    """
    records = read.parsed.records
    if all(record.spans is None and record.predicted is None for record in records):
        raise SamError(
            f"{name} says nothing about its entities.",
            "Give a labelled file, such as a jsonl with “entities”.",
        )
    spans = [span for record in records for span in record.spans or ()]
    told = any(record.predicted is not None for record in records)
    predicted = not told and bool(spans) and all(span.score is not None for span in spans)
    return [
        Row(
            record.text,
            None if predicted else record.spans,
            record.spans if predicted else record.predicted,
            record.part or name,
            record.text,
        )
        for record in records
    ]
