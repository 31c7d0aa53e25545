"""CoNLL-2003 columns: token, ``-X-``, the spaces after it, its IOB2 tag.

The words are those that SaM's own models read. The third column, a chunk in the original, notes the
white space (:mod:`experts.formats.spacing`), so that SaM restores the text exactly; other programs
read the first and the last column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experts.export.formats.base import Entry, ExportFormat, Losses, Row, unlabelled
from experts.export.formats.tagging import Tagged, tag, tagging_losses
from experts.formats.spacing import note_of

__all__ = ["CONLL"]

_BREAK = "-DOCSTART- -X- O O\n\n"


def _build(rows: Sequence[Row]) -> Iterator[Entry]:
    parts: list[str] = []
    document: str | None = None
    for row in rows:
        tagged = tag(row.text, row.best or ())
        if not tagged.tokens:
            continue
        if row.document != document:
            parts.append(_BREAK)
            document = row.document
        parts.append(_sentence(row.text, tagged))
    yield "annotations.conll", "".join(parts).encode("utf-8", "replace")


def _sentence(text: str, tagged: Tagged) -> str:
    ends = [*(start for start, _ in tagged.tokens[1:]), len(text)]
    lines: list[str] = []
    for (start, end), until, label in zip(tagged.tokens, ends, tagged.tags(), strict=True):
        before = text[:start] if not lines else ""
        note = note_of(text[end:until], before, last=len(lines) + 1 == len(ends))
        lines.append(f"{text[start:end]} -X- {note} {label}\n")
    return "".join(lines) + "\n"


def _check(rows: Sequence[Row]) -> Losses:
    labels = {span.label for row in rows for span in row.best or ()}
    same = len(labels) - len({"_".join(label.split()) for label in labels})
    wordless = sum(not row.text.strip() for row in rows)
    return tagging_losses(
        rows,
        overlaps=True,
        more=[
            (wordless, "text without words is left out", "texts without words are left out"),
            unlabelled([row for row in rows if row.text.strip()]),
            (
                same,
                "type is no longer told from another, which differs in spaces only",
                "types are no longer told from others, which differ in spaces only",
            ),
        ],
    )


CONLL = ExportFormat(
    key="conll",
    title="CoNLL-2003 (IOB2)",
    ending=".conll",
    opens="most trainers of taggers: flair, spaCy convert, Hugging Face scripts, seqeval",
    cannot="overlapping entities, entities that begin or end inside a word, probabilities, "
    "what a person has reviewed; spaces in the names of types become underscores",
    check=_check,
    build=_build,
)
