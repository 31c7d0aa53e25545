"""How good a merge is, by the sentences that somebody has read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.models import Merge
from experts.evaluate import Score
from experts.scoring import Categories
from experts.spans import Span
from sam_ui.services import Services
from tests.unit.review_support import Reviewed, make_session, open_services

TEXTS = ["Ada met Grace at Bled.", "Kim sailed the Orvenn.", "It rained.", "Bo left Bledsoe."]
FOUND = {
    0: [Span(0, 3, "person", 0.9), Span(8, 13, "ship", 0.8), Span(14, 21, "place", 0.4)],
    1: [Span(0, 3, "person", 0.8)],
    2: [Span(0, 2, "person", 0.2)],
    3: [Span(0, 2, "person", 0.9), Span(8, 12, "place", 0.9)],
}
TRUE = {
    0: [Span(0, 3, "person"), Span(8, 13, "person"), Span(17, 21, "place")],
    1: [Span(0, 3, "person"), Span(15, 21, "ship")],
    2: [],
    3: [Span(0, 2, "person"), Span(8, 15, "place")],
}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = open_services(tmp_path)
    yield services
    services.close()


@pytest.fixture
def session(services: Services) -> Reviewed:
    return make_session(services, TEXTS, FOUND)


def correct(session: Reviewed, *which: int) -> None:
    for number in which:
        saved = session.review.put(session.id, session.ids[number], TRUE[number], revision=0)
        assert saved.conflict is None


def test_scores_compare_the_prediction_with_the_corrections(session: Reviewed) -> None:
    correct(session, 0, 1, 2, 3)
    scores = session.review.scores(session.id)
    assert (scores.merge_id, scores.sentences, scores.bulk) == (session.merge_id, 4, 0)
    assert scores.strict == Score(tp=3, fp=4, fn=4)
    assert scores.boundary == Categories(correct=4, incorrect=2, missed=1, spurious=1)
    assert scores.partial == Categories(correct=4, partial=2, missed=1, spurious=1)
    assert scores.type_only == Categories(correct=5, incorrect=1, missed=1, spurious=1)
    assert scores.standard == Score(tp=4, fp=3, fn=3), "“Bleds” is part of one word"
    assert scores.per_type == {
        "person": Score(tp=3, fp=1, fn=1),
        "place": Score(tp=0, fp=2, fn=2),
        "ship": Score(tp=0, fp=1, fn=1),
    }
    assert list(scores.per_type) == ["person", "place", "ship"]
    assert scores.confusion == {
        ("", "person"): 1, ("person", "person"): 3, ("person", "ship"): 1, ("place", "place"): 2,
        ("ship", ""): 1,
    }  # fmt: skip
    told = [(session.ids.index(e.sentence_id), e.kind) for e in scores.errors]
    assert told == [(0, "type"), (0, "boundary"), (1, "missed"), (2, "wrong"), (3, "boundary")]
    first = scores.errors[0]
    assert (first.true, first.text) == (Span(8, 13, "person"), TEXTS[0])
    assert first.found == Span(8, 13, "ship", 0.8)


def test_only_what_somebody_has_read_counts(session: Reviewed) -> None:
    review = session.review
    correct(session, 0)
    review.put(session.id, session.ids[2], [], revision=0, action="skip")
    assert review.accept_above(session.id, 0.8).changed == 2
    scores = review.scores(session.id)
    assert (scores.sentences, scores.bulk) == (1, 2)
    assert scores.strict == Score(tp=1, fp=2, fn=2)
    assert review.estimate(session.id).bulk == 2
    review.reopen(session.id, session.ids[0], revision=1)
    assert review.scores(session.id).sentences == 0


def test_a_merge_is_not_scored_by_what_it_was_believed(session: Reviewed) -> None:
    session.review.accept_above(session.id, 0.8)
    merges = session.services.merge
    assert merges.scores(session.id)[session.merge_id].truth is None
    correct(session, 0)
    assert merges.scores(session.id)[session.merge_id].truth == Score(tp=1, fp=2, fn=2)


def test_only_types_that_were_looked_for_count(session: Reviewed) -> None:
    session.services.corrections.put(
        session.id, session.ids[0], [Span(0, 3, "person")], types=["person"]
    )
    assert session.review.scores(session.id).strict == Score(tp=1, fp=0, fn=0)
    session.services.types.set_text(session.id, "place, ship")
    assert session.review.scores(session.id).strict == Score(tp=0, fp=0, fn=0)


def test_what_a_merge_has_learned_from_is_no_evidence(session: Reviewed) -> None:
    correct(session, 0, 1)
    with session.services.store.database.write() as connection:
        merge = connection.get(Merge, session.merge_id)
        assert merge is not None
        merge.details = {"learned": {"sentence_ids": [session.ids[0]]}}
    scores = session.review.scores(session.id)
    assert (scores.sentences, scores.learned) == (1, 1)
    assert scores.strict == Score(tp=1, fp=0, fn=1)
    estimate = session.review.estimate(session.id)
    assert (estimate.sentences_reviewed, estimate.learned) == (1, 1)


def test_without_corrections_or_predictions_there_is_nothing(session: Reviewed) -> None:
    scores = session.review.scores(session.id)
    assert (scores.sentences, scores.strict, scores.errors) == (0, Score(0, 0, 0), ())
    estimate = session.review.estimate(session.id)
    assert (estimate.enough, estimate.sentences_reviewed, estimate.biased) == (False, 0, False)
    correct(session, 0)
    session.services.merge.delete(session.id, session.merge_id)
    assert session.review.scores(session.id).merge_id is None
    assert session.review.scores(session.id).sentences == 0


# -- what is to be expected of the rest ----------------------------------------------------------


def many(services: Services, count: int = 60) -> Reviewed:
    """Half of what is found with little probability is wrong; the sure ones are right."""
    texts = [f"Ada wrote letter {i} to Bled." for i in range(count)]
    found = {
        i: [Span(0, 3, "person", 0.9), Span(len(text) - 5, len(text) - 1, "place", 0.1 + i / 100)]
        for i, text in enumerate(texts)
    }
    return make_session(services, texts, found)


def read(session: Reviewed, order: str, count: int) -> None:
    """The less sure half holds no place."""
    for ident in session.review.queue(session.id, order=order).ids[:count]:
        number = session.ids.index(ident)
        spans = session.spans(number)[: 1 if number < 30 else 2]
        session.review.put(session.id, ident, spans, revision=0, order=order)


def test_an_estimate_rests_on_random_ones_where_these_are_enough(services: Services) -> None:
    session = many(services)
    read(session, "random", 24)
    estimate = session.review.estimate(session.id)
    assert (estimate.enough, estimate.biased, estimate.sentences_reviewed) == (True, False, 24)
    truth = 2 * 90 / (90 + 120)
    assert estimate.low <= truth <= estimate.high
    assert estimate.low < estimate.f1 < estimate.high
    assert session.review.estimate(session.id) == estimate, "seeded"
    for ident in session.review.queue(session.id, status="open").ids[:8]:
        session.review.put(session.id, ident, [], revision=0, order="doubt")
    assert session.review.estimate(session.id).f1 == estimate.f1


def test_an_estimate_from_doubtful_ones_says_that_it_is_biased(services: Services) -> None:
    session = many(services)
    read(session, "doubt", 24)
    estimate = session.review.estimate(session.id)
    assert (estimate.enough, estimate.biased) == (True, True)
    assert estimate.f1 < 2 * 90 / (90 + 120), "the doubtful ones are worse than the rest"


def test_too_few_are_not_enough(services: Services) -> None:
    session = many(services)
    read(session, "random", 9)
    estimate = session.review.estimate(session.id)
    assert (estimate.enough, estimate.biased) == (False, False)
    assert estimate.spans <= 18


def test_the_order_in_which_a_sentence_was_first_read_stays(services: Services) -> None:
    session, spans = many(services), [Span(0, 3, "person")]
    ids = session.review.queue(session.id, order="random").ids
    for ident in ids[:20]:
        session.review.put(session.id, ident, [], revision=0, order="random")
        session.review.put(session.id, ident, spans, revision=1, order="doubt")
    estimate = session.review.estimate(session.id)
    assert (estimate.sentences_reviewed, estimate.enough, estimate.biased) == (20, True, False)
    for ident in ids[20:40]:
        session.services.corrections.put(session.id, ident, spans)
        session.review.put(session.id, ident, [], revision=1, order="random")
    assert session.review.estimate(session.id) == estimate, "who knows how those were chosen"
