"""In which order sentences come, and why."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import event

from db.records import ExpertRecord, ScoreRecord
from experts.errors import SamError
from experts.spans import Span
from sam_ui.services import Services
from sam_ui.services.review_queue import percent
from tests.unit.review_support import TYPES, Reviewed, make_session, open_services

TEXTS = [
    "Ada met Grace at Bled.",
    "Kim sailed the Orvenn.",
    "It rained.",
    "The Orvenn left Bled.",
    "Grace slept.",
]
FOUND = {
    0: [Span(0, 3, "person", 0.9), Span(17, 21, "place", 0.41)],
    1: [Span(0, 3, "person", 0.8), Span(15, 21, "ship", 0.7)],
    3: [Span(4, 10, "ship", 0.97), Span(16, 20, "place", 0.96)],
    4: [Span(0, 5, "person", 0.3)],
}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = open_services(tmp_path)
    yield services
    services.close()


@pytest.fixture
def session(services: Services) -> Reviewed:
    return make_session(services, TEXTS, FOUND)


def numbers(session: Reviewed, **asked: Any) -> list[int]:
    return [session.ids.index(ident) for ident in session.review.queue(session.id, **asked).ids]


def confirm(session: Reviewed, *which: int) -> None:
    for number in which:
        shown = session.review.sentence(session.id, session.ids[number])
        session.review.put(
            session.id, session.ids[number], shown.spans, revision=shown.revision, action="accept"
        )


def add_match(session: Reviewed, answers: Mapping[str, Sequence[Sequence[Span] | None]]) -> None:
    """A match that probed the first sentences."""
    store, count = session.services.store, len(next(iter(answers.values())))
    store.experts.remember([ExpertRecord(name, name, name.title(), {}) for name in answers])
    store.runs.add(
        session.id, "match", corpus_revision=1, types_revision=1,
        params={"types": list(TYPES), "samples": count, "k": 1, "seed": 0},
        details={
            "probe": [[session.ids[i], session.texts[i], None] for i in range(count)], "single": {},
            "by_similarity": {}, "by_probe": {}, "map_points": [], "map_texts": [],
            "map_experts": {}, "pool": {},
        },
        scores=[
            ScoreRecord(
                name, "probe", 0.5,
                details={"answers": [
                    None if spans is None else [[*s.key, s.score] for s in spans] for spans in said
                ]},
            )
            for name, said in answers.items()
        ],
    )  # fmt: skip


# -- by doubt ----------------------------------------------------------------------------------


def test_the_least_sure_come_first_and_those_without_spans_in_the_middle(session: Reviewed) -> None:
    assert numbers(session) == [4, 0, 1, 2, 3]
    doubts = [session.review.sentence(session.id, ident).doubt for ident in session.ids]
    assert all(0 <= doubt <= 1 for doubt in doubts)
    assert sorted(doubts, reverse=True) == [doubts[i] for i in (4, 0, 1, 2, 3)]


def test_a_type_that_is_confirmed_raises_no_doubt_any_more(session: Reviewed) -> None:
    before = session.review.sentence(session.id, session.ids[0])
    assert before.why == (
        "least sure: “Bled” as place, 41 %; nobody has confirmed an entity of type “person” yet; "
        "nobody has confirmed an entity of type “place” yet"
    )
    assert before.doubt == pytest.approx(0.59 + 0.41 * 0.25)
    confirm(session, 3, 4)
    after = session.review.sentence(session.id, session.ids[0])
    assert after.why == "least sure: “Bled” as place, 41 %"
    assert after.doubt == pytest.approx(0.59)


def test_what_was_accepted_in_bulk_confirms_no_type(session: Reviewed) -> None:
    assert session.review.accept_above(session.id, 0.9).changed == 1
    assert "“place” yet" in session.review.sentence(session.id, session.ids[0]).why


def test_experts_that_disagree_raise_the_doubt(session: Reviewed) -> None:
    confirm(session, 1, 3)
    bled, ada = Span(16, 20, "place", 0.9), Span(0, 3, "person", 0.9)
    before = session.review.sentence(session.id, session.ids[3])
    assert before.voters == {}
    add_match(
        session,
        {
            "astro": [[ada], None, [], [bled]],
            "lake": [[ada], [], [], []],
            "law": [[ada], [], None, [bled]],
            "sea": [[ada], [], [], []],
        },
    )
    first = session.review.sentence(session.id, session.ids[0])
    assert first.voters == {"0:3:person": ("Astro", "Lake", "Law", "Sea")}
    assert "disagree" not in first.why
    after = session.review.sentence(session.id, session.ids[3])
    assert after.voters == {"16:20:place": ("Astro", "Law")}
    assert "the experts disagree: 2 of 4 found “Bled” as place" in after.why
    assert after.doubt == pytest.approx(before.doubt + (1 - before.doubt) / 2)
    assert numbers(session).index(3) < numbers(session).index(1)


def test_before_anything_is_predicted_there_is_an_order_all_the_same(services: Services) -> None:
    session = make_session(services, TEXTS, {})
    services.merge.delete(session.id, session.merge_id)
    assert numbers(session) == [0, 1, 2, 3, 4]
    shown = session.review.sentence(session.id, session.ids[0])
    assert (shown.doubt, shown.why, shown.spans) == (0.5, "nothing has been predicted yet", ())


def test_spans_of_removed_types_are_not_shown(session: Reviewed) -> None:
    session.services.types.set_text(session.id, "person, ship")
    assert [s.label for s in session.review.sentence(session.id, session.ids[0]).spans] == [
        "person"
    ]
    assert numbers(session, types=["place"]) == []


@pytest.mark.parametrize(("share", "said"), [(0.414, "41 %"), (0.999, "99 %"), (1.0, "100 %")])
def test_percentages_do_not_promise_too_much(share: float, said: str) -> None:
    assert percent(share) == said


# -- other orders, filters ---------------------------------------------------------------------


def test_random_is_seeded_and_stays_when_some_are_done(session: Reviewed) -> None:
    first = numbers(session, order="random", seed=3)
    assert sorted(first) == [0, 1, 2, 3, 4]
    assert numbers(session, order="random", seed=3) == first
    assert any(numbers(session, order="random", seed=seed) != first for seed in range(4, 9))
    confirm(session, first[0])
    assert numbers(session, order="random", seed=3, status="open") == first[1:]
    copy = session.services.sessions.duplicate(session.id)
    theirs = session.review.queue(copy.id, order="random", seed=3).ids
    positions = [session.review.sentence(copy.id, i).sentence.position for i in theirs]
    assert positions == first


def test_diverse_takes_turns_among_documents_and_what_was_found(services: Services) -> None:
    texts = [f"Ada wrote letter {i}." for i in range(12)] + ["The Orvenn sank.", "It rained."]
    found = {i: [Span(0, 3, "person", 0.9)] for i in range(12)} | {12: [Span(4, 10, "ship", 0.9)]}
    session = make_session(services, texts, found, files=2)
    first = numbers(session, order="diverse")
    assert sorted(first) == list(range(14))
    assert {12, 13} <= set(first[:6])
    assert {number // 7 for number in first[:4]} == {0, 1}
    confirm(session, first[0])
    assert numbers(session, order="diverse", status="open") == first[1:]


def test_filters_and_progress(session: Reviewed) -> None:
    review = session.review
    confirm(session, 0)
    review.put(session.id, session.ids[1], [Span(15, 21, "place")], revision=0)
    review.put(session.id, session.ids[2], [], revision=0, action="skip")
    place = {"order": "position"}
    assert numbers(session, status="open", **place) == [3, 4]
    assert numbers(session, status="reviewed", **place) == [0, 1]
    assert numbers(session, status="accepted", **place) == [0]
    assert numbers(session, status="changed", **place) == [1]
    assert numbers(session, status="skipped", **place) == [2]
    assert numbers(session, types=["ship"], **place) == [3], "1 has been corrected"
    assert numbers(session, types=["place", "person"], **place) == [0, 1, 3, 4]
    assert numbers(session, search=" ORVENN ", **place) == [1, 3]
    assert numbers(session, search="100%", **place) == []
    queue = review.queue(session.id, status="open", offset=1, **place)
    assert (queue.ids, queue.total) == ((session.ids[4],), 2)
    assert (queue.reviewed, queue.skipped, queue.sentences) == (2, 1, 5)


def test_what_was_reviewed_before_a_type_was_added_can_be_looked_at_again(
    session: Reviewed,
) -> None:
    confirm(session, 0, 3)
    assert numbers(session, status="again") == []
    session.services.types.set_text(session.id, "person, place, ship, lake")
    confirm(session, 1)
    assert numbers(session, status="again", order="position") == [0, 3]
    shown = session.review.sentence(session.id, session.ids[0])
    assert shown.unasked == ("lake",)
    assert shown.why.startswith("“lake” was added after it was reviewed; least sure")
    confirm(session, 0)
    assert session.review.sentence(session.id, session.ids[0]).unasked == ()
    assert numbers(session, status="again") == [3]


def test_what_is_unknown_is_refused(session: Reviewed) -> None:
    for asked in ({"order": "size"}, {"status": "lost"}):
        with pytest.raises(SamError, match="cannot be listed"):
            session.review.queue(session.id, **asked)
    with pytest.raises(SamError, match="merge does not exist"):
        session.review.queue(session.id, merge_id="0" * 32)
    with pytest.raises(SamError, match="session does not exist"):
        session.review.queue("0" * 32)


def test_new_texts_and_predictions_are_seen_at_once(session: Reviewed) -> None:
    services = session.services
    assert session.review.queue(session.id).total == 5
    services.corpus.add_text(session.id, "Bo left.")
    queue = session.review.queue(session.id, order="position")
    assert queue.total == 6
    rows = services.store.corpus.sentences(session.id)
    record = services.store.session(session.id)
    spans = [[Span(0, 2, "person", 0.01)] if row.id == queue.ids[-1] else [] for row in rows]
    services.predict.store(record, session.merge_id, rows, spans)
    assert session.review.queue(session.id).ids[0] == queue.ids[-1]


# -- size --------------------------------------------------------------------------------------


def test_many_sentences_take_few_statements_and_little_time(services: Services) -> None:
    random, names = Random(0), ("Ada", "Bled", "Orvenn")
    texts = [f"Letter {i} of {random.choice(names)}." for i in range(3000)]
    found = {
        i: [Span(text.index("of") + 3, len(text) - 1, random.choice(TYPES), random.random())]
        for i, text in enumerate(texts)
        if i % 3
    }
    session = make_session(services, texts, found, files=5)
    statements: list[str] = []
    engine = services.store.database.engine
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    counts = []
    for order in ("doubt", "random", "diverse", "position"):
        statements.clear()
        started = time.process_time()
        assert session.review.queue(session.id, order=order, types=["ship"]).sentences == 3000
        assert time.process_time() - started < 2
        counts.append(len(statements))
    assert max(counts) < 25
    statements.clear()
    session.review.sentences(session.id, session.ids[:200])
    assert len(statements) < 25
