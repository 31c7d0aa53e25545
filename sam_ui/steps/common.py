"""Pieces that several steps show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sam_ui.markup import attrs, esc, number, tag
from sam_ui.services.views import BaseInfo, JobView

__all__ = ["base_notice", "heading", "pager_html", "stale_html", "stopped_html", "switch", "turned"]


def heading(title: str, what: str = "") -> str:
    """Title of a screen and the sentence that says what it is for. `what` is HTML already."""
    return f'<div class="sam-heading"><h1>{esc(title)}</h1>{f"<p>{what}</p>" if what else ""}</div>'


def pager_html(offset: int, limit: int, total: int, noun: str) -> str:
    """“1–12 of 340 sentences”, with buttons when there is more than one page."""
    first, last = offset + 1, min(total, offset + limit)
    said = f"{first:,}–{last:,} of {number(total, noun)}" if total > limit else number(total, noun)
    buttons = ""
    if total > limit:
        buttons = tag(
            "button", "‹ Back", data_act="page", data_offset=max(0, offset - limit),
            disabled=offset <= 0, class_="sam-small",
        ) + tag(
            "button", "Next ›", data_act="page", data_offset=offset + limit,
            disabled=last >= total, class_="sam-small",
        )  # fmt: skip
    return f'<div class="sam-pager"><span>{said}</span><span>{buttons}</span></div>'


def turned(act: Mapping[str, Any], limit: int) -> int:
    """The offset that a pager button asks for."""
    try:
        return max(0, int(act.get("offset", 0))) // limit * limit
    except (TypeError, ValueError):
        return 0


def switch(on: bool, label: str, **data: object) -> str:
    """A checkbox drawn as a switch; `label` is for screen readers."""
    written = attrs(
        type="checkbox", role="switch", checked=on, aria_label=label, class_="sam-switch", **data
    )
    return f"<input {written}>"


def stopped_html(job: JobView | None) -> str:
    """Says that the last run was cancelled; of a failed one the job strip tells.

    Args:
        job: the latest one, when none is active: one that still runs has been asked to stop.
    """
    if job is None or job.state not in ("queued", "running", "cancelled"):
        return ""
    return '<div class="sam-inset">You stopped the last run. Nothing of it was kept.</div>'


def stale_html(what: str) -> str:
    """A warning that a result does not fit any more."""
    return f'<div class="sam-inset stale">{esc(what)}</div>'


def base_notice(base: BaseInfo) -> str:
    """The base model's name and, beside it, the notice that its terms ask for."""
    return f'<p class="sam-fine">Base model: <code>{esc(base.name)}</code>. {esc(base.notice)}</p>'
