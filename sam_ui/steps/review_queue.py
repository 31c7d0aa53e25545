"""The left column of Review: how far it is, in which order and which sentences, what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sam_ui.markup import attrs, esc, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.review_views import ReviewSentence
from sam_ui.steps.review_place import Place, merge_of, order_of, set_filter
from sam_ui.words import _, _n, figure, mark

__all__ = ["Queue", "queue_html"]

SHOWN = 8
ORDERS = {
    "doubt": mark("most doubtful first"),
    "position": mark("as in your texts"),
    "random": mark("at random"),
    "diverse": mark("as varied as possible"),
}
STATUSES = {
    "": mark("all"),
    "open": mark("not reviewed yet"),
    "reviewed": mark("reviewed"),
    "changed": mark("changed"),
    "accepted": mark("accepted as found"),
    "skipped": mark("skipped"),
}
STATES = {
    "open": ("○", mark("not reviewed")),
    "accepted": ("✓", mark("accepted")),
    "changed": ("✎", mark("changed")),
    "skipped": ("–", mark("skipped")),
}


def _select(name: str, label: str, options: Mapping[str, str], chosen: str) -> str:
    items = "".join(
        tag("option", esc(said), value=value, selected=value == chosen)
        for value, said in options.items()
    )
    return f"<label>{esc(label)}{tag('select', items, data_act=name, id=f'review-{name}')}</label>"


def queue_html(
    place: Place,
    shown: Sequence[ReviewSentence],
    types: Sequence[str],
    *,
    order: str,
    status: str,
    kind: str,
    search: str,
) -> str:
    """Progress, filters and the next sentences. `shown`: those of the queue to list."""
    queue = place.queue
    share = 100 / max(1, queue.sentences)
    count = _(
        "<strong>{reviewed}</strong> of {all} reviewed",
        reviewed=figure(queue.reviewed), all=figure(queue.sentences),
    )  # fmt: skip
    if queue.skipped:
        count += _n(", {n} skipped", ", {n} skipped", queue.skipped)
    meter = (
        f'<div class="sam-meter" aria-hidden="true">'
        f'<b style="width:{queue.reviewed * share:.2f}%"></b>'
        f'<i style="width:{queue.skipped * share:.2f}%"></i></div>'
    )
    field = attrs(
        type="search", data_act="q_search", value=search, id="review-q_search",
        placeholder=_("words in the sentence"), maxlength=200,
    )  # fmt: skip
    orders = {key: _(said) for key, said in ORDERS.items()}
    statuses = {key: _(said) for key, said in STATUSES.items()}
    kinds = {"": _("any type")} | {name: name for name in types}
    filters = (
        f'<div class="sam-filters">{_select("q_order", _("Order"), orders, order)}</div>'
        f'<details data-key="filters"{" open" if place.filtered else ""}>'
        f'<summary>{esc(_("Show only some"))}</summary><div class="sam-filters">'
        f"{_select('q_status', _('State'), statuses, status)}"
        f"{_select('q_type', _('With'), kinds, kind)}"
        f"<label>{esc(_('Search'))}<input {field}></label></div></details>"
    )
    found = ""
    if place.filtered:
        found = tag(
            "p",
            _n("{n} sentence fits.", "{n} sentences fit.", queue.total)
            + " " + tag("button", esc(_("Show all")), data_act="clear", class_="sam-link"),
            class_="sam-note", role="status",
        )  # fmt: skip
    here = place.sentence.sentence.id if place.sentence else None
    rows = "".join(_row(each, here) for each in shown)
    return (
        f'<h2>{esc(_("Sentences"))}</h2><p class="sam-queue-count" id="review-count">{count}</p>'
        f'{meter}{filters}{found}<ol class="sam-queue">{rows}</ol>'
    )


def _row(shown: ReviewSentence, here: int | None) -> str:
    sign, said = STATES[shown.status]
    row = shown.sentence
    inner = (
        tag("span", sign, class_=f"state {shown.status}", title=_(said))
        + tag("span", esc(row.text[:160]), class_="text", dir="auto")
        + tag("span", esc(_(said)), class_="sam-hear")
    )
    button = tag("button", inner, data_sentence_go=row.id, type="button")
    return tag("li", button, aria_current="true" if row.id == here else None)


class Queue:
    """The part; made inside its card."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.html = page.add(action_html("review-queue"))
        page.on(self.html.act, self.act, event=True, mode="multiple", writes=False)

    def paint(self, visit: Visit, place: Place) -> Updates:
        filters = visit.filters
        first = max(0, min(place.at - 1, len(place.ids) - SHOWN))
        sentence, merge = self.services.review.sentence, merge_of(visit)
        shown = [
            sentence(visit.id, ident, merge_id=merge)
            for ident in place.ids[first : first + SHOWN]
        ]  # fmt: skip
        html = queue_html(
            place, shown, [kind.name for kind in self.services.types.list(visit.id)],
            order=order_of(visit), status=filters.get("q_status", ""),
            kind=filters.get("q_type", ""), search=filters.get("q_search", ""),
        )  # fmt: skip
        return {self.html: html}

    def act(self, visit: Visit) -> None:
        visit.only = ("one",)
        act = str(visit.act.get("act", ""))
        if act == "clear":
            clear(visit)
        elif act in ("q_order", "q_status", "q_type", "q_search"):
            set_filter(visit, act, str(visit.act.get("value", "")).strip())


def clear(visit: Visit) -> None:
    """Show all sentences again."""
    for name in ("q_status", "q_type", "q_search"):
        visit.filters.pop(name, None)
