"""Step 2: which experts fit, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gradio as gr

from experts.errors import SamError
from experts.spans import Span
from sam_ui.markup import emphasis, empty, skeleton, tag
from sam_ui.page import (
    Page,
    Primary,
    Step,
    Updates,
    Visit,
    action_html,
    notice_html,
    step_column,
)
from sam_ui.services.drafts import Draft
from sam_ui.services.views import MatchView
from sam_ui.steps import match_figures
from sam_ui.steps.common import heading, stale_html, stopped_html
from sam_ui.steps.match_answers import GOLD, STAYS, answers_html
from sam_ui.steps.match_editor import EDITOR_JS
from sam_ui.steps.match_experts import (
    KEYS,
    OFFSET,
    PAGE,
    READING,
    changed,
    experts_html,
    listed,
    pager,
)
from sam_ui.words import _, _n, mark

__all__ = ["build"]

STALE = mark(
    "Your texts, your types or the experts have changed since this comparison. Press “Find "
    "matching experts” to compare again."
)


class Match:
    """The components of the step and what its listeners do."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.column = page.add(step_column("step-match"))
        with self.column:
            self.top = page.add(gr.HTML(apply_default_css=False, elem_id="match-summary"))
            self.body = page.add(gr.Row(elem_classes="sam-columns", visible=False))
            with self.body:
                with gr.Column(scale=4, min_width=320, elem_classes="sam-card"):
                    self.search = page.fixed(
                        lambda: gr.Textbox(
                            show_label=False, elem_id="experts-search", visible=False,
                            placeholder=_("Search experts by name, domain or type"),
                            container=False,
                        )
                    )  # fmt: skip
                    self.experts = page.add(action_html("experts"))
                    with page.fixed(
                        lambda: gr.Accordion(_("How the comparison is made"), open=False)
                    ):
                        self._build_settings(page)
                with (
                    gr.Column(scale=5, min_width=320, elem_classes="sam-card"),
                    gr.Tabs(elem_id="match-tabs"),
                ):
                    self._build_tabs(page)
        page.on(self.experts.act, self.expert_act, event=True, mode="multiple", reading=READING)
        for below in (self.fit_pager, self.heat_pager):
            page.on(below.act, self.turned, event=True, writes=False)
        page.on(self.answers.act, self.answer_act, event=True, mode="multiple")
        page.on(self.search.change, self.searched, [self.search], mode="always_last", writes=False)
        page.on(self.samples.release, self.set_samples, [self.samples])
        page.on(self.k.release, self.set_k, [self.k])
        page.on(self.again.click, self.again_clicked)

    def _build_settings(self, page: Page) -> None:
        fixed = page.fixed
        fixed(
            lambda: gr.HTML(
                "".join(f"<p>{said}</p>" for said in _measures()),
                apply_default_css=False, elem_classes="sam-prose",
            )
        )  # fmt: skip
        self.samples = fixed(
            lambda: gr.Slider(
                4, 40, value=10, step=1, label=_("Sentences to sample"), elem_id="samples"
            )
        )
        self.k = fixed(
            lambda: gr.Slider(
                1, 6, value=3, step=1, label=_("Experts to take from each score"), elem_id="k"
            )
        )
        self.again = fixed(
            lambda: gr.Button(_("Compare again"), size="sm", elem_id="compare-again")
        )

    def _build_tabs(self, page: Page) -> None:
        with page.fixed(lambda: gr.Tab(_("Scores"), id="scores")):
            self.fit = page.add(gr.Plot(show_label=False, container=False, elem_id="fit-chart"))
            self.fit_pager = page.add(action_html("fit-pager"))
        with page.fixed(lambda: gr.Tab(_("Map"), id="map")):
            self.map = page.add(gr.Plot(show_label=False, container=False, elem_id="map-chart"))
            self.map_words = page.add(gr.HTML(apply_default_css=False))
        with page.fixed(lambda: gr.Tab(_("Types"), id="types")):
            self.heat = page.add(gr.Plot(show_label=False, container=False, elem_id="type-chart"))
            self.heat_pager = page.add(action_html("type-pager"))
        with page.fixed(lambda: gr.Tab(_("Answers"), id="answers")):
            page.fixed(lambda: gr.HTML(_asked(), apply_default_css=False))
            self.answers = page.add(action_html("answers", extra_js=EDITOR_JS))

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id).following(match)
        updates: Updates = {}
        if match is not None:
            updates |= self._lists(visit, match, draft)
        if visit.wants("answers"):
            updates[self.top] = self._top(visit, match)
        if visit.only:
            return updates
        updates |= {
            self.body: gr.Row(visible=match is not None),
            self.samples: draft.samples,
            self.k: draft.k,
        }
        if match is not None:
            many = len(match.experts) > PAGE
            updates[self.search] = gr.Textbox(visible=many)
            if visit.resets(KEYS["search"]):
                updates[self.search] = gr.Textbox(value="", visible=many)
            updates[self.map] = match_figures.map_chart(match)
            updates[self.map_words] = match_figures.map_words(match.map)
        return updates

    def _lists(self, visit: Visit, match: MatchView, draft: Draft) -> Updates:
        """What filters and corrections change."""
        updates: Updates = {}
        if visit.wants("experts"):
            base = self.services.base_info()
            updates[self.experts] = experts_html(match, draft, base, visit.filters)
        if visit.wants("charts"):
            listing = listed(match, draft, visit.filters)
            updates |= {
                self.fit: match_figures.fit(match, listing.page),
                self.heat: match_figures.heat(match, listing.page),
                self.fit_pager: pager(listing),
                self.heat_pager: pager(listing) + match_figures.heat_words(match),
            }
        if visit.wants("answers"):
            colors = {kind.name: kind.color for kind in self.services.types.list(visit.id)}
            stays = draft.own and not draft.is_recommended(match)
            updates[self.answers] = answers_html(match, colors, own=stays, fixed=visit.view_only)
        return updates

    def _top(self, visit: Visit, match: MatchView | None) -> str:
        title = _("Which experts fit your texts?")
        if visit.job("match"):
            working = _(
                "The experts are reading some of your sentences. You can leave this page; it goes on."
            )
            head = heading(title, working, learn="probe")
            return head if match else head + skeleton((90, 70, 84, 60, 88, 76))
        stopped = stopped_html(self.services.jobs.latest(visit.id, "match"))
        if match is None:
            nothing = empty(_("Nothing compared yet"), _("Press “Find matching experts” below."))
            return heading(title, learn="similarity") + (stopped or nothing)
        stale = stale_html(_(STALE)) if match.stale else ""
        said = f"{match.summary} {match.change}".strip()
        return heading(title, emphasis(said), learn="probe") + stopped + stale

    def primary(self, visit: Visit) -> Primary:
        match = self.services.match.result(visit.id)
        if visit.job("match"):
            return Primary(_("Comparing…"), enabled=False)
        if match is None or match.stale:
            return Primary(_("Find matching experts"))
        draft = self.services.drafts.get(visit.id).following(match)
        count = len(draft.weights)
        if draft.is_recommended(match):
            if count <= 1:
                return Primary(_("Use the recommended expert"))
            return Primary(_n("Merge the {n} recommended", "Merge the {n} recommended", count))
        label = _n("Merge {n} expert", "Merge {n} experts", count)
        hint = "" if count else _("Switch on at least one expert.")
        return Primary(label, enabled=count > 0, hint=hint)

    def press(self, visit: Visit) -> None:
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id)
        if match is None or match.stale:
            self.services.match.start(visit.id, samples=draft.samples, k=draft.k)
        else:
            self.services.drafts.change(visit.id, lambda draft: draft.following(match))
            visit.step = "merge"

    # ---- listeners --------------------------------------------------------------------------

    def expert_act(self, visit: Visit) -> None:
        if changed(visit.filters, visit.act):
            visit.only = ("experts", "charts")
            return
        match = self.services.match.result(visit.id)

        def chosen(draft: Draft) -> Draft:
            draft = draft.following(match)
            if visit.act.get("act") == "switch":
                on = str(visit.act.get("value")).lower() == "true"
                return draft.switched(str(visit.act["name"]), on)
            if visit.act.get("act") == "recommended" and match is not None:
                return draft.recommended(match)
            return draft

        self.services.drafts.change(visit.id, chosen)
        # The answers say whether the choice follows the corrections.
        visit.only = ("experts", "answers") if match and match.corrected else ("experts",)

    def turned(self, visit: Visit) -> None:
        changed(visit.filters, visit.act)
        visit.only = ("experts", "charts")

    def searched(self, visit: Visit, search: str | None) -> None:
        visit.only = ("experts", "charts")
        search = (search or "").strip()
        if visit.filters.get(KEYS["search"], "") != search:
            visit.filters |= {KEYS["search"]: search, OFFSET: 0}

    def answer_act(self, visit: Visit) -> None:
        """A sentence was corrected, or a correction taken back."""
        visit.only = ("experts", "charts", "answers")
        before = self.services.match.result(visit.id)
        if before is None:
            return
        sentence = _number(visit.act.get("sentence"))
        if visit.act.get("act") == "take":
            spans = _answer(before, sentence, str(visit.act.get("name", "")))
            known = {kind.name for kind in self.services.types.list(visit.id)}
            kept = [span for span in spans if span.label in known]
            self.services.corrections.put(
                visit.id, sentence, kept, types=before.types, who=self._who(visit)
            )
        elif visit.act.get("act") == "correct":
            marked = _spans(visit.act.get("spans"))
            self.services.corrections.put(visit.id, sentence, marked, who=self._who(visit))
        elif visit.act.get("act") == "uncorrect":
            self.services.corrections.remove(visit.id, sentence)
        after = self.services.match.result(visit.id)
        if after is not None and set(after.single) != set(before.single):
            visit.notice = self._news(visit, after)

    def _who(self, visit: Visit) -> str:
        """For whom the link is that the person came with, if it says so."""
        link = visit.session.link_id if visit.session else ""
        links = self.services.links.list(visit.id)
        return next((known.label for known in links if known.id == link), "")

    def _news(self, visit: Visit, match: MatchView) -> str:
        draft = self.services.drafts.get(visit.id).following(match)
        titles = {score.name: score.title for score in match.experts}
        names = ", ".join(titles.get(name, name) for name in match.single)
        said = _("Recommended now: {names}.", names=names)
        if draft.own and not draft.is_recommended(match):
            said += " " + _(STAYS)
        return notice_html(_("The recommendation has changed."), said, kind="news")

    def set_samples(self, visit: Visit, samples: float) -> None:
        self.services.drafts.change(visit.id, lambda draft: replace(draft, samples=int(samples)))
        visit.only = ("nothing",)

    def set_k(self, visit: Visit, k: float) -> None:
        self.services.drafts.change(visit.id, lambda draft: replace(draft, k=int(k)))
        visit.only = ("nothing",)

    def again_clicked(self, visit: Visit) -> None:
        draft = self.services.drafts.get(visit.id)
        if not visit.job("match"):
            self.services.match.start(visit.id, samples=draft.samples, k=draft.k)


