"""Two people at once: whatever they do, nothing that was acknowledged is lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.spans import Span
from sam_ui.services.review_views import EventInfo, Saved
from tests.unit.review_support import Reviewed, make_session, open_services

FOUND = (Span(0, 3, "person", 0.9), Span(8, 13, "place", 0.4))
CHOICES = (
    FOUND,
    FOUND[:1],
    (),
    (Span(0, 3, "ship"),),
    (Span(0, 3, "person"), Span(0, 13, "ship"), Span(4, 7, "place")),
)
COUNT = 400
NUMBERS = itertools.count()

Keys = list[tuple[int, int, str]]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """A sentence for every example."""
    services = open_services(tmp_path_factory.mktemp("review"))
    texts = [f"Ada met Grace {i}." for i in range(COUNT)]
    yield make_session(services, texts, dict.fromkeys(range(COUNT), FOUND))
    services.close()


def keys(spans: tuple[Span, ...]) -> Keys:
    return sorted(span.key for span in spans)


@dataclass
class Person:
    """What somebody's editor knows: spans and revision as last seen, and what can be undone."""

    name: str
    spans: tuple[Span, ...] = FOUND
    revision: int = 0
    undo: list[tuple[Span, ...]] = field(default_factory=list)
    redo: list[tuple[Span, ...]] = field(default_factory=list)


STEPS = st.lists(
    st.tuples(
        st.sampled_from("AB"),
        st.sampled_from(
            ["edit", "edit", "accept", "skip", "undo", "redo", "reopen", "look", "force"]
        ),
        st.sampled_from(CHOICES),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_every_acknowledged_version_is_kept_and_the_state_follows_from_them(
    session: Reviewed, steps: list[tuple[str, str, tuple[Span, ...]]]
) -> None:
    ident = session.ids[next(NUMBERS) % COUNT]
    people = {name: Person(name) for name in "AB"}
    acknowledged: list[tuple[int, str, Keys | None]] = []
    for name, action, spans in steps:
        person = people[name]
        before = session.review.history(session.id, ident)
        there, seen = session.review.sentence(session.id, ident), person.revision
        saved, sent = act(session, ident, person, action, spans)
        after = session.review.history(session.id, ident)
        if saved is None:
            continue
        latest = after[0].revision if after else 0
        assert saved.revision == latest
        unseen = there.revision > seen and action != "force"
        if action == "reopen":
            clash = unseen and there.status != "open"
        else:
            clash = unseen and sent != keys(there.spans)
        assert (saved.conflict is not None) == clash, "what somebody has not seen, and only that"
        if saved.conflict is not None:
            assert after == before, "a conflict writes nothing"
            assert saved.conflict.who == after[0].who
            look(session, ident, person)
            continue
        assert after[len(after) - len(before) :] == before, "events never change"
        if len(after) > len(before):
            assert len(after) == len(before) + 1
            assert after[0].who == name
            corrected = saved.status in ("accepted", "changed")
            acknowledged.append((saved.revision, name, sent if corrected else None))
        person.revision = saved.revision
        check_state(session, ident, after)
    check_events(session, ident, acknowledged)


def act(
    session: Reviewed, ident: int, person: Person, action: str, spans: tuple[Span, ...]
) -> tuple[Saved | None, Keys]:
    """What the editor sends; None where there is nothing to send."""
    if action == "look":
        look(session, ident, person)
        return None, []
    if action == "reopen":
        saved = session.review.reopen(session.id, ident, revision=person.revision, who=person.name)
        person.spans = FOUND if saved.conflict is None else person.spans
        return saved, []
    if action in ("undo", "redo"):
        back, forth = (person.undo, person.redo) if action == "undo" else (person.redo, person.undo)
        if not back:
            return None, []
        forth.append(person.spans)
        person.spans = back.pop()
    elif action in ("edit", "force"):
        person.undo.append(person.spans)
        person.spans = spans
    saved = session.review.put(
        session.id, ident, person.spans, revision=person.revision, who=person.name,
        action="edit" if action == "force" else action, force=action == "force",
    )  # fmt: skip
    return saved, keys(person.spans)


def look(session: Reviewed, ident: int, person: Person) -> None:
    """Load the sentence anew, as a page does; the editor's undo begins there."""
    shown = session.review.sentence(session.id, ident)
    person.spans, person.revision = shown.spans, shown.revision
    person.undo, person.redo = [], []


def check_state(session: Reviewed, ident: int, events: list[EventInfo]) -> None:
    """The state is what the last event says."""
    shown = session.review.sentence(session.id, ident)
    record = session.services.store.corrections.get(session.id, ident)
    if not events:
        assert (shown.status, record) == ("open", None)
        return
    last = events[0]
    assert (shown.status, shown.revision, shown.who) == (last.status_after, last.revision, last.who)
    assert keys(shown.spans) == keys(last.after)
    assert (record is not None) == (last.status_after in ("accepted", "changed"))
    if last.status_after == "accepted":
        assert keys(last.after) == keys(FOUND)
    if last.status_after == "changed":
        assert keys(last.after) != keys(FOUND)


def check_events(
    session: Reviewed, ident: int, acknowledged: list[tuple[int, str, Keys | None]]
) -> None:
    """One for each acknowledged action, each beginning where the one before it ended."""
    events = session.review.history(session.id, ident)[::-1]
    assert [event.revision for event in events] == list(range(1, len(events) + 1))
    assert [(revision, who) for revision, who, _ in acknowledged] == [
        (event.revision, event.who) for event in events
    ]
    for event, (_, _, sent) in zip(events, acknowledged, strict=True):
        assert sent is None or keys(event.after) == sent
    state: tuple[str, Keys] = ("open", keys(FOUND))
    for event in events:
        assert (event.status_before, keys(event.before)) == state
        state = (event.status_after, keys(event.after))


def test_two_processes_cannot_both_be_first(tmp_path: Path) -> None:
    """Two services on one database, as two workers are."""
    first, second = open_services(tmp_path), open_services(tmp_path)
    session = make_session(first, ["Ada met Grace."], {0: FOUND})
    one = first.review.put(session.id, session.ids[0], [], revision=0, who="A")
    two = second.review.put(session.id, session.ids[0], FOUND[:1], revision=0, who="B")
    assert (one.revision, one.conflict) == (1, None)
    assert two.conflict is not None
    assert (two.conflict.who, two.conflict.spans) == ("A", ())
    for services in (first, second):
        assert len(services.review.history(session.id, session.ids[0])) == 1
        services.close()
