"""Pieces that several steps show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sam_ui.help import learn_more
from sam_ui.markup import attrs, esc, tag
from sam_ui.services.views import BaseInfo, JobView
from sam_ui.words import _, _n, day, figure, mark_n

__all__ = [
    "ago",
    "base_notice",
    "heading",
    "pager_html",
    "stale_html",
    "stopped_html",
    "switch",
    "turned",
]


NOUNS = {
    "sentence": mark_n("{n} sentence", "{n} sentences"),
    "expert": mark_n("{n} expert", "{n} experts"),
}


def ago(then: datetime) -> str:
    """How long ago a moment was, as people say it; of more than a day ago the date."""
    minutes = int((datetime.now(UTC) - then).total_seconds() // 60)
    if minutes < 2:
        return _("just now")
    if minutes < 90:
        return _n("{n} minute ago", "{n} minutes ago", minutes)
    if minutes < 36 * 60:
        return _n("{n} hour ago", "{n} hours ago", round(minutes / 60))
    return day(then)


def heading(title: str, what: str = "", *, learn: str = "") -> str:
    """Title of a screen and the sentence that says what it is for. `what` is HTML already; `learn`
    is a topic of the help to lead to.
    """
    what = " ".join(part for part in (what, learn and learn_more(learn)) if part)
    return f'<div class="sam-heading"><h1>{esc(title)}</h1>{f"<p>{what}</p>" if what else ""}</div>'


def pager_html(offset: int, limit: int, total: int, noun: str) -> str:
    """“1–12 of 340 sentences”, with buttons when there is more than one page; `noun` is one of
    `NOUNS`.
    """
    first, last = offset + 1, min(total, offset + limit)
    said = _n(*NOUNS[noun], total)
    if total > limit:
        said = _("{first}–{last} of {all}", first=figure(first), last=figure(last), all=said)
    buttons = ""
    if total > limit:
        buttons = tag(
            "button", _("‹ Back"), data_act="page", data_offset=max(0, offset - limit),
            disabled=offset <= 0, class_="sam-small",
        ) + tag(
            "button", _("Next ›"), data_act="page", data_offset=offset + limit,
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
    said = _("You stopped the last run. What it had finished is kept, so that the next is quicker.")
    return f'<div class="sam-inset">{said}</div>'


def stale_html(what: str) -> str:
    """A warning that a result does not fit any more."""
    return f'<div class="sam-inset stale">{esc(what)}</div>'


def base_notice(base: BaseInfo) -> str:
    """The base model's name and, beside it, the notice that its terms ask for."""
    name = _("Base model: {name}.", name=f"<code>{esc(base.name)}</code>")
    return f'<p class="sam-fine">{name} {esc(base.notice)}</p>'
