"""The few endpoints that programs may call (gradio_client, curl); all other listeners are private.

A session's token is the only key: whoever does not have it sees nothing of the session.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import api

from experts.errors import SamError

if TYPE_CHECKING:
    from sam_ui.services import Services
    from sam_ui.services.views import SessionInfo

__all__ = ["add_api"]


def add_api(services: Services) -> None:
    """Register the endpoints on the `gr.Blocks` that is being built."""

    def session_of(token: str) -> SessionInfo:
        session = services.sessions.by_token(token)
        if session is None:
            raise gr.Error("No session has this token.", print_exception=False)
        return session

    def start_session(name: str) -> dict[str, Any]:
        """Start a session; the answer's `token` opens it in all other calls and in the browser."""
        session = services.sessions.create(name or None)
        return {"token": session.token, "name": session.name}

    def add_text(token: str, text: str) -> dict[str, Any]:
        """Add pasted text to the session's corpus."""
        session = session_of(token)
        try:
            report = services.corpus.add_text(session.id, text)
        except SamError as problem:
            raise gr.Error(str(problem), print_exception=False) from None
        return {"sentences": report.sentences, "duplicates": report.duplicates}

    def set_types(token: str, types: str) -> list[str]:
        """Replace the session's entity types: "a, b", or lines of "name: definition"."""
        session = session_of(token)
        try:
            return [kind.name for kind in services.types.set_text(session.id, types)]
        except SamError as problem:
            raise gr.Error(str(problem), print_exception=False) from None

    def read_session(token: str) -> dict[str, Any]:
        """Name, state of each step, types and the first 100 sentences of the session."""
        session = session_of(token)
        page = services.corpus.sentences(session.id, offset=0, limit=100)
        return {
            "name": session.name,
            "state": dict(services.state(session.id)),
            "types": [kind.name for kind in services.types.list(session.id)],
            "sentences": [row.text for row in page.rows],
            "total": page.total,
        }

    def compare_experts(token: str, names: str) -> dict[str, Any]:
        """How well experts go together: names separated by commas, two or more."""
        session = session_of(token)
        chosen = [name for part in names.split(",") if (name := part.strip())]
        try:
            found = asdict(services.merge.compatibility(session.id, chosen))
        except SamError as problem:
            raise gr.Error(str(problem), print_exception=False) from None
        # JSON has no other keys.
        return found | {"retained": {str(rank): part for rank, part in found["retained"].items()}}

    api(start_session, api_name="start_session")
    api(add_text, api_name="add_text")
    api(set_types, api_name="set_types")
    api(read_session, api_name="read_session")
    api(compare_experts, api_name="compare_experts")
