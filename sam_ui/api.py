"""The endpoints that programs may call (gradio_client, curl, MCP); all other listeners are private.

The token of a link is the only key: whoever has none sees nothing of the session, and one of a link
for looking changes nothing. Gradio shows the docstrings: a line a parameter. docs/api.md has an
example from beginning to end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gradio.events import api

from sam_ui.api_door import Door, told, words
from sam_ui.api_work import WorkEndpoints

if TYPE_CHECKING:
    from sam_ui.services import Services

__all__ = ["SessionEndpoints", "add_api", "endpoints"]

SHOWN = 100


class SessionEndpoints(Door):
    """Sessions, their texts and types; experts compared."""

    @told
    def start_session(self, name: str = "") -> dict[str, Any]:
        """Start a session. The answer's "token" opens it in all other calls, and in the browser as
        ?s=TOKEN: keep it, it is a secret.

        Args:
            name: what to call the session
        """
        session = self.services.sessions.create(words(name, "name") or None)
        return {"token": session.token, "name": session.name}

    @told
    def add_text(self, token: str, text: str) -> dict[str, Any]:
        """Add text to the session; it is cut into sentences, repeated ones are left out.

        Args:
            token: opens the session; must allow changes
            text: one or more sentences
        """
        session = self.open_to_change(token)
        report = self.services.corpus.add_text(session.id, words(text, "text"))
        return {"sentences": report.sentences, "duplicates": report.duplicates}

    @told
    def set_types(self, token: str, types: str) -> list[str]:
        """Say what to look for; replaces the session's entity types.

        Args:
            token: opens the session; must allow changes
            types: names separated by commas, or a line each, "name: definition"
        """
        session = self.open_to_change(token)
        return [
            kind.name for kind in self.services.types.set_text(session.id, words(types, "types"))
        ]

    @told
    def read_session(self, token: str) -> dict[str, Any]:
        """Name, state of each step, types and the first 100 sentences of the session.

        Args:
            token: opens the session
        """
        session = self.open(token)
        page = self.services.corpus.sentences(session.id, offset=0, limit=SHOWN)
        return {
            "name": session.name,
            "state": dict(self.services.state(session.id)),
            "types": [kind.name for kind in self.services.types.list(session.id)],
            "sentences": [row.text for row in page.rows],
            "total": page.total,
        }

    @told
    def compare_experts(self, token: str, names: str) -> dict[str, Any]:
        """How well experts go together, before merging them.

        Args:
            token: opens the session
            names: of two or more experts, separated by commas
        """
        session = self.open(token)
        chosen = [name for part in words(names, "names").split(",") if (name := part.strip())]
        found = asdict(self.services.merge.compatibility(session.id, chosen))
        # JSON has no other keys.
        return found | {"retained": {str(rank): part for rank, part in found["retained"].items()}}


def endpoints(services: Services) -> tuple[Callable[..., Any], ...]:
    """Everything that programs may call; the name of the function is that of the endpoint."""
    sessions, work = SessionEndpoints(services), WorkEndpoints(services)
    return (
        sessions.start_session,
        sessions.add_text,
        sessions.set_types,
        sessions.read_session,
        sessions.compare_experts,
        work.match,
        work.merge,
        work.predict,
        work.read_job,
        work.cancel_job,
        work.read_match,
        work.read_merges,
        work.read_predictions,
    )


def add_api(services: Services) -> None:
    """Register the endpoints on the `gr.Blocks` that is being built."""
    for endpoint in endpoints(services):
        api(endpoint, api_name=endpoint.__name__)
