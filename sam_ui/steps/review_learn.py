"""Learning from corrections: a card of the Review screen."""

from __future__ import annotations

import gradio as gr

from experts.errors import SamError
from sam_ui.notices import notice_html
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.steps.review_learn_look import learn_html
from sam_ui.words import _

__all__ = ["LearnCard", "build_part"]

# The form is sent as one event with all its fields.
FORM_JS = """
const submit = (form) => trigger(
  'act', {...form.dataset, ...Object.fromEntries(new FormData(form))});
element.addEventListener('submit', (event) => {
  event.preventDefault();
  submit(event.target);
});
element.addEventListener('change', (event) => {
  if (event.target.closest('form[data-act]')) event.stopPropagation();
}, true);
element.addEventListener('keydown', (event) => {
  const form = event.target.closest('form[data-act]');
  if (!form) return;
  if (event.key === 'Enter' && event.target.tagName === 'INPUT') {
    event.preventDefault();
    event.stopImmediatePropagation();
    if (form.reportValidity()) submit(form);
  }
}, true);
"""


class LearnCard:
    """The card; made inside the right column of the screen."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.card = page.add(gr.Column(elem_classes="sam-card", elem_id="learn-card"))
        with self.card:
            self.html = page.add(action_html("learn", extra_js=FORM_JS))
        page.on(self.html.act, self.act, event=True)

    def paint(self, visit: Visit) -> Updates:
        """Part "learn" of the screen; whatever is corrected changes it, too."""
        if not (visit.wants("learn") or visit.wants("one")):
            return {}
        titles = {info.name: info.title for info in self.services.experts.list()}
        view = self.services.learning.view(visit.id, merge_id=self._merge(visit))
        return {self.html: learn_html(view, titles, view_only=visit.view_only)}

    def _merge(self, visit: Visit) -> str | None:
        """The merge that the screen shows, where one was chosen."""
        chosen = visit.filters.get("merge")
        known = {merge.id for merge in self.services.merge.list(visit.id) if merge.predicted}
        return chosen if chosen in known else None

    def act(self, visit: Visit) -> None:
        learning, merges = self.services.learning, self.services.merge
        ident = str(visit.act.get("merge", ""))
        match visit.act.get("act"):
            case "learn":
                how = str(visit.act.get("how") or "train")
                learning.start(visit.id, how=how, merge_id=self._merge(visit))
            case "keep":
                learning.keep(visit.id)
                visit.notice = notice_html(
                    _("It is kept as a merge of its own."),
                    _("Use it on all texts to see what it finds now."),
                    kind="done",
                )
            case "discard":
                learning.discard(visit.id)
            case "undo":
                merges.delete(visit.id, ident)
            case "restore":
                merges.restore(visit.id, ident)
            case "read":
                self.services.predict.start(visit.id, ident)
                visit.filters["merge"] = ident
            case "publish":
                self._publish(visit)

    def _publish(self, visit: Visit) -> None:
        title, licence = str(visit.act.get("title", "")), str(visit.act.get("licence", ""))
        try:
            self.services.learning.publish(visit.id, "", title, licence)
        except SamError as problem:  # the form stays open, with what was typed into it
            visit.only = ("nothing",)
            visit.notice = notice_html(problem.what, problem.hint)


def build_part(page: Page) -> LearnCard:
    """Make the card where the caller's column is open."""
    return LearnCard(page)
