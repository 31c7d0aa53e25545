"""How far sentences have been looked at: the one place that writes corrections.

A review, its correction and the event that tells of it are written together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Correction, Event, Review, Sentence, WorkSession, now
from db.records import EventRecord, NewReview, ReadSentence, StoredReview
from db.repositories.common import in_parts, to_record
from db.repositories.events import state_of
from db.repositories.sessions import touch

__all__ = [
    "CORRECTED",
    "Decide",
    "ReviewRepository",
    "lock_session",
    "store_reviews",
    "stored_reviews",
]

CORRECTED = ("accepted", "changed")
"""Statuses of sentences that have a correction."""

Decide = Callable[[Mapping[int, StoredReview]], Sequence[NewReview]]
"""What becomes of the sentences, told what is known of those that the session (still) has."""


class ReviewRepository:
    """Rows of the table `reviews`, with those of `corrections` and `events` that belong to them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def change(
        self,
        session_id: str,
        sentence_ids: Sequence[int],
        decide: Decide,
        *,
        past: bool = False,
    ) -> dict[int, int]:
        """Review sentences, all or none, in one transaction: of two changes at once, also from two
        processes, the second sees the first.

        Args:
            decide: must not use the database; what it raises leaves everything as it was.
            past: tell `decide` the events too.

        Returns:
            Sentence -> the number of its new event.
        """
        with self._db.write() as session:
            lock_session(session, session_id)
            stored = stored_reviews(session, session_id, sentence_ids, past=past)
            changes = list(decide(stored))
            if changes:
                store_reviews(session, session_id, changes, stored)
                touch(session, session_id)
            return {c.sentence_id: stored[c.sentence_id].revision + 1 for c in changes}

    def stored(self, session_id: str, sentence_ids: Sequence[int]) -> dict[int, StoredReview]:
        """What is known of those of the sentences that the session has and shows."""
        with self._db.read() as session:
            return stored_reviews(session, session_id, sentence_ids)

    def get(self, session_id: str, sentence_id: int) -> StoredReview | None:
        """None where the session has no such sentence, or it is hidden."""
        return self.stored(session_id, [sentence_id]).get(sentence_id)

    def read(self, session_id: str) -> list[ReadSentence]:
        """The corrected sentences that somebody has read, in the order of the texts."""
        query = (
            select(
                Sentence.id, Sentence.position, Sentence.text, Correction.spans, Correction.types,
                Review.picked,
            )
            .join(Correction, Correction.sentence_id == Sentence.id)
            .join(Review, Review.sentence_id == Sentence.id)
            .where(Sentence.session_id == session_id, Sentence.duplicate.is_(False))
            .where(Review.unread.is_(False))
            .order_by(Sentence.position)
        )  # fmt: skip
        with self._db.read() as session:
            return [ReadSentence(*row) for row in session.execute(query)]

    def unread(self, session_id: str) -> int:
        """How many corrected sentences nobody has read."""
        query = (
            select(func.count(Correction.id))
            .join(Review, Review.sentence_id == Correction.sentence_id)
            .join(Sentence, Sentence.id == Correction.sentence_id)
            .where(Correction.session_id == session_id, Sentence.duplicate.is_(False))
            .where(Review.unread.is_(True))
        )
        with self._db.read() as session:
            return session.scalar(query) or 0

    def statuses(self, session_id: str) -> dict[int, str]:
        """Sentence -> status, of all that have been looked at, hidden ones included."""
        query = select(Review.sentence_id, Review.status).where(Review.session_id == session_id)
        with self._db.read() as session:
            return {row.sentence_id: row.status for row in session.execute(query)}


def lock_session(session: Session, session_id: str) -> None:
    """Let nobody else change the session meanwhile, where the database has several writers."""
    session.execute(
        select(WorkSession.id).where(WorkSession.id == session_id).with_for_update()
    ).first()


def store_reviews(
    session: Session,
    session_id: str,
    changes: Sequence[NewReview],
    stored: Mapping[int, StoredReview],
) -> None:
    """Write events, reviews and corrections; `stored` knows all sentences of the changes."""
    moment = now()
    events, reviews, corrections = [], [], []
    for change in changes:
        old = stored[change.sentence_id]
        key = {"session_id": session_id, "sentence_id": change.sentence_id, "who": change.who}
        author = {"who": change.who if change.author is None else change.author}
        reviews.append(
            key
            | author
            | {
                "status": change.status, "revision": old.revision + 1, "unread": change.unread,
                "picked": change.picked, "updated_at": moment,
            }
        )  # fmt: skip
        events.append(
            key
            | {
                "annotator": "", "revision": old.revision + 1, "at": moment, "bulk": change.bulk,
                "action": change.action,
                "before": state_of(
                    old.status, change.before, old.types, unread=old.unread, picked=old.picked
                ),
                "after": state_of(
                    change.status, change.spans, change.types,
                    unread=change.unread, picked=change.picked,
                ),
            }
        )  # fmt: skip
        if change.status in CORRECTED:
            said = {"spans": change.spans, "types": change.types, "updated_at": moment}
            corrections.append(key | author | said)
    ids = [change.sentence_id for change in changes]
    born = dict(_each(session, ids, Correction.sentence_id, Correction.created_at))
    for part in in_parts(ids):
        for table in (Correction, Review):
            session.execute(
                delete(table).where(table.sentence_id.in_(part)),
                execution_options={"synchronize_session": False},
            )
    for row in corrections:
        row["created_at"] = born.get(row["sentence_id"], moment)
    for model, rows in ((Event, events), (Review, reviews), (Correction, corrections)):
        if rows:
            session.execute(insert(model), rows)


def stored_reviews(
    session: Session,
    session_id: str,
    sentence_ids: Sequence[int],
    *,
    past: bool = False,
    hidden: bool = False,
) -> dict[int, StoredReview]:
    """What is known of those of the sentences that the session has.

    Args:
        past: with their events.
        hidden: those too that are not shown.
    """
    query = (
        select(
            Sentence.id, Sentence.text, Review.status, Review.revision, Review.who, Review.unread,
            Review.picked, Review.updated_at, Correction.spans, Correction.types,
        )
        .outerjoin(Review, Review.sentence_id == Sentence.id)
        .outerjoin(Correction, Correction.sentence_id == Sentence.id)
        .where(Sentence.session_id == session_id)
    )  # fmt: skip
    if not hidden:
        query = query.where(Sentence.duplicate.is_(False))
    found: dict[int, StoredReview] = {}
    for part in in_parts(sentence_ids):
        events = _events(session, part) if past else {}
        for row in session.execute(query.where(Sentence.id.in_(part))):
            known = tuple(events.get(row.id, ()))
            found[row.id] = (
                StoredReview(row.id, row.text)
                if row.status is None
                else StoredReview(
                    row.id, row.text, row.status, row.revision, row.who, row.unread, row.picked,
                    row.updated_at, row.spans, row.types or [], known,
                )
            )  # fmt: skip
    return found


def _events(session: Session, ids: Sequence[int]) -> dict[int, list[EventRecord]]:
    query = select(Event).where(Event.annotator == "", Event.sentence_id.in_(ids))
    found: dict[int, list[EventRecord]] = {}
    for row in session.scalars(query.order_by(Event.revision.desc())):
        found.setdefault(row.sentence_id, []).append(to_record(EventRecord, row))
    return found


def _each(session: Session, ids: Sequence[int], key: Any, *more: Any) -> Iterable[Any]:
    for part in in_parts(ids):
        yield from session.execute(select(key, *more).where(key.in_(part)))
