"""The cache of the probe's answers, on a real SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql

from db import Database, migrate
from db.models import ProbeAnswer, now
from db.repositories import ProbeAnswerRepository
from db.repositories import answers as module
from experts.probing import AnswerKey, text_hash
from experts.spans import Span
from sam_ui.services.probing import StoredAnswers

DAY = 24 * 3600.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'sam.sqlite3'}"
    migrate(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def answers(database: Database) -> ProbeAnswerRepository:
    return ProbeAnswerRepository(database)


def key(
    expert: str = "e", text: str = "t", kind: str = "person", version: str = "v"
) -> tuple[str, str, str, str]:
    return (expert, text, kind, version)


def age(database: Database, text: str, days: float) -> None:
    moment = now() - timedelta(days=days)
    with database.write() as session:
        mine = update(ProbeAnswer).where(ProbeAnswer.text_hash == text)
        session.execute(mine.values(last_used_at=moment, created_at=moment))


def used_at(database: Database, text: str) -> float:
    """Seconds since the answer was used."""
    with database.read() as session:
        used = session.scalar(select(ProbeAnswer.last_used_at).where(ProbeAnswer.text_hash == text))
    assert used is not None
    return (now() - used).total_seconds()


def test_what_was_put_is_got_by_its_whole_key(answers: ProbeAnswerRepository) -> None:
    spans = [[0, 3, 0.1 + 0.2], [4, 9, None]]
    answers.put_many({key(): spans, key(kind="lake"): []})
    others = [key("x"), key(text="x"), key(kind="x"), key(version="x")]
    assert answers.get_many([key(), key(kind="lake"), *others]) == {
        key(): spans,
        key(kind="lake"): [],
    }
    assert answers.get_many([]) == {}
    answers.put_many({})


def test_putting_again_replaces_and_adds_no_row(
    answers: ProbeAnswerRepository, database: Database
) -> None:
    answers.put_many({key(): [[0, 3, 0.5]]})
    answers.put_many({key(): [[0, 3, 0.5]], key(text="u"): []})
    answers.put_many({key(): [[1, 2, 0.9]]})
    assert answers.get_many([key()])[key()] == [[1, 2, 0.9]]
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(ProbeAnswer)) == 2


def test_more_answers_than_a_statement_has_variables(answers: ProbeAnswerRepository) -> None:
    many = {
        key(f"e{i}", text, kind): [[i, i + 1, 0.5]]
        for i in range(30)
        for text in "abcdefgh"
        for kind in ("person", "lake", "river")
    }
    answers.put_many(many)
    answers.put_many(many)
    assert answers.get_many([*many, key("nobody")]) == many


def test_only_unused_answers_are_forgotten(
    answers: ProbeAnswerRepository, database: Database
) -> None:
    answers.put_many({key(text=text): [] for text in ("old", "new", "used")})
    age(database, "old", 61)
    age(database, "used", 61)
    answers.get_many([key(text="used")])
    assert answers.forget(older_than_s=60 * DAY) == 1
    assert set(answers.get_many([key(text=t) for t in ("old", "new", "used")])) == {
        key(text="new"),
        key(text="used"),
    }


def test_use_is_noted_once_a_day(answers: ProbeAnswerRepository, database: Database) -> None:
    answers.put_many({key(): []})
    age(database, "t", 0.5)
    answers.get_many([key()])
    assert used_at(database, "t") > 0.4 * DAY
    age(database, "t", 2)
    answers.get_many([key()])
    assert used_at(database, "t") < 0.1 * DAY


def test_postgresql_is_spoken_too() -> None:
    statement = str(module._upsert("postgresql").compile(dialect=postgresql.dialect()))
    assert "ON CONFLICT (expert_hash, text_hash, types_hash, version) DO UPDATE" in statement
    assert "spans = excluded.spans" in statement


def test_the_store_gives_spans_back_and_keeps_no_text(
    answers: ProbeAnswerRepository, database: Database
) -> None:
    cache = StoredAnswers(answers)
    asked = AnswerKey("h", text_hash("Ada met Grace."), "person", "v")
    spans = [Span(0, 3, "person", 0.123456789012345678), Span(8, 13, "person")]
    cache.put_many({asked: spans, asked._replace(types="lake"): []})
    found = cache.get_many([asked, asked._replace(types="lake"), asked._replace(types="river")])
    assert found == {asked: spans, asked._replace(types="lake"): []}
    with database.read() as session:
        rows = [str(tuple(row)) for row in session.execute(select(ProbeAnswer.__table__))]
    assert len(rows) == 2
    assert not any("Ada" in row or "Grace" in row for row in rows)
