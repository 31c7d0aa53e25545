"""Long work, as the job strip shows it."""

from __future__ import annotations

from datetime import UTC, datetime

from db.records import JobRecord
from experts.errors import SamError
from sam_ui.jobs.queue import QUICK
from sam_ui.services.job_words import doing
from sam_ui.services.store import Store
from sam_ui.services.views import JobView
from sam_ui.words import _, _n

__all__ = ["JobService"]

SILENT_S = 10.0
"""The worker gives a sign of life every second; the job is taken from it after half a minute."""


class JobService:
    """Jobs of a session: watched, cancelled, tried again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def active(self, session_id: str) -> JobView | None:
        """The session's unfinished job submitted last, None when nothing runs or waits.

        Quick ones, such as previews, are not counted: nobody has to wait for them. Nor are those
        that have been asked to stop.
        """
        jobs = [job for job in self._store.queue.active(session_id) if job.kind not in QUICK]
        return self._view(jobs[0]) if jobs else None

    def shown(self, session_id: str) -> JobView | None:
        """What the job strip tells of: the active job, else the last one where it is being stopped
        or has failed.
        """
        active = self.active(session_id)
        if active is not None:
            return active
        record = self._store.queue.jobs.latest(session_id, without=QUICK)
        if record is None or record.state not in ("running", "failed"):
            return None
        return self._view(record)

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

        What the job has finished is not done again: its merge, the sentences that were read.

        Raises:
            SamError: the session has no such job.
        """
        job = self._own(session_id, job_id)
        payload = job.payload
        if "recipes" in payload and job.kind not in QUICK:
            payload = {"merge_id": job.id, **payload}
        return self._store.queue.submit(session_id, job.kind, payload)

    def _own(self, session_id: str, job_id: str) -> JobRecord:
        record = self._store.queue.get(job_id)
        if record is None or record.session_id != session_id:
            raise SamError("This job does not exist any more.", "Start it again.")
        return record

    def _view(self, record: JobRecord) -> JobView:
        stopping = record.state == "running" and record.cancel_requested
        interrupted = record.state in ("queued", "running") and bool(record.result)
        ahead, wait_s = self._ahead(record) if record.state == "queued" else (0, None)
        message = doing(record.message)
        if stopping:
            message = _("Stopping")
        elif record.state == "queued":
            message = _waiting(record, ahead, wait_s, interrupted=interrupted)
        elif record.state == "running" and _silent(record):
            message = _("The work was interrupted. It goes on within half a minute")
        return JobView(
            id=record.id,
            kind=record.kind,
            state=record.state,  # type: ignore[arg-type]
            progress=record.progress,
            message=message,
            eta_s=None if stopping else record.eta_s,
            what=record.what,
            hint=record.hint,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            result={} if interrupted else record.result,
            stopping=stopping,
            interrupted=interrupted,
            ahead=ahead,
            wait_s=wait_s,
        )

    def _ahead(self, record: JobRecord) -> tuple[int, float | None]:
        """How many longer jobs come before a queued one, and how many seconds all will take; None
        where nothing foretells it.
        """
        before = self._store.queue.jobs.ahead_of(record.id, first=QUICK)
        known = [left for left in map(self._left_s, before) if left is not None]
        # SaM's own work, which belongs to no session, takes a moment.
        ahead = sum(job.kind not in QUICK and job.session_id is not None for job in before)
        return ahead, sum(known) if before and len(known) == len(before) else None

    def _left_s(self, job: JobRecord) -> float | None:
        """Seconds that a job before this one will still take, None where nothing foretells it."""
        if job.eta_s is not None:
            return job.eta_s
        whole = self._store.queue.jobs.typical_s(job.kind)
        if whole is None:
            return 1.0 if job.kind in QUICK else None
        if job.state != "running" or job.started_at is None:
            return whole
        return max(1.0, whole - (datetime.now(UTC) - job.started_at).total_seconds())


def _waiting(record: JobRecord, ahead: int, wait_s: float | None, *, interrupted: bool) -> str:
    """What is said of a queued job."""
    begun = record.started_at is not None
    start = ""
    if interrupted:
        start = _("Interrupted. It goes on where it stopped")
    elif begun:
        start = _("Paused, so that others have their turn")
    if not ahead:
        return start if interrupted else doing(record.message) if begun else _("Starting")
    said = _n("{n} other before yours", "{n} others before yours", ahead)
    if wait_s is not None:
        said += _(", about {duration}", duration=_duration(wait_s))
    return f"{start} · {said}" if start else said


def _silent(record: JobRecord) -> bool:
    beat = record.heartbeat_at
    return beat is not None and (datetime.now(UTC) - beat).total_seconds() > SILENT_S


def _duration(seconds: float) -> str:
    if seconds >= 90:
        return _("{n} min", n=round(seconds / 60))
    return _("{n} s", n=max(1, round(seconds)))
