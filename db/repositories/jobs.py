"""The queue of long work, shared by the app (submits, watches) and the worker (takes, reports).

All changes of state are conditional updates, so that a job that was cancelled, or taken from a
worker believed dead, is never overwritten by a late report.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Job, now
from db.records import JobRecord
from db.repositories.common import new_id, to_record
from db.repositories.turns import read_waiting

__all__ = ["MAX_ATTEMPTS", "JobRepository"]

MAX_ATTEMPTS = 2
"""A job whose worker died is tried once more; the second time it is likely the culprit."""

ACTIVE = ("queued", "running")
INTERRUPTED = {"interrupted": True}
"""The result of an unfinished job whose worker has stopped in the middle of it."""


class JobRepository:
    """Rows of the table `jobs`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def submit(
        self,
        session_id: str | None,
        kind: str,
        payload: dict[str, Any],
        *,
        replaces: Sequence[str] = (),
    ) -> str:
        """Queue a job; unfinished jobs of the session of this kind or one in `replaces` are
        cancelled.

        Returns:
            The id of the job.
        """
        job_id = new_id()
        with self._db.write() as session:
            if session_id is not None:
                kinds = {kind, *replaces}
                self._cancel(session, Job.session_id == session_id, Job.kind.in_(kinds))
            session.add(Job(id=job_id, session_id=session_id, kind=kind, payload=payload))
        return job_id

    def get(self, job_id: str) -> JobRecord | None:
        with self._db.read() as session:
            row = session.get(Job, job_id)
            return to_record(JobRecord, row) if row else None

    def active(self, session_id: str) -> list[JobRecord]:
        """Unfinished jobs that nobody has asked to stop, newest first."""
        query = select(Job).where(
            Job.session_id == session_id, Job.state.in_(ACTIVE), Job.cancel_requested.is_(False)
        )
        with self._db.read() as session:
            rows = session.scalars(query.order_by(Job.created_at.desc()))
            return [to_record(JobRecord, row) for row in rows]

    def latest(
        self, session_id: str, kinds: Sequence[str] | None = None, *, without: Sequence[str] = ()
    ) -> JobRecord | None:
        """The job submitted last, finished or not; `without` names kinds that do not count."""
        query = select(Job).where(Job.session_id == session_id, Job.kind.not_in(without))
        if kinds is not None:
            query = query.where(Job.kind.in_(kinds))
        with self._db.read() as session:
            row = session.scalar(query.order_by(Job.created_at.desc()).limit(1))
            return to_record(JobRecord, row) if row else None

    def ahead_of(self, job_id: str, *, first: Sequence[str] = ()) -> list[JobRecord]:
        """What is to be done before a queued job has its turn: what runs, then what waits.

        Args:
            first: as of `take`.
        """
        with self._db.read() as session:
            running = list(session.scalars(select(Job).where(Job.state == "running")))
            before = []
            for waiting in read_waiting(session, first=first):
                if waiting.id == job_id:
                    break
                before.append(waiting.id)
            found = {row.id: row for row in session.scalars(select(Job).where(Job.id.in_(before)))}
            waits = [found[each] for each in before]
            return [to_record(JobRecord, row) for row in (*running, *waits)]

    def typical_s(self, kind: str) -> float | None:
        """How long jobs of a kind took lately (median of the last ten), in seconds."""
        query = select(Job.started_at, Job.finished_at).where(
            Job.kind == kind,
            Job.state == "done",
            Job.started_at.is_not(None),
            Job.finished_at.is_not(None),
        )
        with self._db.read() as session:
            rows = session.execute(query.order_by(Job.created_at.desc()).limit(10)).all()
        took = sorted((end - start).total_seconds() for start, end in rows if start and end)
        return took[len(took) // 2] if took else None

    def cancel(self, job_id: str) -> None:
        """A queued job is cancelled at once, a running one is asked to stop."""
        with self._db.write() as session:
            self._cancel(session, Job.id == job_id)

    def _cancel(self, session: Session, *which: ColumnElement[bool]) -> None:
        session.execute(
            update(Job)
            .where(Job.state == "queued", *which)
            .values(state="cancelled", finished_at=now(), message="Cancelled")
        )
        session.execute(
            update(Job).where(Job.state == "running", *which).values(cancel_requested=True)
        )

    # ---- the worker's side ----

    def take(self, worker: str, *, first: Sequence[str] = ()) -> JobRecord | None:
        """Take the queued job whose turn it is; no two workers get the same one.

        Args:
            first: kinds that go ahead of all others.
        """
        with self._db.read() as session:  # most polls find nothing: take no write lock for them
            if session.scalar(select(Job.id).where(Job.state == "queued").limit(1)) is None:
                return None
        with self._db.write() as session:
            waiting = read_waiting(session, first=first)
            if not waiting:
                return None
            taken = session.execute(
                update(Job)
                .where(Job.id == waiting[0].id, Job.state == "queued")
                .values(
                    state="running",
                    worker=worker,
                    attempts=Job.attempts + 1,
                    started_at=func.coalesce(Job.started_at, now()),
                    heartbeat_at=now(),
                    eta_s=None,
                    message="Starting",
                )
                .returning(Job.id)
            ).all()
            row = session.get(Job, waiting[0].id) if taken else None
            return to_record(JobRecord, row) if row else None

    def report(
        self, job_id: str, worker: str, *, progress: float, message: str, eta_s: float | None
    ) -> None:
        """Progress in [0, 1]; also a sign of life."""
        self._update_mine(
            job_id, worker, progress=progress, message=message, eta_s=eta_s, heartbeat_at=now()
        )

    def beat(self, job_id: str, worker: str) -> None:
        """A sign of life."""
        self._update_mine(job_id, worker, heartbeat_at=now())

    def others_wait(self, job: JobRecord, *, first: Sequence[str] = ()) -> tuple[bool, bool]:
        """Whether a quick job waits, and whether another session's job does."""
        query = select(Job.kind, Job.session_id).where(Job.state == "queued")
        with self._db.read() as session:
            rows = session.execute(query).all()
        quick = any(kind in first for kind, _ in rows)
        return quick, any(k not in first and owner != job.session_id for k, owner in rows)

    def give_way(self, job_id: str, worker: str) -> None:
        """Queue a job again that can go on later, because others wait."""
        self._requeue(*_mine(job_id, worker), heartbeat_at=now())

    def must_stop(self, job_id: str, worker: str) -> bool:
        """Whether the job was cancelled, deleted with its session, or given to another worker."""
        query = select(Job.id).where(*_mine(job_id, worker), Job.cancel_requested.is_(False))
        with self._db.read() as session:
            return session.scalar(query) is None

    def finish(self, job_id: str, worker: str, result: dict[str, Any]) -> None:
        self._update_mine(
            job_id,
            worker,
            state="done",
            progress=1.0,
            eta_s=None,
            message="Done",
            result=result,
            finished_at=now(),
        )

    def fail(self, job_id: str, worker: str, what: str, hint: str) -> None:
        self._update_mine(
            job_id, worker, state="failed", what=what, hint=hint, eta_s=None, finished_at=now()
        )

    def set_cancelled(self, job_id: str, worker: str) -> None:
        """The job has stopped because it was asked to."""
        self._update_mine(
            job_id, worker, state="cancelled", message="Cancelled", eta_s=None, finished_at=now()
        )

    def give_back(self, worker: str) -> None:
        """Queue the worker's job again: it is stopped on purpose, which is not the job's fault."""
        mine = (Job.worker == worker, Job.state == "running")
        self._requeue(*mine, result=INTERRUPTED, heartbeat_at=None)  # it keeps its turn

    def _requeue(self, *mine: ColumnElement[bool], **values: Any) -> None:
        """A job that was asked to stop is cancelled instead."""
        with self._db.write() as session:
            session.execute(
                update(Job)
                .where(*mine, Job.cancel_requested.is_(True))
                .values(state="cancelled", message="Cancelled", eta_s=None, finished_at=now())
            )
            session.execute(
                update(Job)
                .where(*mine)
                .values(
                    state="queued", worker=None, attempts=Job.attempts - 1, eta_s=None, **values
                )
            )

    def _update_mine(self, job_id: str, me: str, **values: Any) -> None:
        with self._db.write() as session:
            session.execute(update(Job).where(*_mine(job_id, me)).values(values))

    # ---- clearing up ----

    def release_orphans(
        self, *, what: str, hint: str, worker: str | None = None, silent_s: float | None = None
    ) -> int:
        """Deal with running jobs whose worker is gone: queued once more, then failed.

        Args:
            what, hint: the error that a job gets that fails for it.
            worker: the worker known to be dead.
            silent_s: take any worker for dead that gave no sign of life for so many seconds.

        Returns:
            How many there were.
        """
        gone: list[ColumnElement[bool]] = []
        if worker is not None:
            gone.append(Job.worker == worker)
        if silent_s is not None:
            gone.append(Job.heartbeat_at < now() - timedelta(seconds=silent_s))
        if not gone:
            raise ValueError("name the worker or how long it has been silent")
        orphan = (Job.state == "running", or_(*gone))
        with self._db.read() as session:
            if session.scalar(select(Job.id).where(*orphan).limit(1)) is None:
                return 0
        with self._db.write() as session:
            jobs = list(session.scalars(select(Job).where(*orphan)))
            for job in jobs:
                job.eta_s = None
                if job.cancel_requested:
                    job.state, job.message, job.finished_at = "cancelled", "Cancelled", now()
                elif job.attempts < MAX_ATTEMPTS:
                    job.state, job.worker, job.result = "queued", None, INTERRUPTED
                    job.heartbeat_at = None  # it keeps its turn
                else:
                    job.state, job.what, job.hint = "failed", what, hint
                    job.finished_at = now()
            return len(jobs)

    def fail_queued(self, what: str, hint: str) -> int:
        """Fail all queued jobs, when nothing can run them; returns how many."""
        with self._db.write() as session:
            failed = session.execute(
                update(Job)
                .where(Job.state == "queued")
                .values(state="failed", what=what, hint=hint, finished_at=now())
                .returning(Job.id)
            )
            return len(failed.all())

    def others_running(self, job_id: str) -> bool:
        """Whether any job but this one is being worked on."""
        query = select(Job.id).where(Job.state == "running", Job.id != job_id).limit(1)
        with self._db.read() as session:
            return session.scalar(query) is not None

    def forget(self, *, older_than_s: float) -> int:
        """Delete finished jobs that ended so many seconds ago; returns how many."""
        limit = now() - timedelta(seconds=older_than_s)
        query = delete(Job).where(Job.state.not_in(ACTIVE), Job.finished_at < limit)
        with self._db.write() as session:
            return len(session.execute(query.returning(Job.id)).all())


def _mine(job_id: str, worker: str) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == job_id, Job.worker == worker, Job.state == "running")
