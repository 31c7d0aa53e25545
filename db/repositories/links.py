"""Links into sessions. A token is told once, when it is made; only its hash is kept."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import ColumnElement, or_, select, update

from db.engine import Database
from db.models import Link, WorkSession, now
from db.records import LinkRecord, SessionRecord
from db.repositories.common import in_parts, new_id, to_record

__all__ = ["LinkRepository", "link_of", "new_token", "token_hash"]

TOKEN_BYTES = 24
_NOTE_USE_EVERY = timedelta(minutes=2)


def new_token() -> str:
    """An unguessable token (192 bits), 32 characters that fit into a URL."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> str:
    """What is kept of a token: SHA-256, hexadecimal. Tokens are random, so that no salt is needed."""
    return sha256(token.encode(errors="replace")).hexdigest()


def link_of(
    session_id: str, kind: str, token: str, *, label: str = "", expires_at: datetime | None = None
) -> Link:
    """A row to add; `kind`: "edit" or "view"."""
    return Link(
        id=new_id(), session_id=session_id, kind=kind, token_hash=token_hash(token), label=label,
        expires_at=expires_at,
    )  # fmt: skip


def _open() -> tuple[ColumnElement[bool], ...]:
    """Of links joined with their sessions: those that open something at this moment."""
    return (
        Link.revoked_at.is_(None),
        or_(Link.expires_at.is_(None), Link.expires_at > now()),
        WorkSession.deleted_at.is_(None),
    )


class LinkRepository:
    """Rows of the table `links`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(
        self,
        session_id: str,
        kind: str,
        token: str,
        *,
        label: str = "",
        expires_at: datetime | None = None,
    ) -> LinkRecord:
        """Keep a link, as of `link_of`; the token itself is the caller's."""
        row = link_of(session_id, kind, token, label=label, expires_at=expires_at)
        with self._db.write() as session:
            session.add(row)
            session.flush()
            return to_record(LinkRecord, row)

    def open(self, tokens: Sequence[str]) -> dict[str, tuple[SessionRecord, LinkRecord]]:
        """By token, the sessions that the tokens open; those that open nothing are left out."""
        hashes = {token_hash(token): token for token in tokens}
        found: dict[str, tuple[SessionRecord, LinkRecord]] = {}
        with self._db.read() as session:
            query = select(WorkSession, Link).join(Link, Link.session_id == WorkSession.id)
            for part in in_parts(list(hashes)):
                these = query.where(Link.token_hash.in_(part), *_open())
                for work, link in session.execute(these):
                    records = (to_record(SessionRecord, work), to_record(LinkRecord, link))
                    found[hashes[link.token_hash]] = records
        return found

    def find(self, token: str) -> LinkRecord | None:
        """The link of a token, also one that is revoked, expired, or of a deleted session."""
        with self._db.read() as session:
            row = session.scalar(select(Link).where(Link.token_hash == token_hash(token)))
            return to_record(LinkRecord, row) if row else None

    def list(self, session_id: str) -> list[LinkRecord]:
        """Those that have not been revoked, in the order in which they were made."""
        query = select(Link).where(Link.session_id == session_id, Link.revoked_at.is_(None))
        with self._db.read() as session:
            rows = session.scalars(query.order_by(Link.created_at, Link.id))
            return [to_record(LinkRecord, row) for row in rows]

    def revoke(self, session_id: str, link_id: str) -> bool:
        """Whether the session had such a link, not revoked yet."""
        mine = (Link.session_id == session_id, Link.id == link_id, Link.revoked_at.is_(None))
        with self._db.write() as session:
            gone = session.execute(
                update(Link).where(*mine).values(revoked_at=now()).returning(Link.id)
            )
            return gone.first() is not None

    def used(self, link: LinkRecord) -> None:
        """Note that a link was used; every few minutes, so that reading stays reading."""
        if link.last_used_at is not None and now() - link.last_used_at < _NOTE_USE_EVERY:
            return
        with self._db.write() as session:
            session.execute(update(Link).where(Link.id == link.id).values(last_used_at=now()))
