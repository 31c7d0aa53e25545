"""Two annotators compared, and their disagreements decided: a card of the Review screen."""

from __future__ import annotations

from contextlib import suppress

import gradio as gr

from experts.errors import SamError
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.agreement import Annotator
from sam_ui.steps.review_agreement_look import PAGE, agreement_html
from sam_ui.steps.review_place import who
from sam_ui.steps.review_scores import SHOW_JS
from sam_ui.words import _

__all__ = ["AgreementCard", "build_part"]


class AgreementCard:
    """The card; made inside the right column of the screen, shown once two have annotated."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.card = page.add(gr.Column(elem_classes="sam-card", visible=False))
        with self.card:
            self.html = page.add(action_html("review-agreement", extra_js=SHOW_JS))
        page.on(
            self.html.act, self.act, event=True, mode="multiple",
            reading=("agree_a", "agree_b", "agree_more"),
        )  # fmt: skip

    def paint(self, visit: Visit) -> Updates:
        """Nothing, unless at least two people have annotated."""
        annotators = self.services.agreement.annotators(visit.id)
        if len(annotators) < 2:
            return {self.card: gr.Column(visible=False)}
        pair = _pair(visit, annotators)
        service, found, differ = self.services.agreement, None, []
        with suppress(SamError):  # they have no sentence in common
            found = service.agreement(visit.id, *pair)
            differ = service.disagreements(visit.id, *pair)
        html = agreement_html(
            annotators, pair, found, differ,
            {kind.name: kind.color for kind in self.services.types.list(visit.id)},
            shown=visit.filters.get("agree_shown", PAGE), view_only=visit.view_only,
        )  # fmt: skip
        return {self.card: gr.Column(visible=True), self.html: html}

    def act(self, visit: Visit) -> None:
        visit.only = ("one",)
        match visit.act.get("act"):
            case "agree_a" | "agree_b" as side:
                self._choose(visit, side, str(visit.act.get("value", "")))
            case "agree_more":
                visit.filters["agree_shown"] = visit.filters.get("agree_shown", PAGE) + PAGE
            case "take":
                self._take(visit)

    def _choose(self, visit: Visit, side: str, name: str) -> None:
        """Compare somebody else; whoever is chosen twice changes places."""
        annotators = self.services.agreement.annotators(visit.id)
        if name not in {each.name for each in annotators}:
            return
        before = dict(zip(("agree_a", "agree_b"), _pair(visit, annotators), strict=True))
        other = "agree_b" if side == "agree_a" else "agree_a"
        if before[other] == name:
            before[other] = before[side]
        visit.filters |= before | {side: name}

    def _take(self, visit: Visit) -> None:
        service = self.services.agreement
        pair = _pair(visit, service.annotators(visit.id))
        wanted = str(visit.act.get("sentence", ""))
        for each in service.disagreements(visit.id, *pair):
            if str(each.sentence_id) == wanted:
                spans = each.a if visit.act.get("side") == "a" else each.b
                service.adjudicate(visit.id, each.sentence_id, spans, who=who(visit))
                return
        raise SamError(_("They do not differ there any more."), _("Look at the list again."))


def _pair(visit: Visit, annotators: list[Annotator]) -> tuple[str, str]:
    """Who is compared: those that were chosen, else those who have annotated most."""
    most = [each.name for each in sorted(annotators, key=lambda each: -each.sentences)]
    if len(most) < 2:
        raise SamError(_("There are no two annotators."), _("Load the page again."))
    chosen = [visit.filters.get(side) for side in ("agree_a", "agree_b")]
    if all(name in most for name in chosen) and chosen[0] != chosen[1]:
        return str(chosen[0]), str(chosen[1])
    return most[0], most[1]


def build_part(page: Page) -> AgreementCard:
    """Make the card where the caller's column is open."""
    return AgreementCard(page)
