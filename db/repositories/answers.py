"""Answers of the probe, kept for the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from db.engine import Database
from db.models import ProbeAnswer, now
from db.repositories.common import in_parts

__all__ = ["AnswerKey", "ProbeAnswerRepository", "Spans"]

AnswerKey = tuple[str, str, str, str]
"""Hash of the expert, of the text, of the asked types; version."""

Spans = list[list[Any]]
"""``[[start, end, type, score], …]``, offsets in code points."""

_KEY = (
    ProbeAnswer.expert_hash,
    ProbeAnswer.text_hash,
    ProbeAnswer.types_hash,
    ProbeAnswer.version,
)
_AT_ONCE = 999 // 4  # keys in a statement: older versions of SQLite take 999 variables
_NOTE_USE_EVERY = timedelta(days=1)


class ProbeAnswerRepository:
    """Rows of the table `probe_answers`: hashes and offsets, never texts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get_many(self, keys: Sequence[AnswerKey]) -> dict[AnswerKey, Spans]:
        """The answers that are known, of these keys.

        That an answer was used is noted once a day, so that reading stays reading.
        """
        found: dict[AnswerKey, Spans] = {}
        old: list[AnswerKey] = []
        limit = now() - _NOTE_USE_EVERY
        query = select(*_KEY, ProbeAnswer.spans, ProbeAnswer.last_used_at)
        with self._db.read() as session:
            for part in in_parts(list(dict.fromkeys(keys)), _AT_ONCE):
                rows = session.execute(query.where(tuple_(*_KEY).in_(part)))
                for expert, text, kind, version, spans, used in rows:
                    found[expert, text, kind, version] = spans
                    if used < limit:
                        old.append((expert, text, kind, version))
        if old:
            with self._db.write() as session:
                for part in in_parts(old, _AT_ONCE):
                    used_now = update(ProbeAnswer).where(tuple_(*_KEY).in_(part))
                    session.execute(used_now.values(last_used_at=now()))
        return found

    def put_many(self, answers: Mapping[AnswerKey, Spans]) -> None:
        """Keep answers, all or none; one that is there already is replaced."""
        moment = now()
        rows = [
            {
                "expert_hash": key[0],
                "text_hash": key[1],
                "types_hash": key[2],
                "version": key[3],
                "spans": spans,
                "created_at": moment,
                "last_used_at": moment,
            }
            for key, spans in answers.items()
        ]
        if not rows:
            return
        with self._db.write() as session:
            connection = session.connection()
            connection.execute(_upsert(connection.dialect.name), rows)

    def forget(self, *, older_than_s: float) -> int:
        """Delete answers that nobody has used for so many seconds; returns how many."""
        unused = ProbeAnswer.last_used_at < now() - timedelta(seconds=older_than_s)
        with self._db.write() as session:
            return session.connection().execute(delete(ProbeAnswer).where(unused)).rowcount


def _upsert(dialect: str) -> Any:
    """Both SQLite and PostgreSQL have the clause, each with an insert of its own."""
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(ProbeAnswer)
    return insert.on_conflict_do_update(
        index_elements=_KEY,
        set_={name: insert.excluded[name] for name in ("spans", "last_used_at")},
    )
