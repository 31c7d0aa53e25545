"""Spans that a merge predicts over the session's sentences."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Merge, Prediction, Run, Sentence
from db.records import NewSpan, SentenceRecord, SpanRecord
from db.repositories.common import AT_ONCE, new_id
from db.repositories.corpus import sentence_query, sentence_record
from db.repositories.sessions import touch

__all__ = ["PredictionRepository"]


class PredictionRepository:
    """Rows of the table `predictions`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def replace(
        self,
        session_id: str,
        merge_id: str,
        spans: Sequence[NewSpan],
        *,
        corpus_revision: int,
        types_revision: int,
    ) -> str | None:
        """Store the predictions of a merge in place of earlier ones, with their run.

        Spans of sentences that have been removed meanwhile are left out.

        Returns:
            The id of the run; None when the merge itself has been deleted meanwhile.
        """
        with self._db.write() as session:
            mine = select(Merge.id).where(Merge.session_id == session_id, Merge.id == merge_id)
            if session.scalar(mine) is None:
                return None
            session.execute(
                delete(Prediction).where(
                    Prediction.session_id == session_id, Prediction.merge_id == merge_id
                )
            )
            alive = set(
                session.scalars(select(Sentence.id).where(Sentence.session_id == session_id))
            )
            rows = [
                {
                    "session_id": session_id,
                    "merge_id": merge_id,
                    "sentence_id": span.sentence_id,
                    "start": span.start,
                    "end": span.end,
                    "label": span.label,
                    "score": span.score,
                }
                for span in spans
                if span.sentence_id in alive
            ]
            if rows:
                session.execute(insert(Prediction), rows)
            run_id = new_id()
            session.add(
                Run(
                    id=run_id,
                    session_id=session_id,
                    kind="predict",
                    merge_id=merge_id,
                    corpus_revision=corpus_revision,
                    types_revision=types_revision,
                )
            )
            session.flush()
            touch(session, session_id)
            return run_id

    def counts(self, session_id: str, merge_id: str) -> dict[str, int]:
        """Spans by type, over visible sentences."""
        query = (
            select(Prediction.label, func.count())
            .join(Sentence, Sentence.id == Prediction.sentence_id)
            .where(Prediction.session_id == session_id, Prediction.merge_id == merge_id)
            .where(Sentence.duplicate.is_(False))
            .group_by(Prediction.label)
        )
        with self._db.read() as session:
            return {label: int(count) for label, count in session.execute(query)}

    def page(
        self,
        session_id: str,
        merge_id: str,
        *,
        offset: int = 0,
        limit: int | None = None,
        labels: Sequence[str] | None = None,
        search: str = "",
        only_found: bool = False,
        doubtful_first: bool = False,
    ) -> tuple[int, list[tuple[SentenceRecord, list[SpanRecord]]]]:
        """Sentences with their spans.

        Args:
            labels: only sentences with a span of one of these types (all their spans are returned).
            only_found: only sentences with a span.
            doubtful_first: by the lowest score in the sentence, sentences without spans last;
                else in the order of the texts.

        Returns:
            How many sentences pass the filters, and those of the page.
        """
        lowest = (
            select(Prediction.sentence_id, func.min(Prediction.score).label("lowest"))
            .where(Prediction.session_id == session_id, Prediction.merge_id == merge_id)
            .group_by(Prediction.sentence_id)
        )
        if labels is not None:
            lowest = lowest.where(Prediction.label.in_(labels))
        found = lowest.subquery()
        query = sentence_query(session_id, search)
        on = found.c.sentence_id == Sentence.id
        query = query.join(found, on, isouter=not only_found and labels is None)
        with self._db.read() as session:
            total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
            if doubtful_first:
                query = query.order_by(found.c.lowest.is_(None), found.c.lowest)
            query = query.order_by(Sentence.position).offset(offset)
            if limit is not None:
                query = query.limit(limit)
            rows = [sentence_record(row) for row in session.execute(query)]
            spans = self._spans(session, session_id, merge_id, rows)
        return total, [(row, spans.get(row.id, [])) for row in rows]

    def _spans(
        self, session: Session, session_id: str, merge_id: str, rows: Sequence[SentenceRecord]
    ) -> dict[int, list[SpanRecord]]:
        query = (
            select(Prediction)
            .where(Prediction.session_id == session_id, Prediction.merge_id == merge_id)
            .order_by(Prediction.start, Prediction.end)
        )
        if len(rows) <= AT_ONCE:  # else all of them: databases bound the number of parameters
            query = query.where(Prediction.sentence_id.in_([row.id for row in rows]))
        spans: dict[int, list[SpanRecord]] = {}
        for p in session.scalars(query):
            spans.setdefault(p.sentence_id, []).append(SpanRecord(p.start, p.end, p.label, p.score))
        return spans
