"""The queue as the app sees it: submit, look, cancel. Light: imports no models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import Database
from db.records import JobRecord
from db.repositories import JobRepository

__all__ = ["QUICK", "REPLACES", "JobQueue"]

REPLACES: dict[str, tuple[str, ...]] = {
    "merge": ("merge_and_predict",),
    "predict": ("merge_and_predict",),
    "merge_and_predict": ("merge", "predict"),
}
"""Kinds that a new job makes pointless, beside its own: nobody wants both results."""


QUICK = ("preview", "compare", "suggest")
"""Kinds that take a second and that somebody is looking at: they go ahead of all others."""


class JobQueue:
    """Jobs of all sessions in one line, quick ones first, then the oldest."""

    def __init__(self, database: Database) -> None:
        self.jobs = JobRepository(database)

    def submit(self, session_id: str | None, kind: str, payload: Mapping[str, Any]) -> str:
        """Queue a job in place of the session's unfinished one of that kind; returns its id."""
        replaces = REPLACES.get(kind, ())
        return self.jobs.submit(session_id, kind, dict(payload), replaces=replaces)

    def get(self, job_id: str) -> JobRecord | None:
        return self.jobs.get(job_id)

    def active(self, session_id: str) -> list[JobRecord]:
        """Unfinished jobs, newest first."""
        return self.jobs.active(session_id)

    def cancel(self, job_id: str) -> None:
        """At once when queued; when running, the job stops at its next check."""
        self.jobs.cancel(job_id)
