"""A session's sentences at a glance: flat rows without texts, for putting them in order."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select

from db.engine import Database
from db.models import Correction, Prediction, Review, Sentence
from db.repositories.corpus import sentence_query

__all__ = ["OverviewRepository"]


class OverviewRepository:
    """Reads what an order of all sentences depends on; hidden sentences are left out."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def sentences(self, session_id: str) -> list[tuple[int, int, int, int]]:
        """(sentence, its position, its document, its length), in the order of the texts."""
        query = (
            select(Sentence.id, Sentence.position, Sentence.document_id, func.length(Sentence.text))
            .where(Sentence.session_id == session_id, Sentence.duplicate.is_(False))
            .order_by(Sentence.position)
        )
        with self._db.read() as session:
            return [(a, b, c, int(d)) for a, b, c, d in session.execute(query)]

    def sureness(self, session_id: str, merge_id: str) -> list[tuple[int, str, float | None, int]]:
        """(sentence, type, lowest score of its spans of that type, how many these are) of what a
        merge predicts.
        """
        lowest, count = func.min(Prediction.score), func.count()
        query = (
            select(Prediction.sentence_id, Prediction.label, lowest, count)
            .where(Prediction.session_id == session_id, Prediction.merge_id == merge_id)
            .group_by(Prediction.sentence_id, Prediction.label)
        )
        with self._db.read() as session:
            return [(a, b, c, int(d)) for a, b, c, d in session.execute(query)]

    def matching(self, session_id: str, search: str) -> set[int]:
        """Sentences whose text contains `search`, whatever the case."""
        query = sentence_query(session_id, search).with_only_columns(Sentence.id)
        with self._db.read() as session:
            return set(session.scalars(query))

    def containing(self, session_id: str, surface: str) -> list[tuple[int, int, str]]:
        """(sentence, position, text) of the sentences that contain exactly these characters."""
        query = (
            select(Sentence.id, Sentence.position, Sentence.text)
            .where(Sentence.session_id == session_id, Sentence.duplicate.is_(False))
            .where(Sentence.text.contains(surface, autoescape=True))  # LIKE: whatever the case
            .order_by(Sentence.position)
        )
        with self._db.read() as session:
            return [(a, b, c) for a, b, c in session.execute(query) if surface in c]

    def corrected(self, session_id: str) -> dict[int, tuple[list[list[Any]], list[str]]]:
        """Sentence -> spans of its correction, and the types that were looked for."""
        query = select(Correction.sentence_id, Correction.spans, Correction.types)
        with self._db.read() as session:
            rows = session.execute(query.where(Correction.session_id == session_id))
            return {ident: (spans, types) for ident, spans, types in rows}

    def unconfirmed(self, session_id: str, labels: Collection[str]) -> set[str]:
        """Those of the types of which nobody has yet said that a span is one."""
        query = (
            select(Correction.spans)
            .join(Review, Review.sentence_id == Correction.sentence_id)
            .where(Correction.session_id == session_id, Review.unread.is_(False))
        )
        left = set(labels)
        with self._db.read() as session:
            for spans in session.scalars(query.execution_options(yield_per=200)):
                left -= {span[2] for span in spans}
                if not left:
                    break
        return left
