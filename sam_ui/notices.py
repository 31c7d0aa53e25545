"""Messages above the primary button."""

from __future__ import annotations

from sam_ui.markup import esc, tag
from sam_ui.words import _

__all__ = ["broken_html", "looking_html", "notice_html"]


def notice_html(what: str, hint: str = "", *, kind: str = "problem", button: str = "") -> str:
    """A message that stays until dismissed or until the next action succeeds.

    Args:
        what, hint: plain; texts of errors are translated here.
        button: HTML of something to do about it.
    """
    close = tag("button", "×", data_act="dismiss", aria_label=_("Dismiss"), class_="sam-x")
    role = "alert" if kind == "problem" else "status"
    text = f"<strong>{esc(_(what))}</strong> {esc(_(hint))}".strip()
    return f'<div class="sam-notice {kind}" role="{role}"><p>{text}</p>{button}{close}</div>'


def broken_html() -> str:
    """Something failed that is nobody's mistake but ours."""
    return notice_html(
        _("Something went wrong inside SaM."),
        _("Your work is saved. Try again; if it happens again, reload the page."),
    )


def looking_html() -> str:
    """Whoever may only look has tried to change something."""
    return notice_html(
        _("You can look at this session, but not change it."),
        _("Ask whoever gave you the link for one that lets you."),
    )
