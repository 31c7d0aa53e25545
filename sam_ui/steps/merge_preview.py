"""Three of the person's sentences beside the sliders, read again when one is released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import empty, esc, skeleton, tag
from sam_ui.page import Page, Updates, Visit
from sam_ui.services.drafts import Draft
from sam_ui.services.merge_views import PreviewSentence, PreviewView
from sam_ui.span_view import legend_html, spans_html

__all__ = ["Preview", "preview_html"]

EVERY_S = 0.4
"""How often to look whether a preview is there: it takes about a second."""


def preview_html(
    view: PreviewView | None, colors: Mapping[str, str], *, running: bool, problem: str = ""
) -> str:
    """The sentences with their spans; new ones are outlined, those that are gone are named below.

    Args:
        running: a newer preview is on its way.
        problem: why the newest one failed.
    """
    said = "Reading…" if running else problem or "Read again whenever you release a slider."
    note = tag("p", esc(said), class_="sam-note", id="preview-state", aria_live="polite")
    title = "<h2>Three of your sentences</h2>"
    if view is None:
        waiting = skeleton((88, 70)) if running else empty(
            "Nothing read yet", "Move a slider to see what it changes."
        )  # fmt: skip
        return title + (note if running or problem else "") + waiting
    used = {span.label for row in view.sentences for span in (*row.spans, *row.gone)}
    legend = legend_html({name: color for name, color in colors.items() if name in used})
    rows = "".join(_row(row, colors) for row in view.sentences)
    return f'{title}{note}{legend}<ol class="sam-sentences plain">{rows}</ol>'


def _row(row: PreviewSentence, colors: Mapping[str, str]) -> str:
    fresh = frozenset(span.key for span in row.new)
    gone = ", ".join(
        f"<del>{esc(row.text[span.start : span.end])}</del> ({esc(span.label)})"
        for span in row.gone
    )
    below = f'<p class="sam-note sam-gone">No longer found: {gone}</p>' if gone else ""
    return f"<li>{spans_html(row.text, row.spans, colors, fresh=fresh)}{below}</li>"


class Preview:
    """The card under the sliders."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        with gr.Column(elem_classes="sam-card"):
            self.html = page.add(gr.HTML(apply_default_css=False, elem_id="merge-preview"))
        self.timer = page.add(gr.Timer(EVERY_S, active=False))
        # Touches this card alone: a slider that is being moved meanwhile is left in peace.
        self.timer.tick(
            self.poll, [page.token], [self.html, self.timer],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    def paint(self, visit: Visit) -> Updates:
        if not visit.wants("preview"):
            return {}
        running = self.services.preview.running(visit.id)
        return {
            self.html: self._html(visit.id, running=running),
            self.timer: gr.Timer(active=running),
        }

    def begin(self, visit: Visit, draft: Draft) -> None:
        """The first preview, when the screen is opened; a failed one is not tried again."""
        if self.services.preview.result(visit.id) is not None:
            return
        latest = self.services.jobs.latest(visit.id, "preview")
        if latest is None or latest.state == "done":
            self.ask(visit, draft)

    def ask(self, visit: Visit, draft: Draft) -> None:
        """Read the sentences with the draft's weights, if there is anything to read with."""
        try:
            self.services.preview.start(
                visit.id, draft.weights, method=draft.method,
                parameters=dict(draft.parameters), rank=draft.rank, dual=draft.dual,
            )  # fmt: skip
        except SamError:
            return  # no expert, no texts: the screen says so elsewhere
        visit.only = (*visit.only, "preview") if visit.only else ()

    def poll(self, token: str) -> dict[Any, Any]:
        """A moment has passed while a preview is on its way."""
        session = self.services.sessions.by_token(token) if token else None
        if session is None:
            return {self.timer: gr.Timer(active=False)}
        if self.services.preview.running(session.id):
            return {self.timer: gr.skip()}
        return {
            self.html: self._html(session.id, running=False),
            self.timer: gr.Timer(active=False),
        }

    def _html(self, session_id: str, *, running: bool) -> str:
        latest = self.services.jobs.latest(session_id, "preview")
        failed = latest is not None and latest.state == "failed"
        problem = f"{latest.what} {latest.hint}".strip() if latest and failed else ""
        colors = {kind.name: kind.color for kind in self.services.types.list(session_id)}
        view = self.services.preview.result(session_id)
        return preview_html(view, colors, running=running, problem=problem)
