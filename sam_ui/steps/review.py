"""Step 4: what the merged model found, to read and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr

from sam_ui.markup import color_or_grey, empty, esc, number, skeleton, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, step_column
from sam_ui.services.views import MergeInfo, PredictionPage
from sam_ui.span_view import DOUBTFUL, spans_html
from sam_ui.steps.common import base_notice, heading, pager_html, stale_html, stopped_html, turned

__all__ = ["build", "filter_html", "predictions_html"]

PAGE = 20
WORKING = ("merge", "merge_and_predict", "predict")
ORDERS = [("as in your texts", "position"), ("most doubtful first", "doubtful")]


def filter_html(counts: Mapping[str, int], colors: Mapping[str, str], chosen: Sequence[str]) -> str:
    """What was found, a bar a type; a click shows that type alone."""
    most = max([1, *counts.values()])
    rows = "".join(
        tag(
            "button",
            f'<span class="sam-key">{esc(name)}</span>'
            f'<span class="track"><b style="width:{100 * count / most:.1f}%"></b></span>'
            f'<span class="n">{count:,}</span>',
            data_act="type", data_name=name, aria_pressed="true" if name in chosen else "false",
            style=f"--c:{color_or_grey(colors.get(name))}",
        )
        for name, count in counts.items()
    )  # fmt: skip
    total = number(sum(counts.values()), "entity", "entities")
    every = ""
    if chosen:
        every = tag("button", "Show all types", data_act="all", class_="sam-small")
    return (
        f'<h2>What was found</h2><p class="sam-muted" id="found-total">{total}. '
        f'Choose types to see only these.</p><div class="sam-counts">{rows}</div>{every}'
    )


def predictions_html(page: PredictionPage, colors: Mapping[str, str], chosen: Sequence[str]) -> str:
    """Sentences with coloured spans; a dashed line says that the model is not sure."""
    if not page.rows:
        return empty("No sentence fits these filters", "Show all types or clear the search.")
    rows = "".join(
        f'<li data-sentence="{row.sentence.id}"><span class="sam-pos">{row.sentence.position + 1}'
        f"</span><div>"
        + spans_html(
            row.sentence.text,
            [span for span in row.spans if not chosen or span.label in chosen],
            colors,
        )
        + "</div></li>"
        for row in page.rows
    )
    pager = pager_html(page.offset, page.limit, page.total, "sentence")
    return f'<ol class="sam-sentences review" id="predictions">{rows}</ol>{pager}'


class Review:
    """The components of the step and what its listeners do."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.column = page.add(step_column("step-review"))
        with self.column:
            self.top = page.add(gr.HTML(apply_default_css=False, elem_id="review-top"))
            self.body = page.add(gr.Row(elem_classes="sam-columns", visible=False))
            with self.body:
                with gr.Column(scale=2, min_width=280):
                    with gr.Column(elem_classes="sam-card"):
                        self.found = page.add(action_html("found"))
                    with gr.Column(elem_classes="sam-card"):
                        self._build_filters(page)
                with gr.Column(scale=5, min_width=320, elem_classes="sam-card"):
                    self.rows = page.add(action_html("review-rows"))
        filters = [self.order, self.search, self.only_found]
        page.on(self.found.act, self.type_act, event=True, mode="multiple", writes=False)
        page.on(self.rows.act, self.turned, event=True, writes=False)
        for box in (self.order, self.only_found):
            page.on(box.input, self.filtered, filters, writes=False)
        page.on(self.search.change, self.filtered, filters, mode="always_last", writes=False)
        page.on(self.merge.input, self.merge_chosen, [self.merge], writes=False)

    def _build_filters(self, page: Page) -> None:
        gr.HTML('<h2 class="sam-h2">Show</h2>', apply_default_css=False)
        self.merge = page.add(
            gr.Dropdown([], label="Found by", elem_id="review-merge", interactive=True)
        )
        self.order = page.add(
            gr.Radio(ORDERS, value="position", label="Order", elem_id="review-order")
        )
        self.search = page.add(
            gr.Textbox(label="Search", placeholder="words in the sentence", elem_id="review-search")
        )
        self.only_found = page.add(
            gr.Checkbox(label="Only sentences in which something was found", elem_id="review-only")
        )

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        merges = [merge for merge in self.services.merge.list(visit.id) if merge.predicted]
        page = self._page(visit, merges)
        updates: Updates = {}
        if not visit.only:
            updates[self.top] = self._top(visit, page)
            updates[self.body] = gr.Row(visible=page is not None)
            if visit.resets("order", "search", "only_found"):
                updates |= {self.order: "position", self.search: "", self.only_found: False}
            updates[self.merge] = gr.Dropdown(
                choices=[(merge.label, merge.id) for merge in merges],
                value=page.merge_id if page else None,
                visible=len(merges) > 1,
            )
        if page is not None:
            kinds = self.services.types.list(visit.id)
            colors = {kind.name: kind.color for kind in kinds}
            chosen = visit.filters.get("types", [])
            updates[self.found] = filter_html(page.counts, colors, chosen)
            updates[self.rows] = predictions_html(page, colors, chosen)
        return updates

    def _page(self, visit: Visit, merges: Sequence[MergeInfo]) -> PredictionPage | None:
        filters = visit.filters
        known = {merge.id for merge in merges}
        merge = filters.get("merge") if filters.get("merge") in known else None
        return self.services.predict.page(
            visit.id, offset=filters.get("offset", 0), limit=PAGE,
            types=filters.get("types") or None, search=filters.get("search", ""),
            order=filters.get("order", "position"), only_found=filters.get("only_found", False),
            merge_id=merge,
        )  # fmt: skip

    def _top(self, visit: Visit, page: PredictionPage | None) -> str:
        said = (
            "Point at a coloured span to see how sure the model is; a dashed line marks less than "
            f"{round(100 * DOUBTFUL)} %."
        )
        title = heading("What the merged model found", said if page else "", learn="review")
        if visit.job(*WORKING):
            working = "The merged model is reading your texts. You can leave this page; it goes on."
            title = heading("What the merged model found", working, learn="review")
            return title + ("" if page else skeleton((94, 80, 88, 70, 91, 76)))
        latest = self.services.jobs.latest(visit.id)
        stopped = stopped_html(latest) if latest and latest.kind in WORKING else ""
        if page is None:
            nothing = empty(
                "Nothing to review yet", "Merge some experts and use them on your texts."
            )
            return title + (stopped or nothing)
        stale = ""
        if page.stale:
            stale = stale_html("Texts, types or experts have changed since: merge again to update.")
        return title + stopped + stale + base_notice(self.services.base_info())

    def primary(self, visit: Visit) -> Primary:
        if visit.job(*WORKING):
            return Primary("Reading…", enabled=False)
        if any(merge.predicted for merge in self.services.merge.list(visit.id)):
            return Primary("Take the model home", hint="Download the model and what it found.")
        return Primary("Go to Merge")

    def press(self, visit: Visit) -> None:
        merged = any(merge.predicted for merge in self.services.merge.list(visit.id))
        visit.step = "share" if merged else "merge"

    # ---- listeners --------------------------------------------------------------------------

    def filtered(self, visit: Visit, order: str, search: str, only_found: bool) -> None:
        chosen = {"order": order, "search": (search or "").strip(), "only_found": bool(only_found)}
        if any(visit.filters.get(name) != value for name, value in chosen.items()):
            visit.filters |= chosen | {"offset": 0}
        visit.only = ("rows",)

    def type_act(self, visit: Visit) -> None:
        chosen = list(visit.filters.get("types", []))
        name = str(visit.act.get("name", ""))
        if visit.act.get("act") == "all":
            chosen = []
        elif name in chosen:
            chosen.remove(name)
        else:
            chosen.append(name)
        visit.filters |= {"types": chosen, "offset": 0}
        visit.only = ("rows",)

    def turned(self, visit: Visit) -> None:
        visit.filters["offset"] = turned(visit.act, PAGE)
        visit.only = ("rows",)

    def merge_chosen(self, visit: Visit, merge: str | None) -> None:
        visit.filters |= {"merge": merge, "offset": 0}


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Review(page)
    page.steps["review"] = Step("review", step.column, step.paint, step.primary, step.press)
