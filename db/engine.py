"""The engine and its transactions.

SQLite is set up for one writer and many readers in several processes: WAL, a busy timeout, and
write transactions that take their lock at once (``BEGIN IMMEDIATE``): a transaction that reads
first and writes later cannot wait for the lock, SQLite fails it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

__all__ = [
    "BUSY_TIMEOUT_S",
    "Database",
    "DatabaseError",
    "ReadOnlyError",
    "UnknownSchemaError",
    "is_read_only",
    "make_engine",
    "read_only",
    "sqlite_url",
]

DatabaseError = SQLAlchemyError
"""Whatever goes wrong between here and the database."""


class UnknownSchemaError(SQLAlchemyError):
    """The database has a schema that this version does not know: a newer one made it."""


class ReadOnlyError(SQLAlchemyError):
    """Something was about to be written inside `read_only`."""


_READ_ONLY: ContextVar[bool] = ContextVar("sam_read_only", default=False)


@contextmanager
def read_only() -> Iterator[None]:
    """In this block, and this thread, every `Database.write` raises `ReadOnlyError`."""
    before = _READ_ONLY.set(True)
    try:
        yield
    finally:
        _READ_ONLY.reset(before)


def is_read_only() -> bool:
    """Whether the caller runs inside `read_only`."""
    return _READ_ONLY.get()


BUSY_TIMEOUT_S = 20
"""How long a writer waits for another process's transaction before it gives up."""


def sqlite_url(path: Path) -> str:
    """The SQLAlchemy URL of an SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def make_engine(url: str, *, foreign_keys: bool = True) -> Engine:
    """An engine for `url`; the folder of an SQLite file is made when it is missing.

    Args:
        foreign_keys: False only for migrations: SQLite changes a table by copying and dropping it,
            and the drop would cascade.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _set_up_sqlite)
    if foreign_keys:
        event.listen(engine, "connect", _enforce_foreign_keys)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling is off: `_begin_sqlite` says when one starts.
    connection.isolation_level = None
    # SQLite's own lower() knows ASCII only; searches must find "Öl" by "öl".
    connection.create_function("lower", 1, _casefold, deterministic=True)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
    cursor.close()


def _enforce_foreign_keys(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON").close()


def _casefold(value: object) -> object:
    return value.casefold() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("sam_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


class Database:
    """An engine with its two kinds of transaction. One a process; safe to share among threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(
            self.engine.execution_options(sam_write=True), expire_on_commit=False
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent snapshot; nothing written in it is kept."""
        with self._readers() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """All or nothing: committed when the block ends, rolled back when it raises."""
        if is_read_only():
            raise ReadOnlyError("nothing may be changed here")
        with self._writers.begin() as session:
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()
