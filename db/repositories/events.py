"""The history: actions that were acknowledged. Written by what they tell of, and only read here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from db.engine import Database
from db.models import Event, Sentence
from db.records import EventRecord
from db.repositories.common import to_record

__all__ = ["EventRepository", "state_of"]


def state_of(
    status: str,
    spans: Sequence[Sequence[Any]],
    types: Sequence[str],
    *,
    unread: bool = False,
    picked: str = "",
) -> dict[str, Any]:
    """What `Event.before` and `Event.after` hold."""
    return {
        "status": status,
        "spans": [list(span[:3]) for span in spans],
        "types": list(types),
        "unread": unread,
        "picked": picked,
    }


class EventRepository:
    """Rows of the table `events`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, session_id: str, sentence_id: int, *, annotator: str = "") -> list[EventRecord]:
        """The latest first; with `annotator`, of that person's annotation."""
        query = select(Event).where(
            Event.session_id == session_id,
            Event.sentence_id == sentence_id,
            Event.annotator == annotator,
        )
        with self._db.read() as session:
            rows = session.scalars(query.order_by(Event.revision.desc()))
            return [to_record(EventRecord, row) for row in rows]

    def of_bulk(self, session_id: str, bulk: str) -> list[EventRecord]:
        """The events of one action on many sentences, those of hidden sentences left out."""
        query = (
            select(Event)
            .join(Sentence, Sentence.id == Event.sentence_id)
            .where(Event.session_id == session_id, Event.bulk == bulk)
            .where(Sentence.duplicate.is_(False))
        )
        with self._db.read() as session:
            rows = session.scalars(query.order_by(Sentence.position))
            return [to_record(EventRecord, row) for row in rows]
