"""Sessions: created, found by their token, renamed, deleted with all that is theirs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import WorkSession, now
from db.records import SessionRecord
from db.repositories.common import new_id, to_record

__all__ = ["SessionRepository", "touch"]

TOKEN_BYTES = 24


def touch(session: Session, session_id: str, *, corpus: bool = False, types: bool = False) -> None:
    """Note that a session has changed; raise the revision of what its results depend on."""
    values: dict[str, Any] = {"updated_at": now()}
    if corpus:
        values["corpus_revision"] = WorkSession.corpus_revision + 1
    if types:
        values["types_revision"] = WorkSession.types_revision + 1
    session.execute(update(WorkSession).where(WorkSession.id == session_id).values(values))


class SessionRepository:
    """Rows of the table `sessions`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(self, name: str) -> SessionRecord:
        """A new session with an unguessable token (192 bits)."""
        row = WorkSession(id=new_id(), token=secrets.token_urlsafe(TOKEN_BYTES), name=name)
        with self._db.write() as session:
            session.add(row)
            session.flush()
            return to_record(SessionRecord, row)

    def get(self, session_id: str) -> SessionRecord | None:
        with self._db.read() as session:
            row = session.get(WorkSession, session_id)
            return to_record(SessionRecord, row) if row else None

    def by_token(self, token: str) -> SessionRecord | None:
        with self._db.read() as session:
            row = session.scalar(select(WorkSession).where(WorkSession.token == token))
            return to_record(SessionRecord, row) if row else None

    def by_tokens(self, tokens: Sequence[str]) -> list[SessionRecord]:
        """Those that still exist, last changed first."""
        query = select(WorkSession).where(WorkSession.token.in_(tokens))
        with self._db.read() as session:
            rows = session.scalars(query.order_by(WorkSession.updated_at.desc()))
            return [to_record(SessionRecord, row) for row in rows]

    def rename(self, session_id: str, name: str) -> None:
        with self._db.write() as session:
            session.execute(
                update(WorkSession)
                .where(WorkSession.id == session_id)
                .values(name=name, updated_at=now())
            )

    def set_setting(self, session_id: str, key: str, value: Any) -> None:
        """Keep a JSON value with the session; nothing happens when the session is gone."""
        with self._db.write() as session:
            row = session.get(WorkSession, session_id)
            if row is not None:
                row.settings = {**row.settings, key: value}

    def delete(self, session_id: str) -> None:
        """Delete the session and, by cascade, everything that belongs to it."""
        with self._db.write() as session:
            session.execute(delete(WorkSession).where(WorkSession.id == session_id))
