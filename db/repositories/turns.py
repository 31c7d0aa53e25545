"""Whose turn it is: the sessions that wait are served one after the other, quick jobs first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import Job
from db.repositories.common import AT_ONCE

__all__ = ["Waiting", "in_turn", "read_waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job. `served`: when a job of its session was last worked on, None for never."""

    id: str
    session_id: str | None
    kind: str
    created_at: datetime
    served: datetime | None


def in_turn(jobs: Iterable[Waiting], *, first: Sequence[str] = ()) -> list[Waiting]:
    """Queued jobs in the order in which they will be taken.

    A job's turn counts from when it was submitted or from when its session was last served,
    whichever is later; what else a session has waiting comes a round later. So nobody waits for a
    second job of somebody else, and nobody who waits is passed by more than once.

    Args:
        first: kinds that go ahead of all others, the oldest of them first.
    """
    rounds: dict[str, int] = {}
    keys: dict[str, tuple[bool, int, datetime, datetime, str]] = {}
    ordered = sorted(jobs, key=lambda job: (job.created_at, job.id))
    for job in ordered:
        quick, turn = job.kind in first, 0
        if not quick and job.session_id is not None:
            turn = rounds.get(job.session_id, 0)
            rounds[job.session_id] = turn + 1
        since = job.created_at if quick or job.served is None else max(job.created_at, job.served)
        keys[job.id] = (not quick, turn, since, job.created_at, job.id)
    return sorted(ordered, key=lambda job: keys[job.id])


def read_waiting(session: Session, *, first: Sequence[str] = ()) -> list[Waiting]:
    """The queued jobs, in turn. Quick jobs do not count as having been served."""
    columns = (Job.id, Job.session_id, Job.kind, Job.created_at)
    rows = session.execute(select(*columns).where(Job.state == "queued")).all()
    served = _served(session, {row.session_id for row in rows}, first)
    return in_turn(
        (
            Waiting(row.id, row.session_id, row.kind, row.created_at, served.get(row.session_id))
            for row in rows
        ),
        first=first,
    )


def _served(
    session: Session, sessions: set[str | None], first: Sequence[str]
) -> Mapping[str | None, datetime]:
    """The last sign of life of a session's jobs is when it was last served."""
    if len(sessions) < 2:
        return {}
    query = (
        select(Job.session_id, func.max(Job.heartbeat_at))
        .where(Job.heartbeat_at.is_not(None), Job.kind.not_in(first))
        .group_by(Job.session_id)
    )
    if len(sessions) <= AT_ONCE:  # else all of them: databases bound the number of parameters
        query = query.where(Job.session_id.in_([s for s in sessions if s is not None]))
    return {owner: moment for owner, moment in session.execute(query) if moment}
