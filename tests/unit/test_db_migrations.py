"""The migrations and the models agree."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, insert, inspect

from db import Database, UnknownSchemaError, migrate
from db.engine import make_engine
from db.migrate import alembic_config
from db.models import Base
from db.repositories import (
    CorpusRepository,
    EventRepository,
    LinkRepository,
    ProbeAnswerRepository,
    ReviewRepository,
    SessionRepository,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new folder' / 'sam.sqlite3'}"


def test_migrated_database_has_exactly_the_models(url: str) -> None:
    migrate(url)
    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_links_of_before_go_on_working_and_their_tokens_are_hashed(
    url: str, tmp_path: Path
) -> None:
    migrate(url, "0002")
    database = Database(url)
    _fill_first_schema(database)
    more = FIRST["sessions"] | {"id": "s2", "token": "another-secret", "name": "Ships"}
    _insert(database, "sessions", more)
    database.close()

    migrate(url)
    database = Database(url)
    links = LinkRepository(database)
    opened = links.open(["secret", "another-secret", "nonsense"])
    shown = {token: (session.id, link.kind) for token, (session, link) in opened.items()}
    assert shown == {"secret": ("s", "edit"), "another-secret": ("s2", "edit")}
    assert opened["secret"][1].created_at == AT
    assert opened["secret"][1].expires_at is None
    sentences = CorpusRepository(database).sentences("s")
    assert [sentence.text for sentence in sentences] == ["Ada left."]
    database.close()
    files = b"".join(path.read_bytes() for path in (tmp_path / "new folder").iterdir())
    assert b"Ada left." in files
    assert b"another-secret" not in _as_if_vacuumed(url)


def _as_if_vacuumed(url: str) -> bytes:
    """What the database says, without pages that are free but not overwritten yet."""
    database = Database(url)
    with database.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        dump = "\n".join(raw.iterdump())
    database.close()
    return dump.encode()


def test_downgrading_gives_sessions_tokens_that_nobody_knows(url: str) -> None:
    from alembic import command

    migrate(url)
    database = Database(url)
    SessionRepository(database).create("Lake sediments", token="mine")
    SessionRepository(database).create("Ships")
    database.close()
    engine = make_engine(url, foreign_keys=False)
    with engine.execution_options(sam_write=True).begin() as connection:
        command.downgrade(alembic_config(connection), "0002")
        tokens = connection.exec_driver_sql("SELECT token FROM sessions").scalars().all()
    engine.dispose()
    assert len(set(tokens)) == 2
    assert min(map(len, tokens)) >= 32


def test_migrating_again_keeps_what_is_there(url: str) -> None:
    migrate(url)
    database = Database(url)
    session = SessionRepository(database).create("Lake sediments")
    migrate(url)
    kept = SessionRepository(database).get(session.id)
    database.close()
    assert kept is not None
    assert kept.name == "Lake sediments"


def test_the_first_schema_migrates_with_nothing_lost(url: str) -> None:
    migrate(url, "0001")
    engine = make_engine(url)
    assert "probe_answers" not in inspect(engine).get_table_names()
    engine.dispose()
    database = Database(url)
    _fill_first_schema(database)
    before = _rows(database)
    database.close()

    migrate(url)
    database = Database(url)
    after = _rows(database)
    new = {name: after.pop(name) for name in after.keys() - before.keys()}
    (link,) = new.pop("links")
    assert link["session_id"] == "s"
    assert set(map(len, new.values())) == {0}
    del before["sessions"][0]["token"]  # a link now, see below
    assert after["sessions"][0].pop("deleted_at") is None
    for column in ("removed_at", "removed_revision"):
        assert after["uploads"][0].pop(column) is None
    assert after == before
    assert {name for name, rows in before.items() if rows} == set(FIRST)
    ProbeAnswerRepository(database).put_many({("e", "t", "types", "v"): [[0, 3, "person", 0.5]]})
    assert len(_rows(database)["probe_answers"]) == 1
    database.close()


AT = datetime(2026, 1, 2, tzinfo=UTC)
FIRST: dict[str, dict[str, object]] = {
    "sessions": {
        "id": "s", "token": "secret", "name": "Lakes", "created_at": AT, "updated_at": AT,
        "corpus_revision": 1, "types_revision": 1, "settings": {"draft": {"k": 3}},
    },
    "experts": {"name": "astro", "hash": "h", "title": "Astronomy", "card": {}, "added_at": AT},
    "entity_types": {
        "id": 1, "session_id": "s", "position": 0, "name": "person", "definition": "A human",
        "color": "#aabbcc",
    },
    "uploads": {
        "id": 1, "session_id": "s", "name": "a.txt", "format": "txt", "encoding": "utf-8",
        "duplicates": 0, "notes": ["A note."], "created_at": AT,
    },
    "documents": {
        "id": 1, "session_id": "s", "upload_id": 1, "position": 0, "name": "a", "text": "Ada left.",
    },
    "sentences": {
        "id": 1, "session_id": "s", "document_id": 1, "position": 0, "start": 0, "end": 9,
        "text": "Ada left.", "key": "k", "gold": [[0, 3, "person"]], "duplicate": False,
    },
    "runs": {
        "id": "r", "session_id": "s", "kind": "match", "merge_id": None, "corpus_revision": 1,
        "types_revision": 1, "params": {"k": 3}, "details": {"probe": []}, "created_at": AT,
    },
    "scores": {
        "id": 1, "session_id": "s", "run_id": "r", "expert": "astro", "kind": "probe",
        "value": 0.1, "low": 0.0, "high": 0.2, "support": 7, "details": {"answers": [[]]},
    },
}  # fmt: skip
"""A row of most tables as version 0001 has them: the models move on, this does not."""


def _fill_first_schema(database: Database) -> None:
    for name, row in FIRST.items():
        _insert(database, name, row)


def _insert(database: Database, table: str, row: dict[str, object]) -> None:
    tables = MetaData()
    tables.reflect(database.engine)
    with database.write() as session:
        session.execute(insert(tables.tables[table]).values(row))


def _rows(database: Database) -> dict[str, list[dict[str, object]]]:
    """Everything that is stored, by table."""
    names = set(inspect(database.engine).get_table_names()) - {"alembic_version"}
    with database.engine.connect() as connection:
        return {
            name: [
                dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}").mappings()
            ]
            for name in sorted(names)
        }


def test_a_newer_database_is_told_apart(url: str) -> None:
    migrate(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(UnknownSchemaError):
        migrate(url)


def test_downgrade_removes_every_table(url: str) -> None:
    from alembic import command

    migrate(url)
    engine = make_engine(url, foreign_keys=False)
    with engine.execution_options(sam_write=True).begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    left = set(inspect(engine).get_table_names()) - {"alembic_version"}
    engine.dispose()
    assert left == set()


def test_sqlite_is_set_up_for_several_processes(url: str) -> None:
    migrate(url)
    database = Database(url)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 20_000
    database.close()


CORRECTED: dict[str, list[dict[str, object]]] = {
    "sessions": [
        {
            "id": name, "name": "Lakes", "created_at": AT, "updated_at": AT, "corpus_revision": 1,
            "types_revision": 1, "settings": {}, "deleted_at": None,
        }
        for name in ("s", "t")
    ],
    "uploads": [FIRST["uploads"] | {"removed_at": None, "removed_revision": None}],
    "documents": [FIRST["documents"]],
    "sentences": [FIRST["sentences"] | {"id": i, "position": i, "key": str(i)} for i in range(1, 4)],
    "merges": [
        {
            "id": "m", "session_id": "s", "label": "", "recipes": [], "paths": [], "details": {},
            "retained_energy": 1.0, "corpus_revision": 1, "types_revision": 1, "created_at": AT,
        }
    ],
    "runs": [FIRST["runs"] | {"kind": "predict", "merge_id": "m"}],
    "predictions": [
        {
            "id": i, "session_id": "s", "merge_id": "m", "sentence_id": i, "start": 0, "end": 3,
            "label": "person", "score": 0.5,
        }
        for i in (1, 2)
    ],
    "corrections": [
        {
            "id": i, "session_id": "s", "sentence_id": i, "spans": spans, "types": ["person"],
            "who": "Ada", "created_at": AT, "updated_at": AT,
        }
        for i, spans in ((1, [[0, 3, "person"]]), (2, []), (3, []))
    ],
}  # fmt: skip


def test_corrections_become_reviews_with_their_history(url: str) -> None:
    migrate(url, "0005")
    database = Database(url)
    for table, rows in CORRECTED.items():
        for row in rows:
            _insert(database, table, row)
    before = _rows(database)
    database.close()

    migrate(url)
    database = Database(url)
    after = _rows(database)
    assert {name: after[name] for name in before} == before
    reviews = ReviewRepository(database).stored("s", [1, 2, 3])
    assert {i: r.status for i, r in reviews.items()} == {1: "accepted", 2: "changed", 3: "accepted"}
    assert [(r.revision, r.who, r.updated_at, r.unread) for r in reviews.values()] == [
        (1, "Ada", AT, False)
    ] * 3
    (event,) = EventRepository(database).of("s", 2)
    assert (event.who, event.at, event.revision) == ("Ada", AT, 1)
    assert (event.before["status"], event.before["spans"]) == ("open", [[0, 3, "person"]])
    assert (event.after["status"], event.after["spans"]) == ("changed", [])
    assert len(after["events"]) == len(after["reviews"]) == 3
    database.close()


def test_going_back_before_reviews_keeps_the_corrections(url: str) -> None:
    from alembic import command

    migrate(url, "0005")
    database = Database(url)
    for table, rows in CORRECTED.items():
        for row in rows:
            _insert(database, table, row)
    before = _rows(database)
    database.close()
    migrate(url)
    engine = make_engine(url, foreign_keys=False)
    with engine.execution_options(sam_write=True).begin() as connection:
        command.downgrade(alembic_config(connection), "0005")
    engine.dispose()
    database = Database(url)
    assert _rows(database) == before
    database.close()
