"""The one exception type for mistakes that a person can make and mend."""

from __future__ import annotations

__all__ = ["Cancelled", "SamError"]


class SamError(Exception):
    """A problem that the person can solve; shown to them without a traceback.

    Args:
        what: names the thing and what is wrong with it ("recipe.json is not valid JSON (line 3)").
        hint: the next step, one sentence ("Fix the line or export the recipe again.").
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what} {hint}".strip())
        self.what = what
        self.hint = hint


class Cancelled(Exception):
    """Raised inside long work when the person has asked for it to stop."""
