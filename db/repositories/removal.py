"""Files that a person has removed: kept for a while, out of sight, and brought back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Document, Merge, Run, Sentence, Upload, WorkSession, now
from db.records import UploadRecord
from db.repositories.common import in_parts, to_record
from db.repositories.sessions import touch

__all__ = ["RemovalRepository"]


class RemovalRepository:
    """Uploads that are marked as removed; their sentences stay in the table, hidden."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def remove(self, session_id: str, upload_id: int) -> bool:
        """Whether there was such a file. What it had hidden in later files appears."""
        with self._db.write() as session:
            upload = _find(session, session_id, upload_id, removed=False)
            owner = session.get(WorkSession, session_id)
            if upload is None or owner is None:
                return False
            upload.removed_at, upload.removed_revision = now(), owner.corpus_revision
            session.flush()
            _show_first_of_each(session, session_id, upload_id)
            touch(session, session_id, corpus=True)
            return True

    def restore(self, session_id: str, upload_id: int) -> bool:
        """Take back `remove`; whether the file was still there.

        When the texts have not changed since, they are what they were before the removal: results
        made from them then are up to date again.
        """
        with self._db.write() as session:
            upload = _find(session, session_id, upload_id, removed=True)
            owner = session.get(WorkSession, session_id)
            if upload is None or owner is None:
                return False
            before, after = upload.removed_revision, owner.corpus_revision
            upload.removed_at = upload.removed_revision = None
            session.flush()
            _show_first_of_each(session, session_id, upload_id)
            touch(session, session_id, corpus=True)
            if before is not None and after == before + 1:
                for table in (Run, Merge):
                    same = (table.session_id == session_id, table.corpus_revision == before)
                    session.execute(update(table).where(*same).values(corpus_revision=after + 1))
            return True

    def list(self, session_id: str) -> list[UploadRecord]:
        """Removed files in the order in which they were added; all their sentences count."""
        counted = (
            select(Document.upload_id, func.count(Sentence.id).label("sentences"))
            .join(Sentence, Sentence.document_id == Document.id)
            .where(Document.session_id == session_id)
            .group_by(Document.upload_id)
            .subquery()
        )
        query = (
            select(Upload, counted.c.sentences)
            .outerjoin(counted, counted.c.upload_id == Upload.id)
            .where(Upload.session_id == session_id, Upload.removed_at.is_not(None))
            .order_by(Upload.id)
        )
        with self._db.read() as session:
            return [
                to_record(
                    UploadRecord, upload, documents=0, sentences=sentences or 0,
                    notes=tuple(upload.notes),
                )
                for upload, sentences in session.execute(query)
            ]  # fmt: skip

    def discard(self, session_id: str, upload_id: int) -> bool:
        """Delete a removed file for good; whether there was one."""
        with self._db.write() as session:
            found = _find(session, session_id, upload_id, removed=True) is not None
            if found:
                session.execute(delete(Upload).where(Upload.id == upload_id))
            return found

    def discard_but(self, session_id: str, most: int) -> None:
        """Delete for good what was removed before the last `most` files."""
        query = (
            select(Upload.id)
            .where(Upload.session_id == session_id, Upload.removed_at.is_not(None))
            .order_by(Upload.removed_at.desc(), Upload.id.desc())
            .offset(most)
        )
        with self._db.write() as session:
            _delete(session, list(session.scalars(query)))

    def forget(self, *, older_than_s: float) -> int:
        """Delete for good, of all sessions, what was removed so long ago; returns how many."""
        limit = now() - timedelta(seconds=older_than_s)
        with self._db.write() as session:
            ids = list(session.scalars(select(Upload.id).where(Upload.removed_at < limit)))
            _delete(session, ids)
            return len(ids)


def _find(session: Session, session_id: str, upload_id: int, *, removed: bool) -> Upload | None:
    mark = Upload.removed_at.is_not(None) if removed else Upload.removed_at.is_(None)
    mine = (Upload.session_id == session_id, Upload.id == upload_id)
    return session.scalar(select(Upload).where(*mine, mark))


def _delete(session: Session, ids: Sequence[int]) -> None:
    for part in in_parts(ids):
        session.execute(delete(Upload).where(Upload.id.in_(part)))


def _documents(session_id: str) -> Select[int]:
    """Ids of the documents that are not removed."""
    return (
        select(Document.id)
        .join(Upload, Upload.id == Document.upload_id)
        .where(Document.session_id == session_id, Upload.removed_at.is_(None))
    )


def _show_first_of_each(session: Session, session_id: str, upload_id: int) -> None:
    """Of the sentences that this file shares with others, show the first that is not removed."""
    mine = select(Document.id).where(Document.upload_id == upload_id)
    keys = select(Sentence.key).where(Sentence.document_id.in_(mine))
    alike = (Sentence.session_id == session_id, Sentence.key.in_(keys))
    first = (
        select(func.min(Sentence.id))
        .where(*alike, Sentence.document_id.in_(_documents(session_id)))
        .group_by(Sentence.key)
    )
    ids = list(session.scalars(first))
    session.execute(
        update(Sentence).where(*alike).values(duplicate=True),
        execution_options={"synchronize_session": False},
    )
    for part in in_parts(ids):
        session.execute(update(Sentence).where(Sentence.id.in_(part)).values(duplicate=False))
