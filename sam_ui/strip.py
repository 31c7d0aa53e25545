"""The job strip at the foot: what is being done, how far it is, how long it takes, how to stop it."""

from __future__ import annotations

from sam_ui.markup import attrs, esc, tag
from sam_ui.services.views import JobView
from sam_ui.words import _, mark

__all__ = ["strip_html"]

TITLES = {
    "match": mark("Comparing the experts"),
    "merge": mark("Merging"),
    "predict": mark("Reading your texts"),
    "merge_and_predict": mark("Merging and reading your texts"),
    "learn": mark("Learning from your corrections"),
    "publish": mark("Adding to your experts"),
}


def strip_html(job: JobView | None) -> str:
    """The strip of a job that is queued, running, being stopped, interrupted or failed; else ""."""
    if job is None:
        return ""
    if job.state == "failed":
        return _failed(job)
    if not job.active:
        return ""
    state = "stopping" if job.stopping else job.state
    title = _(TITLES.get(job.kind, ""))
    said = job.line
    if state == "stopping":
        said = _("Stopping. What is finished is kept")
    if title and state != "running":
        said = f"{title}: {said[:1].lower()}{said[1:]}"
    waits = state == "queued" and job.progress == 0.0
    bar = attrs(
        max=1, value=None if waits else f"{max(0.02, min(1.0, job.progress)):.3f}",
        aria_label=_("Progress"),
    )  # fmt: skip
    again = ""
    if job.interrupted and state == "running":
        again = tag("span", _("goes on after an interruption"), class_="sam-badge warn")
    cancel = tag(
        "button", _("Cancel"), data_act="cancel", data_job=job.id, class_="sam-small",
        id="cancel-job", disabled=job.stopping,
    )  # fmt: skip
    look = f"{state} interrupted" if job.interrupted and state == "queued" else state
    return (
        f'<div class="sam-strip {look}" role="status" data-job="{esc(job.id)}">'
        f'<span class="sam-strip-text">{esc(said)}{again}</span>'
        f"<progress {bar}></progress>{cancel}</div>"
    )


def _failed(job: JobView) -> str:
    retry = tag("button", _("Try again"), data_act="retry", data_job=job.id, class_="sam-small",
                id="retry-job")  # fmt: skip
    close = tag("button", "×", data_act="dismiss", data_job=job.id, class_="sam-x",
                aria_label=_("Dismiss"))  # fmt: skip
    return (
        '<div class="sam-strip failed" role="alert"><span class="sam-strip-text"><strong>'
        f"{esc(_(job.what))}</strong> {esc(_(job.hint))}</span>{retry}{close}</div>"
    )
