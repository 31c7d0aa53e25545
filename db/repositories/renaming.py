"""An entity type gets another name, wherever the session has written the old one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Annotation, Correction, EntityType, Prediction, Sentence
from db.records import NewReview
from db.repositories.annotations import keep_annotation
from db.repositories.reviews import store_reviews, stored_reviews
from db.repositories.sessions import touch

__all__ = ["RenamingRepository"]

RENAME = "rename"
"""The action of the events that renaming makes."""


class RenamingRepository:
    """Changes of one type."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def rename(self, session_id: str, old: str, new: str) -> bool:
        """Rename a type, and its label in predictions, corrections, annotations, and entities that
        came with the texts. Models know a type by its name: results are out of date then.

        Returns:
            Whether the session has a type of the old name, and none of the new one.
        """
        with self._db.write() as session:
            mine = EntityType.session_id == session_id
            names = set(session.scalars(select(EntityType.name).where(mine)))
            if old not in names or new in names:
                return False
            session.execute(update(EntityType).where(mine, EntityType.name == old).values(name=new))
            found = (Prediction.session_id == session_id, Prediction.label == old)
            session.execute(update(Prediction).where(*found).values(label=new))
            _rename_corrections(session, session_id, old, new)
            _rename_annotations(session, session_id, old, new)
            known = (Sentence.session_id == session_id, Sentence.gold.is_not(None))
            for sentence in session.scalars(select(Sentence).where(*known)):
                if _has(sentence.gold or [], old):
                    sentence.gold = _relabelled(sentence.gold or [], old, new)
            touch(session, session_id, types=True)
            return True


def _rename_corrections(session: Session, session_id: str, old: str, new: str) -> None:
    """What changes the spans is an event, as everything that does; whoever said so still says so."""
    touched = []
    mine = Correction.session_id == session_id
    for correction in session.scalars(select(Correction).where(mine)):
        if _has(correction.spans, old):
            touched.append(correction.sentence_id)
        else:
            correction.types = _renamed(correction.types, old, new)
    session.flush()
    stored = stored_reviews(session, session_id, touched, hidden=True)
    changes = [
        NewReview(
            ident, review.status, _relabelled(review.spans or [], old, new),
            _renamed(review.types, old, new), review.spans or [], RENAME, unread=review.unread,
            picked=review.picked, author=review.who,
        )
        for ident, review in stored.items()
    ]  # fmt: skip
    if changes:
        store_reviews(session, session_id, changes, stored)


def _rename_annotations(session: Session, session_id: str, old: str, new: str) -> None:
    mine = Annotation.session_id == session_id
    for annotation in session.scalars(select(Annotation).where(mine)):
        spans, types = annotation.spans, annotation.types
        annotation.types = _renamed(types, old, new)
        if _has(spans, old):
            keep_annotation(
                session, annotation, _relabelled(spans, old, new), annotation.types, action=RENAME
            )


def _has(spans: list[Any], label: str) -> bool:
    return any(span[2] == label for span in spans)


def _renamed(types: list[Any], old: str, new: str) -> list[Any]:
    return [new if name == old else name for name in types]


def _relabelled(spans: list[Any], old: str, new: str) -> list[Any]:
    return [[*span[:2], new if span[2] == old else span[2], *span[3:]] for span in spans]
