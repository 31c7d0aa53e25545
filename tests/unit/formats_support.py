"""Texts of many scripts with entities anywhere in them, and a way out to a file and back."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from hypothesis import strategies as st

from experts.export.formats import Row, get
from experts.formats import Options, ReadFile, read_file
from experts.spans import Span

PIECES = [
    *("Ada", "p53", "don't", "l’été", "e\u0301te\u0301", "Ångström", "U.S.", "x=1", "#", "'", '"'),
    *("東京", "ひらがな", "한국어", "ภาษาไทย", "हिन्दी", "நன்றி", "עִבְרִית", "العَرَبِيَّة", "\u0600 7"),
    *("😀", "👩‍👩‍👧", "👍🏽", "🇬🇧", "𝒳", "𐍈", "…", "–", "(", ")", "|", ",", ";", "\\", "<b>&amp;"),
    *(" ", " ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2028", "\u3000", "\u200b", "\u200f"),
    *("-DOCSTART-", "O", "B-PER", "=SUM(A1)", "@x", "+1", "-1"),
]
LABELS = ["person", "political party", "政党", "größe", "a_b", "B-C", '"q" <x>', "= x", "emoji 😀"]

texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join)


@st.composite
def spans(draw: st.DrawFn, text: str, scored: bool = False) -> tuple[Span, ...]:
    """Spans anywhere, overlapping and inside words, but not of white space only."""
    found: dict[tuple[int, int, str], Span] = {}
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 12)))
        label = draw(st.sampled_from(LABELS))
        score = draw(st.integers(0, 100)) / 100 if scored else None
        if text[start:end].strip():
            found[start, end, label] = Span(start, end, label, score)
    return tuple(sorted(found.values(), key=lambda span: span.key))


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Rows that a person has reviewed, that only a model has read, and that nobody has."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        text = draw(texts)
        gold = draw(spans(text)) if draw(st.booleans()) else None
        predicted = draw(spans(text, scored=True)) if draw(st.booleans()) else None
        made.append(Row(text, gold, predicted, draw(st.sampled_from(["", "report.pdf, page 4"]))))
    return made


def exported(fmt: str, rows: Sequence[Row]) -> tuple[str, bytes]:
    """What a person would be handed: a name with the format's ending, and the bytes."""
    chosen = get(fmt)
    entries = list(chosen.build(rows))
    if chosen.ending != ".zip":
        return f"file{chosen.ending}", entries[0][1]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return "file.zip", buffer.getvalue()


def back(fmt: str, rows: Sequence[Row]) -> ReadFile:
    """The same rows, written and read again."""
    return read_file(*exported(fmt, rows), Options())
