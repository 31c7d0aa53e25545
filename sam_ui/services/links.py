"""Links to a session: made, listed, revoked. A token is told once; the database has its hash."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from db import DatabaseError
from db.repositories import new_token
from experts.errors import SamError
from sam_ui.services.store import Store
from sam_ui.services.views import SessionInfo
from sam_ui.words import _, _n, day, mark

__all__ = ["EXPIRIES", "LinkInfo", "LinkService"]

MAX_LABEL = 80
MAX_LINKS = 200
EXPIRIES: dict[str, timedelta | None] = {
    "never": None,
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A link as listed; `used_at` None: never yet (it is noted every few minutes)."""

    id: str
    kind: Literal["edit", "view"]
    label: str
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class LinkService:
    """Links of a session."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, session_id: str, kind: str, *, expires: str = "never", label: str = "") -> str:
        """Make a link; returns its token, which cannot be had again.

        Args:
            kind: "view" to look only, "edit" to change everything.
            expires: a key of `EXPIRIES`.
            label: what the link is for, or for whom.

        Raises:
            SamError: the session is gone, has too many links, or the kind or expiry is unknown.
        """
        self._store.session(session_id)
        if kind not in ("edit", "view") or expires not in EXPIRIES:
            raise SamError("There is no such kind of link.", "Choose one of those on the screen.")
        if len(self._store.links.list(session_id)) >= MAX_LINKS:
            raise SamError(
                _n("This session has {n} link already.", "This session has {n} links already.",
                   MAX_LINKS),
                "Revoke some that nobody needs.",
            )  # fmt: skip
        after = EXPIRIES[expires]
        token = new_token()
        self._store.links.add(
            session_id,
            kind,
            token,
            label=" ".join(label.split())[:MAX_LABEL],
            expires_at=None if after is None else datetime.now(UTC) + after,
        )
        return token

    def list(self, session_id: str) -> list[LinkInfo]:
        """Those that have not been revoked, expired ones included, the oldest first."""
        return [
            LinkInfo(
                id=link.id,
                kind="edit" if link.kind == "edit" else "view",
                label=link.label,
                created_at=link.created_at,
                expires_at=link.expires_at,
                used_at=link.last_used_at,
            )
            for link in self._store.links.list(session_id)
        ]

    def revoke(self, session: SessionInfo, link_id: str) -> None:
        """End a link at once.

        Raises:
            SamError: it is the one that the session was opened with, or has been revoked before.
        """
        if link_id == session.link_id:
            raise SamError(
                "This is the link that you are using; you would lock yourself out.",
                "Create another one for changing, open it, and revoke this one there.",
            )
        if not self._store.links.revoke(session.id, link_id):
            raise SamError("This link was revoked already.", "Reload the page.")

    def used(self, session: SessionInfo) -> None:
        """Note that the link was used that opened `session`."""
        with contextlib.suppress(DatabaseError):  # not worth failing for
            found = self._store.links.open([session.token]).get(session.token)
            if found is not None:
                self._store.links.used(found[1])

    def why_closed(self, token: str) -> tuple[str, str]:
        """Why a token opens nothing, and what to do about it."""
        link = self._store.links.find(token)
        if link is None:
            return (
                mark(
                    "This link opens no session: it is incomplete, or its session is gone for good."
                ),
                mark("Ask for the link again, or start a new session."),
            )
        another = mark("Ask whoever gave it to you for another one.")
        if link.revoked_at is not None:
            return mark("This link has been revoked."), another
        if link.expires_at is not None and link.expires_at <= datetime.now(UTC):
            return _("This link expired on {day}.", day=day(link.expires_at)), another
        return (
            mark("This session has been deleted."),
            mark("Whoever deleted it can undo that for a day."),
        )
