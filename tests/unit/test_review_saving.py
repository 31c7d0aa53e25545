"""Every action is kept, can be undone, and nobody's is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db import ReadOnlyError, read_only
from db.models import Event, Review
from experts.errors import SamError
from experts.spans import Span
from tests.unit.review_support import Reviewed, make_session, open_services

TEXTS = ["Ada met Grace at Bled.", "Kim sailed the Orvenn.", "It rained."]
ADA, BLED, GRACE = Span(0, 3, "person", 0.9), Span(17, 21, "place", 0.41), Span(8, 13, "person")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Reviewed]:
    services = open_services(tmp_path)
    yield make_session(services, TEXTS, {0: [ADA, BLED], 1: [Span(0, 3, "person", 0.8)]})
    services.close()


def key(span: Span) -> Span:
    return Span(*span.key)


def test_what_is_open_shows_the_prediction(session: Reviewed) -> None:
    shown = session.review.sentence(session.id, session.ids[0])
    assert (shown.status, shown.revision, shown.who, shown.updated_at) == ("open", 0, "", None)
    assert shown.spans == shown.predicted == (ADA, BLED)
    assert shown.sentence.text == TEXTS[0]
    assert session.review.history(session.id, session.ids[0]) == []


def test_every_action_is_an_event_and_the_new_state(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    first = review.put(session.id, ident, [ADA, BLED, GRACE], revision=0, who="Ada")
    assert (first.revision, first.status, first.conflict) == (1, "changed", None)
    second = review.put(
        session.id, ident, [ADA, BLED, GRACE], revision=1, who="Bo", action="accept"
    )
    assert (second.revision, second.status) == (2, "changed")
    shown = review.sentence(session.id, ident)
    assert shown.spans == (ADA, GRACE, BLED), "the model's own spans keep its scores"
    assert (shown.status, shown.revision, shown.who) == ("changed", 2, "Bo")
    (kept,) = session.services.corrections.list(session.id)
    assert kept.spans == (key(ADA), GRACE, key(BLED))
    assert kept.types == ("person", "place", "ship")
    newest, oldest = review.history(session.id, ident)
    assert (oldest.who, oldest.action, oldest.revision) == ("Ada", "edit", 1)
    assert oldest.before == (key(ADA), key(BLED))
    assert oldest.after == newest.before == newest.after == (key(ADA), GRACE, key(BLED))
    assert (oldest.status_before, oldest.status_after) == ("open", "changed")
    assert oldest.at < newest.at


def test_accepting_what_was_found_is_accepted_and_twice_is_once(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    for _ in range(2):
        saved = review.put(
            session.id, ident, [BLED, ADA, ADA], revision=0, who="Ada", action="accept"
        )
        assert (saved.revision, saved.status, saved.conflict) == (1, "accepted", None)
    assert len(review.history(session.id, ident)) == 1


def test_skipping_leaves_no_correction(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    review.put(session.id, ident, [GRACE], revision=0)
    saved = review.put(session.id, ident, [GRACE], revision=1, action="skip")
    assert (saved.status, saved.revision) == ("skipped", 2)
    assert session.services.corrections.count(session.id) == 0
    assert review.sentence(session.id, ident).spans == (ADA, BLED)
    back = review.put(session.id, ident, [GRACE], revision=2, action="undo")
    assert (back.status, back.revision) == ("changed", 3)
    assert session.services.corrections.count(session.id) == 1


def test_undoing_everything_opens_the_sentence_again(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    review.put(session.id, ident, [ADA], revision=0)
    review.put(session.id, ident, [ADA, GRACE], revision=1)
    assert review.put(session.id, ident, [ADA], revision=2, action="undo").status == "changed"
    undone = review.put(session.id, ident, [ADA, BLED], revision=3, action="undo")
    assert (undone.status, undone.revision) == ("open", 4)
    assert session.services.corrections.count(session.id) == 0
    redone = review.put(session.id, ident, [ADA], revision=4, action="redo")
    assert redone.status == "changed"
    accepted = review.put(session.id, ident, [ADA, BLED], revision=5, action="accept")
    assert accepted.status == "accepted"
    assert [e.action for e in review.history(session.id, ident)] == [
        "accept", "redo", "undo", "undo", "edit", "edit",
    ]  # fmt: skip


def test_undoing_an_acceptance_opens_and_redoing_accepts(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    review.put(session.id, ident, [ADA, BLED], revision=0, action="accept")
    assert review.put(session.id, ident, [ADA, BLED], revision=1, action="undo").status == "open"
    redone = review.put(session.id, ident, [ADA, BLED], revision=2, action="redo")
    assert (redone.status, redone.revision) == ("accepted", 3)


def test_of_two_people_nobody_is_overwritten_unseen(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    review.put(session.id, ident, [ADA, GRACE], revision=0, who="Ada")
    late = review.put(session.id, ident, [BLED], revision=0, who="Bo")
    assert late.conflict is not None
    assert (late.conflict.who, late.conflict.revision) == ("Ada", 1)
    assert late.conflict.spans == (key(ADA), GRACE)
    assert (late.revision, late.status) == (1, "changed")
    assert len(review.history(session.id, ident)) == 1
    alike = review.put(session.id, ident, [GRACE, ADA], revision=0, who="Bo", action="accept")
    assert (alike.conflict, alike.revision) == (None, 2)
    forced = review.put(session.id, ident, [BLED], revision=0, who="Bo", force=True)
    assert (forced.conflict, forced.revision) == (None, 3)
    newest = review.history(session.id, ident)[0]
    assert (newest.before, newest.after) == ((key(ADA), GRACE), (key(BLED),))


def test_reopening_counts_the_prediction_again_and_minds_others(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    assert review.reopen(session.id, ident, revision=0).revision == 0
    review.put(session.id, ident, [GRACE], revision=0, who="Ada")
    late = review.reopen(session.id, ident, revision=0, who="Bo")
    assert late.conflict is not None
    assert late.conflict.spans == (GRACE,)
    saved = review.reopen(session.id, ident, revision=1, who="Bo")
    assert (saved.status, saved.revision) == ("open", 2)
    shown = review.sentence(session.id, ident)
    assert (shown.status, shown.spans, shown.revision) == ("open", (ADA, BLED), 2)
    assert session.services.corrections.count(session.id) == 0
    stale = review.put(session.id, ident, [GRACE], revision=1, who="Ada")
    assert stale.conflict is not None
    assert (stale.conflict.status, stale.conflict.who) == ("open", "Bo")


def test_spans_may_overlap_here_but_not_in_match(session: Reviewed) -> None:
    nested = [Span(0, 3, "person"), Span(0, 13, "ship"), Span(0, 3, "place"), Span(0, 3, "person")]
    session.review.put(session.id, session.ids[0], nested, revision=0)
    assert session.spans(0) == (ADA, Span(0, 3, "place"), Span(0, 13, "ship"))
    with pytest.raises(SamError, match="overlap"):
        session.services.corrections.put(session.id, session.ids[0], nested)


@pytest.mark.parametrize(
    ("spans", "what"),
    [
        ([Span(0, 3, "river")], "“river” is not one of your entity types."),
        ([Span(0, 300, "place")], "does not lie inside"),
        ([Span(-1, 3, "place")], "does not lie inside"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_kept(
    session: Reviewed, spans: list[Span], what: str
) -> None:
    with pytest.raises(SamError, match=what):
        session.review.put(session.id, session.ids[0], spans, revision=0)
    with pytest.raises(SamError, match="nothing that can be done"):
        session.review.put(session.id, session.ids[0], [], revision=0, action="paint")
    with session.services.store.database.read() as connection:
        for table in (Event, Review):
            assert connection.scalar(select(func.count()).select_from(table)) == 0


def test_looking_only_changes_nothing(session: Reviewed) -> None:
    review, ident = session.review, session.ids[0]
    with read_only():
        for write in (
            lambda: review.put(session.id, ident, [], revision=0),
            lambda: review.accept_above(session.id, 0.1),
            lambda: review.apply_identical(session.id, [(ident, 0, 3)], "ship"),
        ):
            with pytest.raises(ReadOnlyError):
                write()
        assert review.sentence(session.id, ident).status == "open"
        assert review.queue(session.id).total == 3


def test_another_session_is_out_of_reach(session: Reviewed) -> None:
    other = make_session(session.services, ["Bo left."], {})
    for call in (
        lambda: session.review.put(other.id, session.ids[0], [], revision=0),
        lambda: session.review.sentence(other.id, session.ids[0]),
        lambda: session.review.reopen(other.id, session.ids[0], revision=0),
    ):
        with pytest.raises(SamError, match="no longer among your texts"):
            call()
    session.review.put(session.id, session.ids[0], [], revision=0)
    assert session.review.history(other.id, session.ids[0]) == []


def test_match_and_review_see_the_same_truth(session: Reviewed) -> None:
    corrections, ident = session.services.corrections, session.ids[0]
    corrections.put(session.id, ident, [GRACE], who="Ada")
    shown = session.review.sentence(session.id, ident)
    assert (shown.status, shown.spans, shown.revision) == ("changed", (GRACE,), 1)
    session.review.put(session.id, ident, [], revision=1, who="Bo")
    assert corrections.list(session.id)[0].spans == ()
    assert corrections.remove(session.id, ident)
    assert session.review.sentence(session.id, ident).status == "open"
    assert [e.action for e in session.review.history(session.id, ident)] == [
        "reopen", "edit", "edit",
    ]  # fmt: skip


def test_offsets_count_code_points(tmp_path: Path) -> None:
    text = "Zoë met 👩🏽‍🚀 Ada\tand नमस्ते."
    services = open_services(tmp_path)
    session = make_session(services, [text], {})
    start = text.index("Ada")
    session.review.put(session.id, session.ids[0], [Span(start, start + 3, "person")], revision=0)
    (span,) = session.spans(0)
    assert text[span.start : span.end] == "Ada"
    services.close()


def test_removed_and_restored_files_keep_their_reviews(session: Reviewed) -> None:
    services, review = session.services, session.review
    review.put(session.id, session.ids[0], [GRACE], revision=0, who="Ada")
    (file,) = services.corpus.files(session.id)
    services.corpus.remove_file(session.id, file.id)
    assert review.queue(session.id).sentences == 0
    assert (review.queue(session.id).reviewed, review.scores(session.id).sentences) == (0, 0)
    with pytest.raises(SamError, match="no longer among your texts"):
        review.put(session.id, session.ids[0], [], revision=1)
    services.corpus.restore_file(session.id, file.id)
    assert review.queue(session.id).reviewed == 1
    assert session.spans(0) == (GRACE,)
    assert len(review.history(session.id, session.ids[0])) == 1


def test_a_renamed_type_is_told_of_and_still_scored(session: Reviewed) -> None:
    services, review, ident = session.services, session.review, session.ids[0]
    review.put(session.id, ident, [ADA, BLED], revision=0, who="Ada", action="accept")
    review.put(session.id, session.ids[2], [], revision=0)
    services.types.change(session.id, "person", to="human", definition="")
    shown = review.sentence(session.id, ident)
    assert [span.label for span in shown.spans] == ["human", "place"]
    assert (shown.revision, shown.who, shown.status) == (2, "Ada", "accepted")
    newest = review.history(session.id, ident)[0]
    assert (newest.action, newest.who, newest.before) == ("rename", "", (key(ADA), key(BLED)))
    assert len(review.history(session.id, session.ids[2])) == 1, "it has no such span"
    assert review.scores(session.id).strict.tp == 2


def test_a_copy_has_its_own_reviews(session: Reviewed) -> None:
    services, review = session.services, session.review
    review.put(session.id, session.ids[0], [GRACE], revision=0, who="Ada")
    services.agreement.annotate(session.id, session.ids[1], [], who="Bo", revision=0)
    copy = services.sessions.duplicate(session.id)
    (ident, *others) = review.queue(copy.id, order="position").ids
    theirs = review.sentence(copy.id, ident)
    assert (theirs.spans, theirs.status, theirs.revision) == ((GRACE,), "changed", 1)
    assert [e.who for e in review.history(copy.id, ident)] == ["Ada"]
    assert services.agreement.done(copy.id, who="Bo") == (others[0],)
    review.put(copy.id, ident, [], revision=1, who="Cy")
    assert session.spans(0) == (GRACE,)
    services.sessions.delete(copy.id)
    assert services.sessions.purge(deleted_for_s=-1) == 1
    assert session.spans(0) == (GRACE,)
    with services.store.database.read() as connection:
        sessions = connection.scalars(select(Event.session_id).distinct()).all()
    assert sessions == [session.id], "a session takes its history with it"


def test_deleting_the_merge_leaves_what_people_said(session: Reviewed) -> None:
    services, review = session.services, session.review
    review.put(session.id, session.ids[0], [GRACE], revision=0)
    services.merge.delete(session.id, session.merge_id)
    assert (session.spans(0), session.spans(1)) == ((GRACE,), ())
    assert review.scores(session.id).merge_id is None
    services.merge.restore(session.id, session.merge_id)
    assert session.spans(1) == (Span(0, 3, "person", 0.8),)
    assert review.scores(session.id).strict.fn == 1
