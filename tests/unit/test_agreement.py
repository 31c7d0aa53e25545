"""Two annotators: the arithmetic, and the service."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from db import ReadOnlyError, read_only
from experts.agreement import agree, cohen_kappa, word_types
from experts.errors import SamError
from experts.spans import Span
from tests.unit.review_support import Reviewed, make_session, open_services

TEXTS = ["Ada met Grace at Bled.", "Kim sailed the Orvenn.", "It rained.", "They left Bled."]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Reviewed]:
    services = open_services(tmp_path)
    yield make_session(services, TEXTS, {0: [Span(0, 3, "person", 0.9)]})
    services.close()


def say(session: Reviewed, who: str, number: int, *spans: Span, revision: int = 0) -> int:
    return session.services.agreement.annotate(
        session.id, session.ids[number], spans, who=who, revision=revision
    ).revision


# -- arithmetic --------------------------------------------------------------------------------

KINDS = st.lists(st.tuples(st.sampled_from("OPQ"), st.sampled_from("OPQ")), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(KINDS)
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    one, two = [a for a, _ in pairs], [b for _, b in pairs]
    mine = cohen_kappa(one, two)
    if len({*one, *two}) == 1:
        assert mine is None
    else:
        assert mine == pytest.approx(cohen_kappa_score(one, two), abs=1e-9)
        assert not math.isnan(mine or 0.0)


def test_words_have_the_types_of_all_spans_on_them() -> None:
    spans = [Span(0, 12, "person"), Span(4, 12, "family name")]
    assert word_types("Ada Lovelace left", spans) == [
        ("person",), ("family name", "person"), (),
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    *(
        st.lists(
            st.builds(lambda a, n, k: Span(a, a + n, k), st.integers(0, 12), st.integers(1, 6),
                      st.sampled_from(["person", "place"])),
            max_size=4,
        )
        for _ in range(2)
    )
)  # fmt: skip
def test_agreement_is_the_same_either_way(one: list[Span], two: list[Span]) -> None:
    text = "a b c d e f g h i j"
    there, back = agree([text], [one], [two]), agree([text], [two], [one])
    assert there.strict == back.strict
    assert there.partial == pytest.approx(back.partial)
    assert there.kappa == pytest.approx(back.kappa)
    whole = agree([text], [one], [one])
    assert (whole.strict, whole.partial) == (1, 1)
    assert whole.kappa in (1, None)


@pytest.mark.parametrize(
    ("text", "spans", "reason"),
    [
        ("It rained.", [], "neither has marked anything"),
        ("Bled", [Span(0, 4, "place")], "both call every word “place”"),
        (" ", [], "there are no words to compare"),
    ],
)
def test_kappa_says_why_it_is_not_defined(text: str, spans: list[Span], reason: str) -> None:
    found = agree([text], [spans], [spans])
    assert (found.kappa, found.reason, found.strict) == (None, reason, 1.0)


# -- the service -------------------------------------------------------------------------------


def test_each_annotates_apart_and_nothing_is_the_truth_yet(session: Reviewed) -> None:
    service = session.services.agreement
    assert say(session, "Ada", 0, Span(0, 3, "person"), Span(17, 21, "place")) == 1
    assert say(session, "Bo", 0, Span(0, 3, "person"), Span(17, 21, "ship")) == 1
    assert say(session, "Ada", 2) == 1
    assert [(a.name, a.sentences) for a in service.annotators(session.id)] == [
        ("Ada", 2),
        ("Bo", 1),
    ]
    assert service.done(session.id, who="Ada") == (session.ids[0], session.ids[2])
    mine = service.annotation(session.id, session.ids[0], who=" Ada ")
    assert mine is not None
    assert mine.spans == (Span(0, 3, "person"), Span(17, 21, "place"))
    assert service.annotation(session.id, session.ids[1], who="Ada") is None
    assert session.services.corrections.count(session.id) == 0
    assert session.review.sentence(session.id, session.ids[0]).status == "open"


def test_what_the_same_person_says_elsewhere_is_not_overwritten(session: Reviewed) -> None:
    service = session.services.agreement
    say(session, "Ada", 0, Span(0, 3, "person"))
    say(session, "Ada", 0, Span(0, 3, "ship"), revision=1)
    late = service.annotate(
        session.id, session.ids[0], [Span(0, 3, "place")], who="Ada", revision=1
    )
    assert late.conflict is not None
    assert (late.conflict.spans, late.revision) == ((Span(0, 3, "ship"),), 2)
    assert say(session, "Ada", 0, Span(0, 3, "ship"), revision=1) == 2, "the same again"
    events = session.services.store.events.of(session.id, session.ids[0], annotator="Ada")
    assert [(e.revision, e.after["spans"]) for e in events] == [
        (2, [[0, 3, "ship"]]), (1, [[0, 3, "person"]]),
    ]  # fmt: skip


def test_agreement_counts_what_both_have_annotated(session: Reviewed) -> None:
    service = session.services.agreement
    say(session, "Ada", 0, Span(0, 3, "person"), Span(8, 13, "person"), Span(17, 21, "place"))
    say(session, "Bo", 0, Span(0, 3, "person"), Span(8, 13, "person"), Span(14, 21, "place"))
    say(session, "Ada", 2)
    say(session, "Bo", 2)
    say(session, "Ada", 1, Span(0, 3, "person"))
    found = service.agreement(session.id, "Ada", "Bo")
    assert (found.sentences, found.words) == (2, 9)
    assert found.strict_f1 == pytest.approx(2 / 3)
    assert found.partial_f1 == pytest.approx(2.5 / 3)
    assert found.low <= found.strict_f1 <= found.high
    assert found.kappa is not None
    assert 0.7 < found.kappa < 1
    assert list(found.per_type) == ["person", "place"]
    place = found.per_type["place"]
    assert (place.tp, place.fp, place.fn) == (0, 1, 1)
    (differs,) = service.disagreements(session.id, "Ada", "Bo")
    assert (differs.sentence_id, differs.text) == (session.ids[0], TEXTS[0])
    assert (differs.a[-1], differs.b[-1]) == (Span(17, 21, "place"), Span(14, 21, "place"))


def test_only_types_that_both_looked_for_are_compared(session: Reviewed) -> None:
    say(session, "Ada", 0, Span(0, 3, "person"))
    session.services.types.set_text(session.id, "person, place, ship, town")
    say(session, "Bo", 0, Span(0, 3, "person"), Span(17, 21, "town"))
    service = session.services.agreement
    assert service.disagreements(session.id, "Ada", "Bo") == []
    assert service.agreement(session.id, "Ada", "Bo").strict_f1 == 1


def test_adjudicating_makes_the_correction_and_keeps_both_versions(session: Reviewed) -> None:
    service = session.services.agreement
    say(session, "Ada", 3, Span(10, 14, "place"))
    say(session, "Bo", 3)
    (open_one,) = service.disagreements(session.id, "Ada", "Bo")
    assert open_one.decided is None
    saved = service.adjudicate(session.id, session.ids[3], open_one.a, who="Cy")
    assert (saved.status, saved.conflict) == ("changed", None)
    (decided,) = service.disagreements(session.id, "Ada", "Bo")
    assert decided.decided == open_one.a
    (correction,) = session.services.corrections.list(session.id)
    assert (correction.spans, correction.who) == ((Span(10, 14, "place"),), "Cy")
    assert session.review.history(session.id, session.ids[3])[0].action == "adjudicate"


def test_what_does_not_fit_is_refused(session: Reviewed) -> None:
    service = session.services.agreement
    with pytest.raises(SamError, match="needs a name"):
        say(session, " ", 0)
    with pytest.raises(SamError, match="not one of your entity types"):
        say(session, "Ada", 0, Span(0, 3, "river"))
    with pytest.raises(SamError, match="does not lie inside"):
        say(session, "Ada", 0, Span(0, 99, "ship"))
    with pytest.raises(SamError, match="no longer among your texts"):
        service.annotate(session.id, 10**6, [], who="Ada", revision=0)
    with pytest.raises(SamError, match="the same person"):
        service.agreement(session.id, "Ada", "Ada")
    with pytest.raises(SamError, match="no sentence that both Ada and Bo"):
        service.agreement(session.id, "Ada", "Bo")
    with read_only(), pytest.raises(ReadOnlyError):
        say(session, "Ada", 0)
    assert service.annotators(session.id) == []


def test_the_name_of_an_annotator_comes_with_the_link(session: Reviewed) -> None:
    services = session.services
    token = services.links.create(session.id, "edit", label="Grace Hopper")
    opened = services.sessions.by_token(token)
    assert opened is not None
    assert services.agreement.name_of(opened) == "Grace Hopper"
    assert services.agreement.name_of(services.sessions.get(session.id)) == ""


def test_removed_texts_take_annotations_out_of_sight_and_back(session: Reviewed) -> None:
    services = session.services
    say(session, "Ada", 0, Span(0, 3, "person"))
    (file,) = services.corpus.files(session.id)
    services.corpus.remove_file(session.id, file.id)
    assert services.agreement.annotators(session.id) == []
    services.corpus.restore_file(session.id, file.id)
    assert [a.sentences for a in services.agreement.annotators(session.id)] == [1]
