"""Runs (match, predict, export) with their scores, and merges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from db.engine import Database
from db.models import Merge, Run, Score
from db.records import MergeRecord, RunRecord, ScoreRecord
from db.repositories.common import new_id, to_record
from db.repositories.sessions import touch

__all__ = ["MergeRepository", "RunRepository"]


class RunRepository:
    """Rows of the tables `runs` and `scores`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self,
        session_id: str,
        kind: str,
        *,
        corpus_revision: int,
        types_revision: int,
        merge_id: str | None = None,
        params: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
        scores: Sequence[ScoreRecord] = (),
    ) -> str:
        """Store a run with its scores in one transaction.

        Args:
            corpus_revision, types_revision: the session's as they were when the run read it.

        Returns:
            The id of the run.
        """
        run_id = new_id()
        with self._db.write() as session:
            session.add(
                Run(
                    id=run_id,
                    session_id=session_id,
                    kind=kind,
                    merge_id=merge_id,
                    corpus_revision=corpus_revision,
                    types_revision=types_revision,
                    params=params or {},
                    details=details or {},
                )
            )
            session.flush()
            session.add_all(
                Score(
                    session_id=session_id,
                    run_id=run_id,
                    expert=score.expert,
                    kind=score.kind,
                    value=score.value,
                    low=score.low,
                    high=score.high,
                    support=score.support,
                    details=score.details,
                )
                for score in scores
            )
            touch(session, session_id)
        return run_id

    def latest(
        self, session_id: str, kind: str, *, merge_id: str | None = None
    ) -> RunRecord | None:
        """The newest run of a kind; with `merge_id`, of that merge."""
        query = select(Run).where(Run.session_id == session_id, Run.kind == kind)
        if merge_id is not None:
            query = query.where(Run.merge_id == merge_id)
        with self._db.read() as session:
            row = session.scalar(query.order_by(Run.created_at.desc()).limit(1))
            return to_record(RunRecord, row) if row else None

    def latest_id(self, session_id: str, kind: str) -> str | None:
        """The id of the newest run of a kind; its details, which may be long, are not read."""
        query = select(Run.id).where(Run.session_id == session_id, Run.kind == kind)
        with self._db.read() as session:
            return session.scalar(query.order_by(Run.created_at.desc()).limit(1))

    def get(self, session_id: str, run_id: str) -> RunRecord | None:
        query = select(Run).where(Run.session_id == session_id, Run.id == run_id)
        with self._db.read() as session:
            row = session.scalar(query)
            return to_record(RunRecord, row) if row else None

    def merges_with(self, session_id: str, kind: str) -> set[str]:
        """Ids of the merges that have a run of this kind."""
        query = select(Run.merge_id).where(Run.session_id == session_id, Run.kind == kind)
        with self._db.read() as session:
            return {merge_id for merge_id in session.scalars(query) if merge_id is not None}

    def scores(self, session_id: str, run_id: str) -> list[ScoreRecord]:
        query = select(Score).where(Score.session_id == session_id, Score.run_id == run_id)
        with self._db.read() as session:
            return [
                to_record(ScoreRecord, row) for row in session.scalars(query.order_by(Score.id))
            ]


class MergeRepository:
    """Rows of the table `merges`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self,
        session_id: str,
        *,
        merge_id: str,
        label: str,
        recipes: Sequence[dict[str, Any]],
        paths: Sequence[str],
        details: dict[str, Any],
        retained_energy: float,
        corpus_revision: int,
        types_revision: int,
    ) -> None:
        """Store a finished merge. `merge_id` comes from the caller, who named its folder by it."""
        with self._db.write() as session:
            session.add(
                Merge(
                    id=merge_id,
                    session_id=session_id,
                    label=label,
                    recipes=list(recipes),
                    paths=list(paths),
                    details=details,
                    retained_energy=retained_energy,
                    corpus_revision=corpus_revision,
                    types_revision=types_revision,
                )
            )
            session.flush()
            touch(session, session_id)

    def list(self, session_id: str) -> list[MergeRecord]:
        """Newest first."""
        query = select(Merge).where(Merge.session_id == session_id)
        with self._db.read() as session:
            rows = session.scalars(query.order_by(Merge.created_at.desc()))
            return [to_record(MergeRecord, row) for row in rows]

    def get(self, session_id: str, merge_id: str) -> MergeRecord | None:
        query = select(Merge).where(Merge.session_id == session_id, Merge.id == merge_id)
        with self._db.read() as session:
            row = session.scalar(query)
            return to_record(MergeRecord, row) if row else None

    def delete(self, session_id: str, merge_id: str) -> None:
        """Delete the merge with its predictions; its files are the caller's."""
        with self._db.write() as session:
            session.execute(
                delete(Merge).where(Merge.session_id == session_id, Merge.id == merge_id)
            )
            touch(session, session_id)
