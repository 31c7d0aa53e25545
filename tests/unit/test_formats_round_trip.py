"""Every format writes what it says and reads it back: nothing drifts, in any script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experts.export.formats import Row, check, formats
from experts.export.formats.tagging import tag, tokens_of
from experts.formats import Record
from experts.formats.offsets import Utf16
from experts.spans import Span
from tests.unit.formats_support import back, rows, texts

many = settings(max_examples=100, deadline=None)


def told(records: Sequence[Record]) -> list[tuple[object, ...]]:
    return [(record.text, record.spans, record.predicted) for record in records]


@pytest.mark.parametrize("fmt", ["jsonl", "doccano", "label-studio"])
@many
@given(made=rows())
def test_lossless_formats_lose_nothing(fmt: str, made: list[Row]) -> None:
    assert not check(fmt, made)
    read = back(fmt, made)
    assert told(read.parsed.records) == [(row.text, row.spans, row.predicted) for row in made]
    assert [record.part for record in read.parsed.records] == [row.document for row in made]


@many
@given(made=rows())
def test_a_dataset_keeps_texts_and_entities(made: list[Row]) -> None:
    read = [(r.text, r.spans, r.predicted) for r in back("datasets", made).parsed.records]
    for (text, spans, predicted), row in zip(read, made, strict=True):
        assert text == row.text
        assert (spans if row.spans is not None else predicted) == row.best


@many
@given(made=rows())
def test_conll_restores_texts_and_the_likeliest_entities(made: list[Row]) -> None:
    made = [row for row in made if row.text.strip()]
    assume(made)
    read = back("conll", made).parsed.records
    assert [record.text for record in read] == [row.text for row in made]
    for record, row in zip(read, made, strict=True):
        tagged = tag(row.text, row.best or ())
        chosen = [(s.start, s.end, "_".join(s.label.split())) for *_, s in tagged.chosen]
        assert [span.key for span in record.spans or ()] == chosen


@many
@given(made=rows())
def test_docbin_restores_texts_overlaps_and_scores(made: list[Row]) -> None:
    read = back("spacy", made).parsed.records
    assert [record.text for record in read] == [row.text for row in made]
    for record, row in zip(read, made, strict=True):
        if row.best is None:
            assert record.spans is None
        else:
            expected = tuple(span for *_, span in tag(row.text, row.best).aligned)
            assert sorted(record.spans or ()) == sorted(expected)


@many
@given(made=rows())
def test_brat_restores_documents_and_entities(made: list[Row]) -> None:
    made = [Row(row.text, row.spans, row.predicted, "d", f"\n{row.text} end", 1) for row in made]
    read = back("brat", made).parsed.records
    assert [record.text for record in read] == [row.whole for row in made]
    breaks = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
    for record, row in zip(read, made, strict=True):
        expected = set()
        for span in row.best or ():
            surface = row.text[span.start : span.end]
            lines = [line for line in surface.splitlines() if line.strip()]
            start = span.start + surface.index(lines[0])
            end = span.start + surface.rindex(lines[-1]) + len(lines[-1])
            assert row.text[start:end].strip(breaks)
            expected.add((start + 1, end + 1, " ".join(span.label.split())))
        assert {span.key for span in record.spans or ()} == expected


@many
@given(made=rows())
def test_a_table_restores_the_sentences_that_have_entities(made: list[Row]) -> None:
    made = [Row(r.text, r.best, None, "d.txt") for r in made if r.best]
    merged = {
        row.text: {s for r in made if r.text == row.text for s in r.spans or ()} for row in made
    }
    assume(made)
    read = back("csv", made).parsed.records
    assert {record.text: {s.key for s in record.spans or ()} for record in read} == {
        text: {span.key for span in spans} for text, spans in merged.items()
    }


@many
@given(made=rows())
def test_what_check_counts_is_what_is_missing(made: list[Row]) -> None:
    """Without a word of warning everything comes back, in every format that SaM reads."""
    made = [replace(row, whole=row.text) for row in made if row.text.strip()]
    assume(made)
    for fmt in formats():
        if fmt.check(made):
            continue
        read = back(fmt.key, made).parsed.records
        best = [r.spans if r.spans is not None else r.predicted or () for r in read]
        found = [(r.text, {s.key for s in b}) for r, b in zip(read, best, strict=True)]
        plain = fmt.key == "conll"
        assert found == [
            (r.text, {(s.start, s.end, "_".join(s.label.split()) if plain else s.label)
                      for s in r.best or ()})
            for r in made
        ], fmt.key  # fmt: skip


@many
@given(text=texts)
def test_tokens_hold_no_white_space_and_leave_none_out(text: str) -> None:
    ranges = tokens_of(text)
    assert all(not any(char.isspace() for char in text[a:b]) for a, b in ranges)
    inside = {i for a, b in ranges for i in range(a, b)}
    assert [i for i, char in enumerate(text) if not char.isspace()] == sorted(inside)


@many
@given(text=texts, at=st.integers(0, 200))
def test_utf16_offsets_are_those_of_javascript(text: str, at: int) -> None:
    count = Utf16(text)
    point = at % (len(text) + 1)
    unit = len(text[:point].encode("utf-16-le")) // 2
    assert count.units(point) == unit
    assert count.points(unit) == point
    assert count.points(len(text.encode("utf-16-le")) // 2 + 1) is None
    assert count.points(-1) is None


def test_an_emoji_before_every_entity_moves_none() -> None:
    text = "😀 Ada 👩‍👩‍👧 met 🇬🇧 Bo"
    spans = tuple(Span(text.index(n), text.index(n) + len(n), "person") for n in ("Ada", "Bo"))
    row = Row(text, spans, None, "d", text)
    for fmt in formats():
        (record,) = back(fmt.key, [row]).parsed.records
        assert [record.text[s.start : s.end] for s in record.spans or record.predicted or ()] == [
            "Ada",
            "Bo",
        ], fmt.key
