"""What people say the spans of a sentence are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from db.engine import Database
from db.models import Correction, Review, Sentence
from db.records import CorrectionRecord
from db.repositories.common import in_parts

__all__ = ["CorrectionRepository"]


class CorrectionRepository:
    """Rows of the table `corrections`: at most one a sentence; `ReviewRepository` writes them.
    Those of hidden sentences are kept but not given: the sentences may appear again.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, session_id: str, sentence_id: int) -> CorrectionRecord | None:
        with self._db.read() as session:
            row = session.execute(
                _every(session_id).where(Correction.sentence_id == sentence_id)
            ).first()
            return CorrectionRecord(*row) if row else None

    def list(self, session_id: str) -> list[CorrectionRecord]:
        """In the order of the texts."""
        query = (
            _every(session_id)
            .join(Sentence, Sentence.id == Correction.sentence_id)
            .where(Sentence.duplicate.is_(False))
            .order_by(Sentence.position)
        )
        with self._db.read() as session:
            return [CorrectionRecord(*row) for row in session.execute(query)]

    def of(
        self, session_id: str, sentence_ids: Sequence[int]
    ) -> dict[int, CorrectionRecord | None]:
        """By sentence, the corrections of those of the sentences that the session still has."""
        known = select(Sentence.id).where(
            Sentence.session_id == session_id, Sentence.duplicate.is_(False)
        )
        found: dict[int, CorrectionRecord | None] = {}
        with self._db.read() as session:
            for part in in_parts(sentence_ids):
                found |= dict.fromkeys(session.scalars(known.where(Sentence.id.in_(part))))
                said = _every(session_id).where(Correction.sentence_id.in_(part))
                for row in session.execute(said):
                    if row.sentence_id in found:
                        found[row.sentence_id] = CorrectionRecord(*row)
        return found

    def count(self, session_id: str) -> int:
        query = (
            select(func.count(Correction.id))
            .join(Sentence, Sentence.id == Correction.sentence_id)
            .where(Correction.session_id == session_id, Sentence.duplicate.is_(False))
        )
        with self._db.read() as session:
            return session.scalar(query) or 0


def _every(session_id: str) -> Select[Any]:
    """The columns of `CorrectionRecord`, in its order."""
    return (
        select(
            Correction.sentence_id, Correction.spans, Correction.types, Correction.who,
            Correction.created_at, Correction.updated_at, Review.unread,
        )
        .join(Review, Review.sentence_id == Correction.sentence_id)
        .where(Correction.session_id == session_id)
    )  # fmt: skip
