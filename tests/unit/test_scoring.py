"""Categories of right and wrong, against the libraries that others report numbers of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate.entities import Entity
from nervaluate.strategies import (
    EntityTypeEvaluation,
    ExactEvaluation,
    PartialEvaluation,
    StrictEvaluation,
)
from seqeval.metrics import f1_score, precision_score, recall_score

from experts.evaluate import evaluate
from experts.scoring import (
    Categories,
    boundary_scores,
    confusion,
    differences,
    partial_scores,
    type_scores,
    word_scores,
)
from experts.spans import Span, drop_overlaps
from experts.words import split_words

LABELS = ("person", "place", "ship")
SPANS = st.lists(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        st.integers(0, 30), st.integers(1, 8), st.sampled_from(LABELS),
    ),
    max_size=8,
)  # fmt: skip
FLAT = SPANS.map(drop_overlaps)
SENTENCES = st.lists(st.tuples(FLAT, FLAT), min_size=1, max_size=4)


def theirs(strategy: Any, true: list[Span], found: list[Span]) -> dict[str, int]:
    """What nervaluate counts; its ends are those of the last character."""
    entities = [[Entity(s.label, s.start, s.end - 1) for s in spans] for spans in (true, found)]
    result, _ = strategy.evaluate(*entities, list(LABELS))
    names = ("correct", "incorrect", "partial", "missed", "spurious")
    return {name: getattr(result, name) for name in names}


def ours(scores: Categories) -> dict[str, int]:
    names = ("correct", "incorrect", "partial", "missed", "spurious")
    return {name: getattr(scores, name) for name in names}


@settings(max_examples=250, deadline=None)
@given(FLAT, FLAT)
def test_categories_are_those_of_nervaluate(true: list[Span], found: list[Span]) -> None:
    for count, strategy in (
        (boundary_scores, ExactEvaluation()),
        (partial_scores, PartialEvaluation()),
        (type_scores, EntityTypeEvaluation()),
    ):
        assert ours(count([true], [found])) == theirs(strategy, true, found)
    strict = theirs(StrictEvaluation(), true, found)
    report = evaluate([true], [found]).micro
    assert report.tp == strict["correct"]
    assert report.fp == strict["incorrect"] + strict["spurious"]
    assert report.fn == strict["incorrect"] + strict["missed"]


@settings(max_examples=100, deadline=None)
@given(FLAT, FLAT)
def test_precision_recall_and_f1_are_those_of_nervaluate(
    true: list[Span], found: list[Span]
) -> None:
    for count, strategy in (
        (boundary_scores, ExactEvaluation()),
        (partial_scores, PartialEvaluation()),
        (type_scores, EntityTypeEvaluation()),
    ):
        entities = [[Entity(s.label, s.start, s.end - 1) for s in p] for p in (true, found)]
        expected, _ = strategy.evaluate(*entities, list(LABELS))
        mine = count([true], [found])
        assert mine.precision == pytest.approx(expected.precision)
        assert mine.recall == pytest.approx(expected.recall)
        assert mine.f1 == pytest.approx(expected.f1)


@settings(max_examples=100, deadline=None)
@given(SPANS, SPANS, st.randoms())
def test_the_order_of_spans_does_not_matter_even_when_they_overlap(
    true: list[Span], found: list[Span], random: Any
) -> None:
    for count in (boundary_scores, partial_scores, type_scores):
        before = count([true], [found])
        random.shuffle(true)
        random.shuffle(found)
        assert count([true], [found]) == before
        assert count([true], [true]).f1 == (1 if true else 0)


@settings(max_examples=100, deadline=None)
@given(SPANS, SPANS)
def test_every_span_is_told_of_once(true: list[Span], found: list[Span]) -> None:
    told = differences(true, found)
    assert sorted(d.true.key for d in told if d.true) == sorted({s.key for s in true})
    assert sorted(d.found.key for d in told if d.found) == sorted({s.key for s in found})
    right = {d.true.key for d in told if d.kind == "right" and d.true}
    assert right == {s.key for s in true} & {s.key for s in found}
    assert sum(confusion(told).values()) == len(told)
    for d in told:
        if d.true and d.found:
            assert d.true.overlaps(d.found)
            same = d.true.label == d.found.label
            assert (d.kind in ("right", "boundary")) == same


def test_differences_are_named() -> None:
    true = [
        Span(0, 3, "person"),
        Span(8, 13, "person"),
        Span(17, 21, "place"),
        Span(30, 36, "ship"),
    ]
    found = [Span(0, 3, "person"), Span(8, 13, "ship"), Span(15, 21, "place"), Span(24, 28, "ship")]
    told = differences(true, found)
    assert [d.kind for d in told] == ["right", "type", "boundary", "wrong", "missed"]
    assert confusion(told) == {
        ("", "ship"): 1, ("person", "person"): 1, ("person", "ship"): 1, ("place", "place"): 1,
        ("ship", ""): 1,
    }  # fmt: skip


def tags(text: str, spans: list[Span]) -> list[str]:
    """IOB2, of spans that begin and end with words."""
    row = []
    for word in split_words(text):
        span = next((s for s in spans if s.start <= word.start and word.end <= s.end), None)
        row.append(
            "O" if span is None else f"{'B' if word.start == span.start else 'I'}-{span.label}"
        )
    return row


@settings(max_examples=100, deadline=None)
@given(SENTENCES)
def test_the_standard_number_is_that_of_seqeval(
    sentences: list[tuple[list[Span], list[Span]]],
) -> None:
    """A word a character, so that every span is one of whole words."""
    text = " ".join("abcdefghijklmnopqrstuvwxyzabcdefghijklmnop")

    def placed(spans: list[Span]) -> list[Span]:
        return [Span(2 * s.start, 2 * s.end - 1, s.label) for s in spans]

    true = [placed(t) for t, _ in sentences]
    found = [placed(f) for _, f in sentences]
    mine = word_scores([text] * len(sentences), true, found)
    gold, pred = ([tags(text, s) for s in spans] for spans in (true, found))
    if any(true) and any(found):
        assert mine.f1 == pytest.approx(f1_score(gold, pred))
        assert mine.precision == pytest.approx(precision_score(gold, pred))
        assert mine.recall == pytest.approx(recall_score(gold, pred))


def test_words_count_whole_and_once() -> None:
    text = "Bledsoe met Ada Lovelace"
    inside = word_scores([text], [[Span(0, 4, "place")]], [[Span(0, 7, "place")]])
    assert (inside.tp, inside.fp, inside.fn) == (1, 0, 0)
    nested = [Span(12, 24, "person"), Span(16, 24, "place")]
    both = word_scores([text], [nested], [nested[:1]])
    assert (both.tp, both.fp, both.fn) == (1, 0, 0), "a tag cannot stand for both"


def test_long_spans_that_hardly_overlap_still_do() -> None:
    """nervaluate asks for one per cent of the true span."""
    true, found = [Span(0, 400, "person")], [Span(399, 420, "person")]
    assert type_scores([true], [found]).correct == 1
    assert theirs(EntityTypeEvaluation(), true, found)["correct"] == 0


def test_nothing_scores_nothing() -> None:
    empty = partial_scores([[]], [[]])
    assert (empty.precision, empty.recall, empty.f1) == (0, 0, 0)
