"""What people say the spans of a sentence are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, func, select

from db.engine import Database
from db.models import Correction, Sentence, now
from db.records import CorrectionRecord
from db.repositories.common import in_parts, to_record
from db.repositories.sessions import touch

__all__ = ["CorrectionRepository"]


class CorrectionRepository:
    """Rows of the table `corrections`: at most one a sentence. Those of hidden sentences are kept
    but not given: the sentences may appear again.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(
        self,
        session_id: str,
        sentence_id: int,
        spans: Sequence[Sequence[Any]],
        *,
        types: Sequence[str],
        who: str = "",
    ) -> bool:
        """Keep a correction in place of the sentence's earlier one.

        Args:
            spans: [[start, end, type], …], all there are; none says that there is nothing to find.
            types: the types that were looked for; of others the correction says nothing.
            who: as the person is called, "" where it is not known.

        Returns:
            Whether the session has such a sentence; nothing is kept where it has not.
        """
        with self._db.write() as session:
            if session.scalar(_text(session_id, sentence_id)) is None:
                return False
            moment = now()
            row = session.scalar(_mine(session_id, sentence_id))
            if row is None:
                row = Correction(session_id=session_id, sentence_id=sentence_id, created_at=moment)
                session.add(row)
            row.spans, row.types = [list(span) for span in spans], list(types)
            row.who, row.updated_at = who, moment
            session.flush()
            touch(session, session_id)
        return True

    def text(self, session_id: str, sentence_id: int) -> str | None:
        """The text of a sentence, None where the session has none of that id."""
        with self._db.read() as session:
            return session.scalar(_text(session_id, sentence_id))

    def get(self, session_id: str, sentence_id: int) -> CorrectionRecord | None:
        with self._db.read() as session:
            row = session.scalar(_mine(session_id, sentence_id))
            return to_record(CorrectionRecord, row) if row else None

    def remove(self, session_id: str, sentence_id: int) -> bool:
        """Whether there was one."""
        mine = (Correction.session_id == session_id, Correction.sentence_id == sentence_id)
        with self._db.write() as session:
            gone = session.connection().execute(delete(Correction).where(*mine)).rowcount
            if gone:
                touch(session, session_id)
            return bool(gone)

    def list(self, session_id: str) -> list[CorrectionRecord]:
        """In the order of the texts."""
        query = (
            select(Correction)
            .join(Sentence, Sentence.id == Correction.sentence_id)
            .where(Correction.session_id == session_id, Sentence.duplicate.is_(False))
            .order_by(Sentence.position)
        )
        with self._db.read() as session:
            return [to_record(CorrectionRecord, row) for row in session.scalars(query)]

    def of(
        self, session_id: str, sentence_ids: Sequence[int]
    ) -> dict[int, CorrectionRecord | None]:
        """By sentence, the corrections of those of the sentences that the session still has."""
        found: dict[int, CorrectionRecord | None] = {}
        query = (
            select(Sentence.id, Correction)
            .outerjoin(Correction, Correction.sentence_id == Sentence.id)
            .where(Sentence.session_id == session_id, Sentence.duplicate.is_(False))
        )
        with self._db.read() as session:
            for part in in_parts(sentence_ids):
                for known, row in session.execute(query.where(Sentence.id.in_(part))):
                    found[known] = to_record(CorrectionRecord, row) if row else None
        return found

    def count(self, session_id: str) -> int:
        query = (
            select(func.count(Correction.id))
            .join(Sentence, Sentence.id == Correction.sentence_id)
            .where(Correction.session_id == session_id, Sentence.duplicate.is_(False))
        )
        with self._db.read() as session:
            return session.scalar(query) or 0


def _mine(session_id: str, sentence_id: int) -> Select[Correction]:
    return select(Correction).where(
        Correction.session_id == session_id, Correction.sentence_id == sentence_id
    )


def _text(session_id: str, sentence_id: int) -> Select[str]:
    return select(Sentence.text).where(
        Sentence.id == sentence_id,
        Sentence.session_id == session_id,
        Sentence.duplicate.is_(False),
    )
