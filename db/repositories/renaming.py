"""An entity type gets another name, wherever the session has written the old one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from db.engine import Database
from db.models import Correction, EntityType, Prediction, Sentence
from db.repositories.sessions import touch

__all__ = ["RenamingRepository"]


class RenamingRepository:
    """Changes of one type."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def rename(self, session_id: str, old: str, new: str) -> bool:
        """Rename a type, and its label in predictions, corrections and annotations that came with
        the texts. Models know a type by its name: results are out of date then.

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
            corrections = select(Correction).where(Correction.session_id == session_id)
            for correction in session.scalars(corrections):
                correction.spans = _relabelled(correction.spans, old, new)
                correction.types = [new if name == old else name for name in correction.types]
            known = (Sentence.session_id == session_id, Sentence.gold.is_not(None))
            for sentence in session.scalars(select(Sentence).where(*known)):
                if any(span[2] == old for span in sentence.gold or ()):
                    sentence.gold = _relabelled(sentence.gold or [], old, new)
            touch(session, session_id, types=True)
            return True


def _relabelled(spans: list[Any], old: str, new: str) -> list[Any]:
    return [[*span[:2], new if span[2] == old else span[2], *span[3:]] for span in spans]
