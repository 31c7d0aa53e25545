"""The migrations and the models agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from db import Database, UnknownSchemaError, migrate
from db.engine import make_engine
from db.models import Base
from db.repositories import SessionRepository


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


def test_migrating_again_keeps_what_is_there(url: str) -> None:
    migrate(url)
    database = Database(url)
    session = SessionRepository(database).create("Lake sediments")
    migrate(url)
    kept = SessionRepository(database).get(session.id)
    database.close()
    assert kept is not None
    assert kept.name == "Lake sediments"


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

    from db.migrate import alembic_config

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
