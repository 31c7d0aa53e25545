"""Many sentences at once, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.models import Correction
from experts.errors import SamError
from experts.spans import Span
from experts.words import occurrences
from tests.unit.review_support import Reviewed, make_session, open_services

TEXTS = [
    "Bled is cold.",
    "Ada left Bled, not Bledsoe.",
    "Old Bled and new Bled.",
    "It rained in bled.",
    "Kim sailed.",
]
FOUND = {
    0: [Span(0, 4, "place", 0.95)],
    1: [Span(0, 3, "person", 0.9), Span(9, 13, "ship", 0.6)],
    2: [Span(0, 8, "place", 0.8)],
    4: [Span(0, 3, "person", 0.99)],
}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Reviewed]:
    services = open_services(tmp_path)
    yield make_session(services, TEXTS, FOUND)
    services.close()


def keys(session: Reviewed, number: int) -> list[tuple[int, int, str]]:
    return [span.key for span in session.spans(number)]


def statuses(session: Reviewed) -> list[str]:
    return [session.review.sentence(session.id, ident).status for ident in session.ids]


# -- the same words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "surface", "found"),
    [
        ("Bled, Bled-like, Bledsoe, XBled, Bled2", "Bled", [(0, 4), (6, 10)]),
        ("aa aa aa", "aa aa", [(0, 5)]),
        ("東京都は東京に", "東京", [(0, 2), (4, 6)]),
        ("cafe\u0301 cafe", "cafe", [(6, 10)]),
        ("नमस्ते नमस", "नमस", [(7, 10)]),
        ("ที่กรุงเทพมหานคร", "กรุงเทพ", [(3, 10)]),
        ("C++ and C", "C++", [(0, 3)]),
        ("_Bled_ Bled", "Bled", [(7, 11)]),
        ("👩🏽‍🚀 Ada 👩🏽‍🚀", "Ada", [(5, 8)]),
        ("Bled", "", []),
        ("(Bled)", "(Bled)", [(0, 6)]),
    ],
)
def test_words_are_found_whole(text: str, surface: str, found: list[tuple[int, int]]) -> None:
    assert list(occurrences(text, surface)) == found


def test_identical_mentions_are_those_that_are_not_marked_yet(session: Reviewed) -> None:
    found = session.review.identical(session.id, "Bled", "place")
    told = [(session.ids.index(m.sentence_id), m.start, m.end, m.has) for m in found]
    assert told == [(1, 9, 13, "ship"), (2, 4, 8, "place"), (2, 17, 21, None)]
    assert found[0].text == TEXTS[1]
    session.review.put(session.id, session.ids[1], [], revision=0, action="skip")
    assert {m.sentence_id for m in session.review.identical(session.id, "Bled", "place")} == {
        session.ids[2]
    }
    for nothing in ("", " ", "Xyz", "%"):
        assert session.review.identical(session.id, nothing, "place") == []


def test_applying_marks_everywhere_and_undoing_takes_it_back(session: Reviewed) -> None:
    review = session.review
    session.review.put(session.id, session.ids[2], [], revision=0, who="Ada")
    before = [keys(session, number) for number in range(5)]
    mentions = [
        (m.sentence_id, m.start, m.end) for m in review.identical(session.id, "Bled", "place")
    ]
    change = review.apply_identical(session.id, mentions, "place", who="Bo")
    assert (change.changed, change.skipped) == (2, 0)
    assert keys(session, 1) == [(0, 3, "person"), (9, 13, "place")]
    assert keys(session, 2) == [(4, 8, "place"), (17, 21, "place")]
    bulk = [review.sentence(session.id, ident).bulk for ident in session.ids]
    assert bulk == [False, True, False, False, False], "2 had been read"
    assert review.history(session.id, session.ids[1])[0].action == "apply_all"
    assert review.identical(session.id, "Bled", "place") == []
    undone = review.undo_bulk(session.id, change.id, who="Bo")
    assert (undone.changed, undone.skipped) == (2, 0)
    assert [keys(session, number) for number in range(5)] == before
    assert statuses(session) == ["open", "open", "changed", "open", "open"]
    again = review.undo_bulk(session.id, undone.id)
    assert again.changed == 2, "undoing can be undone"
    assert keys(session, 1) == [(0, 3, "person"), (9, 13, "place")]


def test_undoing_leaves_what_somebody_has_touched_since(session: Reviewed) -> None:
    review = session.review
    mentions = [
        (m.sentence_id, m.start, m.end) for m in review.identical(session.id, "Bled", "place")
    ]
    change = review.apply_identical(session.id, mentions, "place")
    review.put(session.id, session.ids[1], [], revision=1, who="Cy")
    undone = review.undo_bulk(session.id, change.id)
    assert (undone.changed, undone.skipped) == (1, 1)
    assert keys(session, 1) == []
    assert review.sentence(session.id, session.ids[1]).who == "Cy"


def test_applying_is_all_or_nothing_and_known_types_only(session: Reviewed) -> None:
    review = session.review
    with pytest.raises(SamError, match="not one of your entity types"):
        review.apply_identical(session.id, [(session.ids[0], 0, 4)], "lake")
    with pytest.raises(SamError, match="does not lie inside"):
        review.apply_identical(
            session.id, [(session.ids[3], 0, 2), (session.ids[0], 0, 400)], "place"
        )
    assert statuses(session) == ["open"] * 5
    gone = review.apply_identical(session.id, [(10**6, 0, 4)], "place")
    assert (gone.id, gone.changed, gone.skipped) == ("", 0, 1)


# -- all that is sure --------------------------------------------------------------------------


def test_the_preview_says_what_would_be_accepted(session: Reviewed) -> None:
    preview = session.review.above(session.id, 0.8)
    assert (preview.sentences, preview.spans) == (3, 3)
    shown = [session.ids.index(row.sentence.id) for row in preview.examples]
    assert shown == [2, 0, 4], "the least sure first"
    assert session.review.above(session.id, 1.0).examples == ()
    assert session.review.above(session.id, 0).sentences == 4


def test_accepting_and_undoing(session: Reviewed) -> None:
    review = session.review
    review.put(session.id, session.ids[4], [], revision=0)
    change = review.accept_above(session.id, 0.8, who="Ada")
    assert (change.changed, change.skipped) == (2, 0)
    assert statuses(session) == ["accepted", "open", "accepted", "open", "changed"]
    shown = review.sentence(session.id, session.ids[0])
    assert (shown.bulk, shown.who, shown.spans[0].score) == (True, "Ada", 0.95)
    read = review.put(session.id, session.ids[0], shown.spans, revision=1, action="accept")
    assert read.revision == 2
    assert not review.sentence(session.id, session.ids[0]).bulk, "now somebody has read it"
    undone = review.undo_bulk(session.id, change.id)
    assert (undone.changed, undone.skipped) == (1, 1)
    assert statuses(session) == ["accepted", "open", "open", "open", "changed"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_is_a_probability(session: Reviewed, threshold: float) -> None:
    with pytest.raises(SamError, match="is no probability"):
        session.review.accept_above(session.id, threshold)


def test_nothing_to_take_back_is_said(session: Reviewed) -> None:
    for bulk in ("", "0" * 32):
        with pytest.raises(SamError, match="nothing to take back"):
            session.review.undo_bulk(session.id, bulk)
    other = make_session(session.services, TEXTS, FOUND)
    change = session.review.accept_above(other.id, 0.8)
    with pytest.raises(SamError, match="nothing to take back"):
        session.review.undo_bulk(session.id, change.id)


def test_a_correction_keeps_its_birthday(session: Reviewed) -> None:
    review = session.review
    change = review.accept_above(session.id, 0.9)
    (first, *_rest) = session.services.corrections.list(session.id)
    review.put(session.id, session.ids[0], [], revision=1)
    (after, *_rest) = session.services.corrections.list(session.id)
    assert (after.created_at, after.sentence_id) == (first.created_at, first.sentence_id)
    assert after.updated_at > first.updated_at
    assert change.changed == session.services.corrections.count(session.id)
    with session.services.store.database.read() as connection:
        assert connection.query(Correction).count() == change.changed
