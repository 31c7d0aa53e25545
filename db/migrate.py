"""Bringing a database to the newest schema, from code: nobody types an alembic command."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from db.engine import UnknownSchemaError, make_engine

__all__ = ["alembic_config", "migrate"]


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for an open connection (no ini file)."""
    config = Config()
    # Alembic expands %-signs in options.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade the database at `url`, made when it is missing; nothing happens when it is current.

    The whole upgrade is one transaction: two processes that start together wait for each other.

    Raises:
        UnknownSchemaError: a newer version has changed the database.
        DatabaseError: it cannot be opened, or is no database.
    """
    engine = make_engine(url, foreign_keys=False)
    try:
        with engine.execution_options(sam_write=True).begin() as connection:
            command.upgrade(alembic_config(connection), revision)
    except CommandError as error:
        raise UnknownSchemaError(str(error)) from error
    finally:
        engine.dispose()
