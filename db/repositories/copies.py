"""Copying a session with everything that belongs to it.

Works on the tables as the models declare them, so that a new table of a session is copied without
a word here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Column, Integer, Table, insert, select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Base, WorkSession, now
from db.repositories.common import new_id

__all__ = ["Adapt", "CopyRepository", "SessionCopy"]

Adapt = Callable[[str, dict[str, Any], Mapping[int, int]], None]
"""Called with (table, row, old sentence id -> new one); changes numbers that stand in the row's
JSON, in place."""

LEFT_OUT = {"sessions", "links", "jobs"}
"""Not copied, nor what refers to jobs or links: the copy has its own."""
FIRST = ("uploads", "documents", "sentences")
_ID = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True, slots=True)
class SessionCopy:
    """The copy of a session. `ids`: old text id -> new one, of the session, its merges and runs."""

    id: str
    ids: Mapping[str, str]

    def renamed(self, value: Any) -> Any:
        """`value`, a JSON value, with the ids that stand in its texts exchanged."""
        return _renamed(value, self.ids)


class CopyRepository:
    """Copies within one database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def copy(self, session_id: str, name: str, *, adapt: Adapt) -> SessionCopy | None:
        """Copy a session's rows, all or none. Ids of 32 hexadecimal digits are exchanged wherever
        they stand.

        The copy is stored as deleted: it appears when the caller, who has its files to copy, calls
        `SessionRepository.restore`.

        Returns:
            None when there is no such session.
        """
        with self._db.write() as session:
            old = session.get(WorkSession, session_id)
            if old is None or old.deleted_at is not None:
                return None
            new = WorkSession(
                id=new_id(), name=name, deleted_at=now(), settings={},
                corpus_revision=old.corpus_revision, types_revision=old.types_revision,
            )  # fmt: skip
            session.add(new)
            session.flush()
            copied = _Copied(session, {("sessions", session_id): new.id}, adapt)
            for table in _tables():
                copied.add(table, session_id)
            row = {"settings": copied.texts_renamed(old.settings)}
            adapt("sessions", row, copied.sentences)
            moved = update(WorkSession).where(WorkSession.id == new.id).values(row)
            session.execute(moved)
            return SessionCopy(new.id, copied.texts)


class _Copied:
    """What has been copied so far, by (table, old id)."""

    def __init__(self, session: Session, ids: dict[tuple[str, Any], Any], adapt: Adapt) -> None:
        self._session = session
        self._ids = ids
        self._adapt = adapt

    @property
    def texts(self) -> dict[str, str]:
        return {old: new for (_, old), new in self._ids.items() if isinstance(old, str)}

    @property
    def sentences(self) -> dict[int, int]:
        return {old: new for (table, old), new in self._ids.items() if table == "sentences"}

    def texts_renamed(self, value: Any) -> Any:
        return _renamed(value, self.texts)

    def add(self, table: Table, session_id: str) -> None:
        query = select(table).where(table.c.session_id == session_id)
        old = [dict(row) for row in self._session.execute(query).mappings()]
        if not old:
            return
        key = _own_id(table)
        counted = key is not None and isinstance(key.type, Integer)
        rows = [dict(row) for row in old]
        for row in rows:
            if key is not None and counted:
                del row[key.name]
            elif key is not None:
                self._ids[table.name, row[key.name]] = row[key.name] = new_id()
        texts, sentences = self.texts, self.sentences
        for row in rows:
            self._refer(table, row, texts)
            self._adapt(table.name, row, sentences)
        if key is None or not counted or not _is_referred_to(table):
            self._session.execute(insert(table), rows)
            return
        made = self._session.scalars(
            insert(table).returning(key, sort_by_parameter_order=True), rows
        )
        for before, ident in zip(old, made, strict=True):
            self._ids[table.name, before[key.name]] = ident

    def _refer(self, table: Table, row: dict[str, Any], texts: Mapping[str, str]) -> None:
        """Point the row at the copies of what it points at."""
        for column in table.columns:
            value = row.get(column.name)
            if value is None:
                continue
            if isinstance(column.type, JSON):
                row[column.name] = _renamed(value, texts)
            for foreign in column.foreign_keys:
                target = foreign.column.table.name
                row[column.name] = self._ids.get((target, value), value)


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _ID.sub(lambda found: ids.get(found[0], found[0]), value)
    if isinstance(value, dict):
        return {_renamed(key, ids): _renamed(part, ids) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, ids) for part in value]
    return value


def _tables() -> Sequence[Table]:
    """The tables to copy, each after those that it refers to."""
    tables = [
        table
        for table in Base.metadata.sorted_tables
        if "session_id" in table.columns
        and table.name not in LEFT_OUT
        and not _targets(table) & (LEFT_OUT - {"sessions"})
    ]
    return sorted(tables, key=lambda table: table.name not in FIRST)  # their ids stand in JSON


def _targets(table: Table) -> set[str]:
    return {key.column.table.name for key in table.foreign_keys}


def _is_referred_to(table: Table) -> bool:
    return any(table.name in _targets(other) for other in _tables())


def _own_id(table: Table) -> Column[Any] | None:
    """Its primary key, when that is one column which refers to nothing."""
    columns = list(table.primary_key.columns)
    return columns[0] if len(columns) == 1 and not columns[0].foreign_keys else None
