"""The tab "All texts" of Review: everything that was found, to read and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr

from sam_ui.markup import color_or_grey, empty, esc, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.views import MergeInfo, PredictionPage
from sam_ui.span_view import DOUBTFUL, spans_html
from sam_ui.steps.common import pager_html, turned
from sam_ui.words import _, _n

__all__ = ["AllTexts", "filter_html", "predictions_html"]

PAGE = 20


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
    total = _n("{n} entity.", "{n} entities.", sum(counts.values()))
    every = ""
    if chosen:
        every = tag("button", esc(_("Show all types")), data_act="all", class_="sam-small")
    return (
        f'<h2>{esc(_("What was found"))}</h2><p class="sam-muted" id="found-total">{esc(total)} '
        f'{esc(_("Choose types to see only these."))}</p><div class="sam-counts">{rows}</div>{every}'
    )


def predictions_html(page: PredictionPage, colors: Mapping[str, str], chosen: Sequence[str]) -> str:
    """Sentences with coloured spans; a dashed line says that the model is not sure."""
    if not page.rows:
        return empty(
            _("No sentence fits these filters"), _("Show all types or clear the search.")
        )  # fmt: skip
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


class AllTexts:
    """The components of the tab; made inside it."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        page.fixed(lambda: gr.HTML(_note(), apply_default_css=False))
        with gr.Row(elem_classes="sam-columns"):
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

    def _build_filters(self, page: Page) -> None:
        page.fixed(
            lambda: gr.HTML(f'<h2 class="sam-h2">{esc(_("Show"))}</h2>', apply_default_css=False)
        )
        self.order = page.fixed(
            lambda: gr.Radio(
                [(_("as in your texts"), "position"), (_("most doubtful first"), "doubtful")],
                value="position", label=_("Order"), elem_id="review-order",
            )
        )  # fmt: skip
        self.search = page.fixed(
            lambda: gr.Textbox(
                label=_("Search"), placeholder=_("words in the sentence"), elem_id="review-search"
            )
        )
        self.only_found = page.fixed(
            lambda: gr.Checkbox(
                label=_("Only sentences in which something was found"), elem_id="review-only"
            )
        )

    def paint(self, visit: Visit, merges: Sequence[MergeInfo]) -> Updates:
        """Raises `SamError` when the session is gone."""
        updates: Updates = {}
        if not visit.only and visit.resets("order", "search", "only_found"):
            updates |= {self.order: "position", self.search: "", self.only_found: False}
        page = self._page(visit, merges)
        if page is not None:
            colors = {kind.name: kind.color for kind in self.services.types.list(visit.id)}
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


def _note() -> str:
    said = _(
        "Point at a coloured span to see how sure the model is; a dashed line marks less than "
        "{share} %.", share=round(100 * DOUBTFUL),
    )  # fmt: skip
    return f'<p class="sam-muted">{esc(said)}</p>'
