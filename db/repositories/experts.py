"""The cache of the pool: experts that were ever seen, by name."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from db.engine import Database
from db.models import Expert, now
from db.records import ExpertRecord
from db.repositories.common import to_record

__all__ = ["ExpertRepository"]


class ExpertRepository:
    """Rows of the table `experts`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def remember(self, experts: Sequence[ExpertRecord]) -> None:
        """Add the experts, or update those whose hash has changed; writes only when needed."""
        known = {expert.name: expert.hash for expert in self.all()}
        changed = [e for e in experts if known.get(e.name) != e.hash]
        if not changed:
            return
        with self._db.write() as session:
            for expert in changed:
                session.merge(
                    Expert(
                        name=expert.name,
                        hash=expert.hash,
                        title=expert.title,
                        card=expert.card,
                        added_at=now(),
                    )
                )

    def all(self) -> list[ExpertRecord]:
        with self._db.read() as session:
            rows = session.scalars(select(Expert).order_by(Expert.name))
            return [to_record(ExpertRecord, row) for row in rows]
