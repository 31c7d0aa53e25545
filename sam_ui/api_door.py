"""What all endpoints share: the token opens the session, a person's errors become answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import gradio as gr

from experts.errors import SamError

if TYPE_CHECKING:
    from sam_ui.services import Services
    from sam_ui.services.views import SessionInfo

__all__ = ["Door", "told", "words"]

P = ParamSpec("P")
R = TypeVar("R")


def told(endpoint: Callable[P, R]) -> Callable[P, R]:
    """An endpoint whose `SamError` reaches the caller as one sentence with the next step."""

    @wraps(endpoint)
    def run(*args: P.args, **values: P.kwargs) -> R:
        try:
            return endpoint(*args, **values)
        except SamError as problem:
            raise gr.Error(str(problem), print_exception=False) from None

    return run


def words(value: object, name: str) -> str:
    """`value`, which a program may have sent in any form, as text.

    Raises:
        SamError: it is something else.
    """
    if not isinstance(value, str):
        raise SamError(f"{name} must be text.", "Send it as a JSON string.")
    return value


class Door:
    """Opens sessions for endpoints."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def open(self, token: str) -> SessionInfo:
        """The session that a token opens, to read from.

        Raises:
            SamError: it opens none.
        """
        session = self.services.sessions.by_token(token)
        if session is None:
            raise SamError(
                "No session has this token.", "Use that of `start_session`, or of a link."
            )
        self.services.links.used(session)
        return session

    def open_to_change(self, token: str) -> SessionInfo:
        """The session that a token opens, to change it.

        Raises:
            SamError: it opens none, or only for looking.
        """
        session = self.open(token)
        if session.view_only:
            raise SamError("This token is for looking only.", "Ask for a link that may change it.")
        return session
