"""Merges of the past: named anew, taken out and put back, and what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Table, delete, func, insert, select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Base, Merge, Prediction, Run, Sentence, UtcDateTime, now
from db.records import SentenceRecord, SpanRecord
from db.repositories.common import in_parts
from db.repositories.corpus import sentence_query, sentence_record
from db.repositories.sessions import touch

__all__ = ["MergeHistoryRepository", "TakenOut"]

TakenOut = dict[str, list[dict[str, Any]]]
"""Table → rows, ready for JSON."""


class MergeHistoryRepository:
    """Reads and changes `merges` with what depends on them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def rename(self, session_id: str, merge_id: str, label: str) -> bool:
        """Whether the session has such a merge."""
        mine = (Merge.session_id == session_id, Merge.id == merge_id)
        with self._db.write() as session:
            renamed = update(Merge).where(*mine).values(label=label).returning(Merge.id)
            return session.scalar(renamed) is not None

    def renew(
        self, session_id: str, merge_id: str, *, corpus_revision: int, types_revision: int
    ) -> None:
        """Date a merge anew: running its recipe now would make it again."""
        values = {"corpus_revision": corpus_revision, "types_revision": types_revision}
        mine = (Merge.session_id == session_id, Merge.id == merge_id)
        with self._db.write() as session:
            session.execute(update(Merge).where(*mine).values(created_at=now(), **values))

    def take_out(self, session_id: str, merge_id: str) -> TakenOut | None:
        """Delete a merge with all that depends on it; returns what was deleted, None for nothing."""
        with self._db.write() as session:
            mine = select(Merge.id).where(Merge.session_id == session_id, Merge.id == merge_id)
            if session.scalar(mine) is None:
                return None
            taken = _dependents(session, merge_id)
            session.execute(delete(Merge).where(Merge.id == merge_id))
            touch(session, session_id)
            return taken

    def put_back(self, session_id: str, taken: TakenOut) -> bool:
        """Store again what `take_out` gave; what belongs to sentences that have been removed since
        is left out.

        Returns:
            False when the session is gone or has the merge already.
        """
        tables = Base.metadata.tables
        with self._db.write() as session:
            ids = [row["id"] for row in taken.get("merges", ())]
            known = session.scalar(select(Merge.id).where(Merge.id.in_(ids)).limit(1))
            if known is not None or any(r["session_id"] != session_id for r in taken["merges"]):
                return False
            alive = set(
                session.scalars(select(Sentence.id).where(Sentence.session_id == session_id))
            )
            for table in Base.metadata.sorted_tables:
                rows = [
                    _unpacked(tables[table.name], row)
                    for row in taken.get(table.name, ())
                    if row.get("sentence_id") is None or row["sentence_id"] in alive
                ]
                if rows:
                    session.execute(insert(table), rows)
            touch(session, session_id)
            return True

    def predictions(self, session_id: str) -> dict[str, str]:
        """Merge → its newest run of the kind "predict"."""
        query = (
            select(Run.merge_id, Run.id)
            .where(Run.session_id == session_id, Run.kind == "predict", Run.merge_id.is_not(None))
            .order_by(Run.created_at)
        )
        with self._db.read() as session:
            return {merge: run for merge, run in session.execute(query) if merge is not None}

    def totals(self, session_id: str) -> dict[str, int]:
        """Merge → spans that it found in visible sentences; merges that found none are left out."""
        query = (
            select(Prediction.merge_id, func.count())
            .join(Sentence, Sentence.id == Prediction.sentence_id)
            .where(Prediction.session_id == session_id, Sentence.duplicate.is_(False))
            .group_by(Prediction.merge_id)
        )
        with self._db.read() as session:
            return {merge: int(count) for merge, count in session.execute(query)}

    def found(
        self, session_id: str, merge_id: str, sentence_ids: Sequence[int] | None = None
    ) -> dict[int, list[SpanRecord]]:
        """Sentence → spans that a merge found in it; None asks for all sentences."""
        query = (
            select(
                Prediction.sentence_id,
                Prediction.start,
                Prediction.end,
                Prediction.label,
                Prediction.score,
            )
            .where(Prediction.session_id == session_id, Prediction.merge_id == merge_id)
            .order_by(Prediction.start, Prediction.end)
        )
        queries = [query]
        if sentence_ids is not None:
            queries = [query.where(Prediction.sentence_id.in_(p)) for p in in_parts(sentence_ids)]
        found: dict[int, list[SpanRecord]] = {}
        with self._db.read() as session:
            for part in queries:
                for ident, start, end, label, score in session.execute(part):
                    found.setdefault(ident, []).append(SpanRecord(start, end, label, score))
        return found

    def sentences(self, session_id: str, ids: Sequence[int]) -> list[SentenceRecord]:
        """Those of the sentences that the session still has, in the order of the texts."""
        query = sentence_query(session_id).order_by(Sentence.position)
        with self._db.read() as session:
            return [
                sentence_record(row)
                for part in in_parts(ids)
                for row in session.execute(query.where(Sentence.id.in_(part)))
            ]


def _dependents(session: Session, merge_id: str) -> TakenOut:
    """The merge's row and, table by table, the rows that refer to one that was found before."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for table in Base.metadata.sorted_tables:
        if table.name == "merges":
            found["merges"] = _rows(session, table, "id", [merge_id])
            continue
        for column in table.columns:
            for key in column.foreign_keys:
                ids = [row["id"] for row in found.get(key.column.table.name, ())]
                if ids and table.name not in found:
                    found[table.name] = _rows(session, table, column.name, ids)
    return {name: [_packed(row) for row in rows] for name, rows in found.items() if rows}


def _rows(
    session: Session, table: Table, column: str, ids: Sequence[Any]
) -> list[Mapping[str, Any]]:
    return [
        dict(row)
        for part in in_parts(ids)
        for row in session.execute(select(table).where(table.c[column].in_(part))).mappings()
    ]


def _packed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}


def _unpacked(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that the database gives are given anew: others may have them by now."""
    values = {}
    for name, value in row.items():
        column = table.c[name]
        if column.primary_key and isinstance(column.type, Integer):
            continue
        moment = isinstance(value, str) and isinstance(column.type, UtcDateTime)
        values[name] = datetime.fromisoformat(value) if moment else value
    return values
