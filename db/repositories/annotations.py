"""What annotators who work separately say of the sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Annotation, Event, Sentence, now
from db.records import AnnotationRecord
from db.repositories.common import to_record
from db.repositories.events import state_of
from db.repositories.reviews import lock_session
from db.repositories.sessions import touch

__all__ = ["AnnotationRepository", "Said", "keep_annotation"]

Said = Callable[[str, AnnotationRecord | None], Sequence[Sequence[Any]] | None]
"""Told the sentence's text and what the annotator said of it before: the spans to keep, None to
leave everything as it is.
"""


class AnnotationRepository:
    """Rows of the table `annotations`: one for a sentence and an annotator."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(
        self, session_id: str, sentence_id: int, who: str, said: Said, *, types: Sequence[str]
    ) -> int | None:
        """Keep what somebody says of a sentence, with its event.

        Args:
            said: called in the transaction; must not use the database.

        Returns:
            The number of the annotator's last event on it; None where the session has no such
            sentence.
        """
        visible = select(Sentence.text).where(
            Sentence.id == sentence_id,
            Sentence.session_id == session_id,
            Sentence.duplicate.is_(False),
        )
        mine = select(Annotation).where(
            Annotation.sentence_id == sentence_id, Annotation.who == who
        )
        with self._db.write() as session:
            lock_session(session, session_id)
            text, row = session.scalar(visible), session.scalar(mine)
            if text is None:
                return None
            spans = said(text, to_record(AnnotationRecord, row) if row else None)
            if spans is None:
                return row.revision if row else 0
            if row is None:
                row = Annotation(
                    session_id=session_id, sentence_id=sentence_id, who=who, revision=0,
                    spans=[], types=[],
                )  # fmt: skip
                session.add(row)
            keep_annotation(session, row, spans, types)
            touch(session, session_id)
            return row.revision

    def get(self, session_id: str, sentence_id: int, who: str) -> AnnotationRecord | None:
        query = select(Annotation).where(
            Annotation.session_id == session_id,
            Annotation.sentence_id == sentence_id,
            Annotation.who == who,
        )
        with self._db.read() as session:
            row = session.scalar(query)
            return to_record(AnnotationRecord, row) if row else None

    def counts(self, session_id: str) -> dict[str, int]:
        """Annotator -> sentences, in the order of their names; hidden sentences left out."""
        query = (
            select(Annotation.who, func.count())
            .join(Sentence, Sentence.id == Annotation.sentence_id)
            .where(Annotation.session_id == session_id, Sentence.duplicate.is_(False))
            .group_by(Annotation.who)
            .order_by(Annotation.who)
        )
        with self._db.read() as session:
            return {who: int(count) for who, count in session.execute(query)}

    def by(self, session_id: str, who: str) -> dict[int, AnnotationRecord]:
        """Sentence -> what `who` says of it, in the order of the texts."""
        query = (
            select(Annotation)
            .join(Sentence, Sentence.id == Annotation.sentence_id)
            .where(Annotation.session_id == session_id, Annotation.who == who)
            .where(Sentence.duplicate.is_(False))
            .order_by(Sentence.position)
        )
        with self._db.read() as session:
            return {a.sentence_id: to_record(AnnotationRecord, a) for a in session.scalars(query)}


def keep_annotation(
    session: Session,
    row: Annotation,
    spans: Sequence[Sequence[Any]],
    types: Sequence[str],
    *,
    action: str = "annotate",
) -> None:
    """Give an annotation other spans, and tell of it by an event."""
    before = state_of("changed" if row.revision else "open", row.spans, row.types)
    row.spans, row.types = [list(span) for span in spans], list(types)
    row.revision, row.updated_at = row.revision + 1, now()
    session.add(
        Event(
            session_id=row.session_id, sentence_id=row.sentence_id, annotator=row.who,
            who=row.who if action == "annotate" else "", revision=row.revision, at=row.updated_at,
            action=action, before=before, after=state_of("changed", row.spans, row.types),
        )
    )  # fmt: skip
    session.flush()
