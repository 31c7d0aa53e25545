"""Sessions: created, renamed, deleted with all that is theirs, and brought back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import EntityType, Sentence, WorkSession, now
from db.records import SessionRecord
from db.repositories.common import new_id, to_record
from db.repositories.links import link_of

__all__ = ["SessionRepository", "touch"]


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

    def create(self, name: str, *, token: str | None = None) -> SessionRecord:
        """A new session; with `token`, also the link for changing it that has this token."""
        row = WorkSession(id=new_id(), name=name)
        with self._db.write() as session:
            session.add(row)
            session.flush()
            if token is not None:
                session.add(link_of(row.id, "edit", token))
            return to_record(SessionRecord, row)

    def get(self, session_id: str) -> SessionRecord | None:
        """None when there is no such session, or it was deleted."""
        with self._db.read() as session:
            row = session.get(WorkSession, session_id)
            return to_record(SessionRecord, row) if row and row.deleted_at is None else None

    def known(self, session_id: str) -> bool:
        """Whether there is such a session, deleted or not: its files must stay until it is gone."""
        with self._db.read() as session:
            return session.get(WorkSession, session_id) is not None

    def sizes(self, session_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """How many sentences (hidden duplicates left out) and types sessions have, by id."""
        mine = Sentence.session_id.in_(session_ids)
        sentences = select(Sentence.session_id, func.count()).where(
            mine, Sentence.duplicate.is_(False)
        )
        types = select(EntityType.session_id, func.count()).where(
            EntityType.session_id.in_(session_ids)
        )
        with self._db.read() as session:
            found = session.execute(sentences.group_by(Sentence.session_id))
            counts = {row[0]: row[1] for row in found}
            found = session.execute(types.group_by(EntityType.session_id))
            named = {row[0]: row[1] for row in found}
        return {ident: (counts.get(ident, 0), named.get(ident, 0)) for ident in session_ids}

    def rename(self, session_id: str, name: str) -> None:
        with self._db.write() as session:
            session.execute(
                update(WorkSession)
                .where(WorkSession.id == session_id)
                .values(name=name, updated_at=now())
            )

    def set_setting(self, session_id: str, key: str, value: Any) -> None:
        """Keep a JSON value with the session; nothing happens when the session is gone."""
        self.change_setting(session_id, key, lambda _: value)

    def change_setting(self, session_id: str, key: str, change: Callable[[Any], Any]) -> None:
        """Replace a JSON value by what `change` makes of it, None at first, in one transaction: of
        two changes at once, also from two processes, the second sees the first.

        `change` must not use the database. Nothing happens when the session is gone.
        """
        query = select(WorkSession).where(WorkSession.id == session_id).with_for_update()
        with self._db.write() as session:
            row = session.scalar(query)
            if row is not None:
                row.settings = {**row.settings, key: change(row.settings.get(key))}

    def hide(self, session_id: str) -> bool:
        """Delete the session for everybody, but keep it for `restore`; whether there was one."""
        return self._mark(session_id, deleted=True)

    def restore(self, session_id: str) -> bool:
        """Take back `hide`; whether the session was still there."""
        return self._mark(session_id, deleted=False)

    def _mark(self, session_id: str, *, deleted: bool) -> bool:
        column = WorkSession.deleted_at
        mine = (WorkSession.id == session_id, column.is_(None) if deleted else column.is_not(None))
        changed = update(WorkSession).where(*mine).values(deleted_at=now() if deleted else None)
        with self._db.write() as session:
            return session.execute(changed.returning(WorkSession.id)).first() is not None

    def hidden(self, *, longer_than_s: float) -> list[str]:
        """Ids of the sessions that were hidden so many seconds ago."""
        query = select(WorkSession.id).where(
            WorkSession.deleted_at < now() - timedelta(seconds=longer_than_s)
        )
        with self._db.read() as session:
            return list(session.scalars(query))

    def delete(self, session_id: str) -> None:
        """Delete the session and, by cascade, everything that belongs to it, for good."""
        with self._db.write() as session:
            session.execute(delete(WorkSession).where(WorkSession.id == session_id))
