"""How well the model does by what was corrected: a card of the Review screen."""

from __future__ import annotations

import gradio as gr

from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.steps.review_place import merge_of
from sam_ui.steps.review_scores_look import PAGE, scores_html

__all__ = ["ScoresCard", "build_part"]

# The editor goes to the sentence by itself; on a narrow screen it is far up.
SHOW_JS = """
element.addEventListener('click', (event) => {
  if (!event.target.closest('[data-sentence-go]')) return;
  const editor = document.getElementById('review-editor');
  const box = editor?.getBoundingClientRect();
  if (box && (box.bottom < 120 || box.top > window.innerHeight - 120)) editor.scrollIntoView();
});
"""


class ScoresCard:
    """The card; made inside the right column of the screen."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        with gr.Column(elem_classes="sam-card", elem_id="scores-card"):
            self.html = page.add(action_html("review-scores", extra_js=SHOW_JS))
        page.on(self.html.act, self.act, event=True, mode="multiple", writes=False)

    def paint(self, visit: Visit) -> Updates:
        """Whatever is corrected changes it."""
        review, merge = self.services.review, merge_of(visit)
        rest = review.queue(visit.id, order="position", status="open", merge_id=merge).total
        html = scores_html(
            review.scores(visit.id, merge_id=merge), review.estimate(visit.id, merge_id=merge),
            rest=rest, shown=visit.filters.get("errors", PAGE), here=visit.filters.get("at"),
            view_only=visit.view_only,
        )  # fmt: skip
        return {self.html: html}

    def act(self, visit: Visit) -> None:
        visit.only = ("one",)
        if visit.act.get("act") == "more":
            visit.filters["errors"] = visit.filters.get("errors", PAGE) + PAGE


def build_part(page: Page) -> ScoresCard:
    """Make the card where the caller's column is open."""
    return ScoresCard(page)
