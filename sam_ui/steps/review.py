"""Step 4: what the merged model found, corrected sentence by sentence, and read as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from sam_ui.markup import empty, skeleton
from sam_ui.page import Page, Primary, Step, Updates, Visit, step_column
from sam_ui.services.views import MergeInfo, PredictionPage
from sam_ui.steps.common import base_notice, heading, stale_html, stopped_html
from sam_ui.steps.review_agreement import build_part as agreement_card
from sam_ui.steps.review_learn import build_part as learn_card
from sam_ui.steps.review_one import ACCEPT, OneByOne
from sam_ui.steps.review_place import Place, find_place
from sam_ui.steps.review_scores import build_part as scores_card
from sam_ui.steps.review_texts import AllTexts
from sam_ui.words import _

__all__ = ["build"]

WORKING = ("merge", "merge_and_predict", "predict")
PARTS = (scores_card, learn_card, agreement_card)
"""Further cards of the right column: what makes them."""


class Review:
    """The components of the step and what its listeners do."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.column = page.add(step_column("step-review"))
        with self.column:
            self.top = page.add(gr.HTML(apply_default_css=False, elem_id="review-top"))
            self.body = page.add(gr.Column(visible=False))
            with self.body:
                self.merge = page.fixed(
                    lambda: gr.Dropdown(
                        [], label=_("Found by"), elem_id="review-merge", interactive=True
                    )
                )
                with gr.Tabs(selected="one"):
                    one = page.fixed(lambda: gr.Tab(_("One by one"), id="one"))
                    with one:
                        self.one = OneByOne(page, PARTS)
                    texts = page.fixed(lambda: gr.Tab(_("All texts"), id="texts"))
                    with texts:
                        self.texts = AllTexts(page)
        page.on(self.merge.input, self.merge_chosen, [self.merge], writes=False)
        page.on(one.select, self.to_one, writes=False)
        page.on(texts.select, self.to_texts, writes=False)

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        merges = [merge for merge in self.services.merge.list(visit.id) if merge.predicted]
        updates: Updates = {}
        if not visit.only:
            page = self.services.predict.page(visit.id, limit=1) if merges else None
            updates[self.top] = self._top(visit, page)
            updates[self.body] = gr.Column(visible=page is not None)
            shown = visit.filters.get("merge") or (page.merge_id if page else None)
            updates[self.merge] = gr.Dropdown(
                choices=[(merge.label, merge.id) for merge in merges],
                value=shown if shown in {merge.id for merge in merges} else None,
                visible=len(merges) > 1,
            )
        if merges and visit.wants("one"):
            updates |= self.one.paint(visit)[0]
        if merges and visit.wants("rows"):
            updates |= self.texts.paint(visit, merges)
        return updates

    def _top(self, visit: Visit, page: PredictionPage | None) -> str:
        said = _("Correct what is wrong, accept what is right: everything is saved at once.")
        title = _("What the merged model found")
        if visit.view_only:
            said = _("What the model has found, and what people have made of it.")
        if visit.job(*WORKING):
            working = _(
                "The merged model is reading your texts. You can leave this page; it goes on."
            )
            title = heading(title, working, learn="review")
            return title + ("" if page else skeleton((94, 80, 88, 70, 91, 76)))
        title = heading(title, said if page else "", learn="review")
        latest = self.services.jobs.latest(visit.id)
        stopped = stopped_html(latest) if latest and latest.kind in WORKING else ""
        if page is None:
            nothing = empty(
                _("Nothing to review yet"), _("Merge some experts and use them on your texts.")
            )
            return title + (stopped or nothing)
        stale = ""
        if page.stale:
            stale = stale_html(
                _("Texts, types or experts have changed since: merge again to update.")
            )
        return title + stopped + stale + base_notice(self.services.base_info())

    def primary(self, visit: Visit) -> Primary:
        if visit.job(*WORKING):
            return Primary(_("Reading…"), enabled=False)
        if not self._merges(visit):
            return Primary(_("Go to Merge"))
        home = Primary(_("Take the model home"), hint=_("Download the model and what it found."))
        if visit.view_only:
            return home
        place = find_place(visit)
        if not self._accepting(visit, place):
            return home
        if place.sentence is None:
            return Primary(_("Show all sentences"))
        return Primary(_(ACCEPT), hint=_("The Enter key does the same."))

    def _accepting(self, visit: Visit, place: Place) -> bool:
        """Whether the primary button goes on with the sentences; otherwise it goes on to Share."""
        if visit.filters.get("tab") == "texts":
            return False
        return place.filtered if place.sentence is None else place.left > 0

    def press(self, visit: Visit) -> None:
        if not self._merges(visit):
            visit.step = "merge"
            return
        place = find_place(visit)
        if self._accepting(visit, place):
            self.one.press(visit, place)
        else:
            visit.step = "share"

    def _merges(self, visit: Visit) -> Sequence[MergeInfo]:
        return [merge for merge in self.services.merge.list(visit.id) if merge.predicted]

    # ---- listeners --------------------------------------------------------------------------

    def merge_chosen(self, visit: Visit, merge: str | None) -> None:
        visit.filters |= {"merge": merge, "offset": 0}

    def to_one(self, visit: Visit) -> None:
        visit.filters["tab"] = "one"

    def to_texts(self, visit: Visit) -> None:
        visit.filters["tab"] = "texts"


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Review(page)
    page.steps["review"] = Step("review", step.column, step.paint, step.primary, step.press)