def _measures() -> tuple[str, str]:
    """What the two scores are, as HTML."""
    return (
        _(
            "<b>Similarity</b>: how close your sentences are to the texts an expert learned from (1 "
            "is the same)."
        ),
        _(
            "<b>Agreement</b>: every expert reads a few of your sentences; this is how well its "
            "answers (F1: 1 is perfect) agree with what the experts that are surest believe, or "
            "with your own corrections."
        ),
    )


def _asked() -> str:
    return tag("h2", _("What did each expert say?"), class_="sam-h2")


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise SamError(_("“{value}” is no sentence.", value=value), "Reload the page.") from None


def _answer(match: MatchView, sentence: int, name: str) -> tuple[Span, ...]:
    """What an expert, or the file, said of a sentence."""
    for probe in match.probe:
        if probe.sentence_id == sentence:
            spans = probe.gold if name == GOLD else probe.answers.get(name)
            if spans is not None:
                return spans
    raise SamError("This answer is from an older comparison.", "Look at the new one.")


def _spans(text: Any) -> list[Span]:
    """The editor's [[start, end, type], …]."""
    try:
        return [Span(int(start), int(end), str(label)) for start, end, label in json.loads(text)]
    except (TypeError, ValueError):
        raise SamError("The correction could not be read.", "Reload the page.") from None


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Match(page)
    page.steps["match"] = Step("match", step.column, step.paint, step.primary, step.press)
