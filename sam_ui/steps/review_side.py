"""The right column of Review: why a sentence needs attention, what was done to it, and accepting
many at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from experts.errors import SamError
from experts.spans import Span
from sam_ui.markup import attrs, esc, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.review_views import AcceptPreview, EventInfo, ReviewSentence
from sam_ui.span_view import spans_html
from sam_ui.steps.common import ago
from sam_ui.steps.review_place import Place, merge_of, who
from sam_ui.words import _, _n, mark

__all__ = ["Side", "history_html", "sure_html", "why_html"]

EVENTS = 20
SURE = 0.9
ACTIONS = {
    "edit": mark("changed"),
    "accept": mark("accepted"),
    "skip": mark("skipped"),
    "undo": mark("undid a step"),
    "redo": mark("did a step again"),
    "reopen": mark("took everything back"),
    "apply_all": mark("marked what is alike"),
    "accept_all": mark("accepted together with others"),
}


def why_html(shown: ReviewSentence) -> str:
    """Why this sentence comes now."""
    if not shown.why:
        return ""
    reasons = [why[:1].upper() + why[1:] for why in shown.why.split("; ")]
    rows = "".join(tag("li", esc(why), dir="auto") for why in reasons)
    return f"<h2>{esc(_('Why look here'))}</h2><ul class='sam-why'>{rows}</ul>"


def history_html(events: Sequence[EventInfo], text: str) -> str:
    """Who did what, newest first."""
    title = f"<h2>{esc(_('History'))}</h2>"
    if not events:
        said = esc(_("Nobody has touched this sentence yet."))
        return f'{title}<p class="sam-note">{said}</p>'
    rows = "".join(_event(event, text) for event in events[:EVENTS])
    return f'{title}<ol class="sam-past">{rows}</ol>'


def _event(event: EventInfo, text: str) -> str:
    person = tag("b", esc(event.who), dir="auto") if event.who else esc(_("Somebody"))
    did = esc(_(ACTIONS.get(event.action, event.action)))
    before, after = ({span.key: span for span in spans} for spans in (event.before, event.after))
    parts = [
        tag(name, f"{sign} {_named(span, text)}", dir="auto")
        for name, sign, spans, others in (("ins", "+", after, before), ("del", "−", before, after))
        for key, span in spans.items()
        if key not in others
    ]
    more = f"<br>{'<br>'.join(parts[:6])}" if parts else ""
    when = tag("span", esc(ago(event.at)), class_="when")
    return f"<li>{person} {did} · {when}{more}</li>"


def _named(span: Span, text: str) -> str:
    return f"“{esc(text[span.start : span.end][:60])}” {esc(span.label)}"


def sure_html(threshold: float, preview: AcceptPreview | None, colors: dict[str, str]) -> str:
    """Accepting at once what the model is sure of: a slider, what it would do, the button."""
    percent = round(100 * threshold)
    slider = attrs(
        type="range", min=50, max=99, value=percent, data_act="sure", data_pair="sure",
        aria_label=_("How sure the model must be, in per cent"), id="review-sure-slider",
    )  # fmt: skip
    body = ""
    if preview is not None:
        what = _n("{n} sentence", "{n} sentences", preview.sentences)
        if preview.sentences:
            said = _(
                "{sentences} with {spans}, of which the model is sure enough of every one. The "
                "least sure:", sentences=what, spans=_n("{n} mark", "{n} marks", preview.spans),
            )  # fmt: skip
            rows = "".join(
                f"<li>{spans_html(each.sentence.text, each.spans, colors)}</li>"
                for each in preview.examples[:3]
            )
            button = tag(
                "button",
                esc(_n("Accept {n} sentence", "Accept {n} sentences", preview.sentences)),
                data_act="accept_above", class_="sam-small", id="accept-above", type="button",
            )  # fmt: skip
            body = (
                f'<p class="sam-note">{esc(said)}</p><ol class="sam-sentences plain">{rows}</ol>'
                f"{button}"
            )
        else:
            body = tag("p", esc(_("No open sentence is that sure.")), class_="sam-note")
    shown = tag("output", f"{percent} %")
    return (
        f'<details data-key="sure"><summary>{esc(_("Accept all that are sure"))}</summary>'
        f'<p class="sam-note">{esc(_("Accept every sentence of which the model is surer than:"))}'
        f'</p><div class="sam-sure"><input {slider}>{shown}</div>{body}</details>'
    )


class Side:
    """The cards that are always there; made inside their column."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        with gr.Column(elem_classes="sam-card"):
            self.why = page.add(gr.HTML(apply_default_css=False, elem_id="review-why"))
            page.fixed(lambda: gr.HTML(_list(), apply_default_css=False, elem_id="review-spans"))
        with gr.Column(elem_classes="sam-card"):
            self.past = page.add(gr.HTML(apply_default_css=False, elem_id="review-history"))
        self.sure_card = page.add(gr.Column(elem_classes="sam-card"))
        with self.sure_card:
            self.sure = page.add(action_html("review-sure"))
        page.on(self.sure.act, self.act, event=True, mode="multiple", reading=("sure",))

    def paint(self, visit: Visit, place: Place) -> Updates:
        updates: Updates = {self.sure_card: gr.Column(visible=not visit.view_only)}
        shown = place.sentence
        if shown is not None:
            events = self.services.review.history(visit.id, shown.sentence.id)
            updates[self.why] = why_html(shown)
            updates[self.past] = history_html(events, shown.sentence.text)
        if not visit.view_only:
            updates[self.sure] = self._sure(visit)
        return updates

    def _sure(self, visit: Visit) -> str:
        threshold = visit.filters.get("sure", SURE)
        colors = {kind.name: kind.color for kind in self.services.types.list(visit.id)}
        preview = self.services.review.above(visit.id, threshold, merge_id=merge_of(visit))
        return sure_html(threshold, preview, colors)

    def act(self, visit: Visit) -> None:
        visit.only = ("one",)
        if visit.act.get("act") == "sure":
            visit.filters["sure"] = _threshold(visit.act.get("value"))
        elif visit.act.get("act") == "accept_above":
            threshold = visit.filters.get("sure", SURE)
            change = self.services.review.accept_above(
                visit.id, threshold, who=who(visit), merge_id=merge_of(visit)
            )
            visit.filters |= {"bulk": (change.id, change.changed, change.skipped), "strict": True}


def _threshold(value: object) -> float:
    try:
        percent = float(str(value))
    except ValueError:
        percent = 100 * SURE
    if not 0 <= percent <= 100:
        raise SamError("The threshold must lie between 0 and 100 %.", "Use the slider.")
    return percent / 100


def _list() -> str:
    # The editor fills it; see `sam_ui.span_editor`.
    return f"<h2>{esc(_('Marked in it'))}</h2><ul class='sam-ed-list' data-span-list></ul>"
