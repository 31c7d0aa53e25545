"""Long work, as the job strip shows it."""

from __future__ import annotations

from db.records import JobRecord
from experts.errors import SamError
from sam_ui.jobs.queue import QUICK
from sam_ui.services.store import Store
from sam_ui.services.views import JobView

__all__ = ["JobService"]


class JobService:
    """Jobs of a session: watched, cancelled, tried again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def active(self, session_id: str) -> JobView | None:
        """The session's unfinished job submitted last, None when nothing runs or waits.

        Quick ones, such as previews, are not counted: nobody has to wait for them.
        """
        jobs = [job for job in self._store.queue.active(session_id) if job.kind not in QUICK]
        return self._view(jobs[0]) if jobs else None

    def get(self, session_id: str, job_id: str) -> JobView | None:
        """None for a job that does not exist or belongs to another session."""
        record = self._store.queue.get(job_id)
        return self._view(record) if record and record.session_id == session_id else None

    def latest(self, session_id: str, kind: str | None = None) -> JobView | None:
        """The job submitted last, finished or not: what a reloaded page shows."""
        record = self._store.queue.jobs.latest(session_id, None if kind is None else [kind])
        return self._view(record) if record else None

    def cancel(self, session_id: str, job_id: str) -> JobView:
        """Ask the job to stop; one that has ended stays as it is.

        Raises:
            SamError: the session has no such job.
        """
        self._own(session_id, job_id)
        self._store.queue.cancel(job_id)
        return self._view(self._own(session_id, job_id))

    def retry(self, session_id: str, job_id: str) -> str:
        """Queue the same work again; returns the id of the new job.

        Raises:
            SamError: the session has no such job.
        """
        job = self._own(session_id, job_id)
        return self._store.queue.submit(session_id, job.kind, job.payload)

    def _own(self, session_id: str, job_id: str) -> JobRecord:
        record = self._store.queue.get(job_id)
        if record is None or record.session_id != session_id:
            raise SamError("This job does not exist any more.", "Start it again.")
        return record

    def _view(self, record: JobRecord) -> JobView:
        message = record.message
        if record.state == "queued":
            ahead = self._store.queue.jobs.ahead_of(record)
            waiting = f"Waiting for {ahead} other job{'' if ahead == 1 else 's'}"
            message = waiting if ahead else "Starting"
        elif record.state == "running" and record.cancel_requested:
            message = "Stopping"
        return JobView(
            id=record.id,
            kind=record.kind,
            state=record.state,  # type: ignore[arg-type]
            progress=record.progress,
            message=message,
            eta_s=record.eta_s,
            what=record.what,
            hint=record.hint,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            result=record.result,
        )
