"""The queue of long work, shared by the app (submits, watches) and the worker (takes, reports).

All changes of state are conditional updates, so that a job that was cancelled, or taken from a
worker believed dead, is never overwritten by a late report.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Job, now
from db.records import JobRecord
from db.repositories.common import new_id, to_record

__all__ = ["MAX_ATTEMPTS", "JobRepository"]

MAX_ATTEMPTS = 2
"""A job whose worker died is tried once more; the second time it is likely the culprit."""

ACTIVE = ("queued", "running")


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

    def latest(self, session_id: str, kinds: Sequence[str] | None = None) -> JobRecord | None:
        """The job submitted last, finished or not."""
        query = select(Job).where(Job.session_id == session_id)
        if kinds is not None:
            query = query.where(Job.kind.in_(kinds))
        with self._db.read() as session:
            row = session.scalar(query.order_by(Job.created_at.desc()).limit(1))
            return to_record(JobRecord, row) if row else None

    def ahead_of(self, job: JobRecord) -> int:
        """How many unfinished jobs were submitted before this one."""
        query = select(Job.id).where(Job.state.in_(ACTIVE), Job.created_at < job.created_at)
        with self._db.read() as session:
            return len(list(session.scalars(query)))

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
        """Take the oldest queued job; no two workers get the same one.

        Args:
            first: kinds that go ahead of all others.
        """
        oldest = select(Job.id).where(Job.state == "queued")
        with self._db.read() as session:  # most polls find nothing: take no write lock for them
            if session.scalar(oldest.limit(1)) is None:
                return None
        with self._db.write() as session:
            late = Job.kind.not_in(first)  # false comes before true
            job_id = session.scalar(oldest.order_by(late, Job.created_at, Job.id).limit(1))
            if job_id is None:
                return None
            taken = session.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == "queued")
                .values(
                    state="running",
                    worker=worker,
                    attempts=Job.attempts + 1,
                    started_at=now(),
                    heartbeat_at=now(),
                    progress=0.0,
                    eta_s=None,
                    message="Starting",
                )
                .returning(Job.id)
            ).all()
            row = session.get(Job, job_id) if taken else None
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
        """Queue the worker's job again: it is stopped on purpose, which is not the job's fault.

        A job that was asked to stop is cancelled instead.
        """
        mine = (Job.worker == worker, Job.state == "running")
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
                    state="queued",
                    worker=None,
                    attempts=Job.attempts - 1,
                    progress=0.0,
                    eta_s=None,
                    message="",
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
                    job.state, job.message, job.worker = "queued", "Starting again", None
                    job.progress = 0.0
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
