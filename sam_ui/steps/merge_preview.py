"""Three of the person's sentences beside the sliders, read again when one is released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import empty, esc, skeleton, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.drafts import Draft
from sam_ui.services.merge_views import PreviewSentence, PreviewView
from sam_ui.services.views import JobView
from sam_ui.span_view import legend_html, spans_html
from sam_ui.words import _, _n

__all__ = ["Preview", "Status", "preview_html"]

EVERY_S = 0.2
"""How often to look whether a preview is there: it takes about a second."""
LINGER_S = 2.0
"""How long to go on looking after a preview has come: another may be asked for meanwhile."""
LONG_S = 90.0


@dataclass(frozen=True, slots=True)
class Status:
    """What is to be said above the sentences.

    Attributes:
        running: a newer preview is on its way; `waiting` says what it waits for, "" for nothing.
        problem: why the newest one failed.
        outdated: what is shown was read with other settings than those of now.
        stands_in: a weighted sum is shown in place of the chosen method, which has to learn first.
        more: there are other sentences to show.
    """

    running: bool = False
    waiting: str = ""
    problem: str = ""
    outdated: bool = False
    stands_in: str = ""
    more: bool = False

    @property
    def said(self) -> str:
        if self.running:
            return self.waiting or _("Reading…")
        if self.problem:
            return self.problem
        if self.outdated:
            return _("This was read before your last change.")
        return _("Read again whenever you release a slider.")


def preview_html(view: PreviewView | None, colors: Mapping[str, str], status: Status) -> str:
    """The sentences with their spans; new ones are outlined, those that are gone are named below.
    What was read with other settings than those of now is drawn pale.
    """
    note = tag("p", esc(status.said), class_="sam-note", id="preview-state", aria_live="polite")
    button = ""
    if status.more:
        button = tag("button", _("Three others"), data_act="others", class_="sam-small",
                     id="preview-others")  # fmt: skip
    title = f'<div class="sam-titled"><h2>{_("Three of your sentences")}</h2>{button}</div>'
    if view is None:
        waiting = skeleton((88, 70)) if status.running else empty(
            _("Nothing read yet"), _("Move a slider to see what it changes.")
        )  # fmt: skip
        return title + (note if status.running or status.problem else "") + waiting
    if not any(row.spans for row in view.sentences):
        note += tag("p", _("In these three, nothing is found."), class_="sam-note")
    used = {span.label for row in view.sentences for span in (*row.spans, *row.gone)}
    legend = legend_html({name: color for name, color in colors.items() if name in used})
    rows = "".join(_row(row, colors) for row in view.sentences)
    pale = " pale" if status.outdated else ""
    stands_in = ""
    if status.stands_in:
        said = _(
            "Shown as a weighted sum: “{method}” settles its weights only when you merge.",
            method=status.stands_in,
        )
        stands_in = tag("p", esc(said), class_="sam-note")
    return (
        f"{title}{note}{_changes(view)}{legend}"
        f'<ol class="sam-sentences plain{pale}">{rows}</ol>{stands_in}'
    )


def _changes(view: PreviewView) -> str:
    """What the last change did, in words."""
    new = sum(len(row.new) for row in view.sentences)
    gone = sum(len(row.gone) for row in view.sentences)
    if not new and not gone:
        return ""
    parts = [_n("{n} new (outlined)", "{n} new (outlined)", new)] * bool(new)
    parts += [_n("{n} no longer found", "{n} no longer found", gone)] * bool(gone)
    said = _("Your last change: {changes}.", changes=", ".join(parts))
    return tag("p", said, class_="sam-note", id="preview-changes")


def _row(row: PreviewSentence, colors: Mapping[str, str]) -> str:
    fresh = frozenset(span.key for span in row.new)
    gone = ", ".join(
        f"<del>{esc(row.text[span.start : span.end])}</del> ({esc(span.label)})"
        for span in row.gone
    )
    below = ""
    if gone:
        below = tag("p", _("No longer found: {list}", list=gone), class_="sam-note sam-gone")
    return f"<li>{spans_html(row.text, row.spans, colors, fresh=fresh)}{below}</li>"


class Preview:
    """The card under the sliders."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        with gr.Column(elem_classes="sam-card"):
            self.html = page.add(action_html("merge-preview"))
        self.timer = page.add(gr.Timer(EVERY_S, active=False))
        page.on(self.html.act, self.act, event=True)
        # Touches this card alone: a slider that is being moved meanwhile is left in peace.
        page.tick(self.timer, self.poll, [page.token], [self.html, self.timer])

    def paint(self, visit: Visit) -> Updates:
        if not visit.wants("preview"):
            return {}
        html, running = self._html(visit.id)
        return {self.html: html, self.timer: gr.Timer(active=running)}

    def begin(self, visit: Visit, draft: Draft) -> None:
        """The first preview, when the screen is opened; a failed one is not tried again."""
        view = self.services.preview.result(visit.id)
        if visit.view_only or (view is not None and not self._outdated(view, draft)):
            return
        latest = self.services.jobs.latest(visit.id, "preview")
        if latest is None or latest.state == "done":
            self.ask(visit, draft)

    def ask(self, visit: Visit, draft: Draft) -> None:
        """Read the sentences with the draft's weights, if there is anything to read with."""
        try:
            self.services.preview.start(visit.id, draft.weights, **_how(draft))
        except SamError:
            return  # no expert, no texts: the screen says so elsewhere
        visit.only = (*visit.only, "preview") if visit.only else ()

    def act(self, visit: Visit) -> None:
        """Three other sentences are asked for."""
        visit.only = ("preview",)
        self.services.preview.others(visit.id)
        self.ask(visit, self._draft(visit.id))

    def poll(self, token: str) -> dict[Any, Any]:
        """A moment has passed while a preview is on its way."""
        session = self.services.sessions.by_token(token) if token else None
        if session is None:
            return {self.timer: gr.Timer(active=False)}
        latest = self.services.jobs.latest(session.id, "preview")
        if latest is not None and latest.active and not latest.ahead:
            return {self.html: gr.skip(), self.timer: gr.skip()}
        html, running = self._html(session.id)
        # An answer that is late must not stop the timer of a newer preview.
        ended = latest.finished_at if latest is not None else None
        recent = ended is not None and (datetime.now(UTC) - ended).total_seconds() < LINGER_S
        return {
            self.html: html,
            self.timer: gr.skip() if running or recent else gr.Timer(active=False),
        }

    def _draft(self, session_id: str) -> Draft:
        match = self.services.match.result(session_id)
        return self.services.drafts.get(session_id).following(match)

    def _outdated(self, view: PreviewView, draft: Draft) -> bool:
        return view.asked != self.services.preview.asked(draft.weights, **_how(draft))

    def _html(self, session_id: str) -> tuple[str, bool]:
        """The card, and whether a preview is on its way."""
        draft = self._draft(session_id)
        view = self.services.preview.result(session_id)
        latest = self.services.jobs.latest(session_id, "preview")
        running = latest is not None and latest.active
        methods = {m.key: m for m in self.services.merge.methods()}
        chosen = methods.get(draft.method)
        status = Status(
            running=running,
            waiting=_waiting(latest) if latest and running else "",
            problem=f"{_(latest.what)} {_(latest.hint)}".strip()
            if latest and latest.state == "failed"
            else "",
            outdated=view is not None and self._outdated(view, draft),
            stands_in=_(chosen.name) if chosen is not None and chosen.needs != "none" else "",
            more=self.services.preview.has_others(session_id),
        )
        colors = {kind.name: kind.color for kind in self.services.types.list(session_id)}
        return preview_html(view, colors, status), running


def _how(draft: Draft) -> dict[str, Any]:
    return {
        "method": draft.method,
        "parameters": dict(draft.parameters),
        "rank": draft.rank,
        "dual": draft.dual,
    }


def _waiting(job: JobView) -> str:
    """What a preview waits for; "" where it is its turn."""
    if not job.ahead:
        return ""
    if job.wait_s is None or job.wait_s < 2:
        return _("Waiting for longer work to make room…")
    about = _("{n} s", n=max(1, round(job.wait_s)))
    if job.wait_s >= LONG_S:
        about = _("{n} min", n=round(job.wait_s / 60))
    return _("Waiting for longer work to make room, about {duration} at most…", duration=about)
