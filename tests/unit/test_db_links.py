"""Links, deleted sessions, and the guard against writing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db import Database, ReadOnlyError, is_read_only, migrate, read_only
from db.records import SessionRecord
from db.repositories import LinkRepository, SessionRepository, new_token


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'sam.sqlite3'}"
    migrate(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def sessions(database: Database) -> SessionRepository:
    return SessionRepository(database)


@pytest.fixture
def links(database: Database) -> LinkRepository:
    return LinkRepository(database)


@pytest.fixture
def session(sessions: SessionRepository) -> SessionRecord:
    return sessions.create("One", token="first")


def opened(links: LinkRepository, *tokens: str) -> set[str]:
    return set(links.open(tokens))


def test_tokens_are_long_and_different() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {32}


def test_a_link_opens_only_its_session(
    sessions: SessionRepository, links: LinkRepository, session: SessionRecord
) -> None:
    other = sessions.create("Two", token="second")
    view = links.add(session.id, "view", "look", label="For Grace")
    found = links.open(["look", "second", "firs", "first ", session.id, "\ud800"])
    assert {token: (s.name, link.kind) for token, (s, link) in found.items()} == {
        "look": ("One", "view"),
        "second": ("Two", "edit"),
    }
    assert [link.label for link in links.list(session.id)] == ["", "For Grace"]
    assert not links.revoke(other.id, view.id)
    assert links.revoke(session.id, view.id)
    assert not links.revoke(session.id, view.id)
    assert opened(links, "look", "first") == {"first"}
    kept = links.find("look")
    assert kept is not None
    assert kept.revoked_at is not None


def test_a_link_ends_at_its_time(links: LinkRepository, session: SessionRecord) -> None:
    now = datetime.now(UTC)
    links.add(session.id, "edit", "over", expires_at=now - timedelta(seconds=1))
    links.add(session.id, "edit", "still", expires_at=now + timedelta(minutes=1))
    assert opened(links, "over", "still") == {"still"}


def test_use_is_noted_but_not_at_every_request(
    links: LinkRepository, session: SessionRecord
) -> None:
    (link,) = links.list(session.id)
    assert link.last_used_at is None
    links.used(link)
    (once,) = links.list(session.id)
    links.used(once)
    (twice,) = links.list(session.id)
    assert once.last_used_at is not None
    assert twice.last_used_at == once.last_used_at


def test_a_hidden_session_is_gone_for_everybody_until_it_is_restored(
    sessions: SessionRepository, links: LinkRepository, session: SessionRecord
) -> None:
    assert sessions.hide(session.id)
    assert not sessions.hide(session.id)
    assert sessions.get(session.id) is None
    assert opened(links, "first") == set()
    assert sessions.known(session.id)
    assert sessions.hidden(longer_than_s=60) == []
    assert sessions.hidden(longer_than_s=-1) == [session.id]
    assert sessions.restore(session.id)
    assert not sessions.restore(session.id)
    assert opened(links, "first") == {"first"}
    assert sessions.hidden(longer_than_s=-1) == []


def test_settings_changed_at_once_from_two_connections_all_stay(
    database: Database, sessions: SessionRepository, session: SessionRecord
) -> None:
    other = Database(database.url)
    both = [sessions, SessionRepository(other)]
    ready = threading.Barrier(2)

    def add(number: int) -> None:
        ready.wait()
        for step in range(20):
            name = f"{number}-{step}"
            both[number].change_setting(session.id, "draft", lambda old, n=name: [*(old or []), n])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    kept = sessions.get(session.id)
    assert kept is not None
    assert len(kept.settings["draft"]) == 40


def test_nothing_is_written_where_only_reading_is_allowed(
    sessions: SessionRepository, session: SessionRecord
) -> None:
    elsewhere: list[bool] = []
    with read_only():
        with pytest.raises(ReadOnlyError):
            sessions.rename(session.id, "Two")
        assert sessions.get(session.id) == session
        thread = threading.Thread(target=lambda: elsewhere.append(is_read_only()))
        thread.start()
        thread.join(10)
    assert elsewhere == [False]
    sessions.rename(session.id, "Two")
    changed = sessions.get(session.id)
    assert changed is not None
    assert changed.name == "Two"
