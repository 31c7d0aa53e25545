"""Step 3: the chosen experts, their weights, the method; earlier merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from sam_ui.markup import empty, esc, skeleton, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, notice_html, step_column
from sam_ui.services.drafts import Draft
from sam_ui.services.views import ExpertInfo, MatchView, MergeInfo
from sam_ui.span_view import legend_html, spans_html
from sam_ui.steps.common import heading, stale_html, stopped_html
from sam_ui.steps.merge_compare import Compared
from sam_ui.steps.merge_history import PICK_JS, energy_words, history_html
from sam_ui.steps.merge_look import chosen_html, manner_html
from sam_ui.steps.merge_method import method_html, set_up
from sam_ui.steps.merge_preview import Preview
from sam_ui.steps.merge_together import Together
from sam_ui.steps.merge_weights import KEYS_JS, WEIGHTS_JS, weighed, weights_html
from sam_ui.words import _, _n

__all__ = ["build"]

SHOWN = 3
WORKING = ("merge", "merge_and_predict", "predict")


class Merge:
    """The components of the step and what its listeners do."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.column = page.add(step_column("step-merge"))
        with self.column:
            self.top = page.add(gr.HTML(apply_default_css=False, elem_id="merge-top"))
            with gr.Row(elem_classes="sam-columns"):
                with gr.Column(scale=5, min_width=320):
                    with gr.Column(elem_classes="sam-card"):
                        self.weights = page.add(action_html("weights", extra_js=WEIGHTS_JS))
                        self.together = Together(page)
                    with gr.Column(elem_classes="sam-card"):
                        self.method = page.add(action_html("merge-method", extra_js=KEYS_JS))
                with gr.Column(scale=4, min_width=320):
                    self.preview = Preview(page)
                    with gr.Column(elem_classes="sam-card"):
                        self.finds = page.add(
                            gr.HTML(apply_default_css=False, elem_id="merge-finds")
                        )
            self.past_card = page.add(gr.Column(elem_classes="sam-card", visible=False))
            with self.past_card:
                self.past = page.add(action_html("merge-history", extra_js=PICK_JS))
            self.compared = Compared(page)
        page.on(self.weights.act, self.weight_act, event=True, mode="multiple")
        page.on(self.method.act, self.method_act, event=True, mode="multiple")
        page.on(self.past.act, self.past_act, event=True, mode="multiple", reading=("see", "pick"))

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id).following(match)
        experts = {info.name: info for info in self.services.experts.list()}
        methods = self.services.merge.methods()
        updates: Updates = {}
        if visit.wants("weights"):
            updates[self.weights] = (
                chosen_html(draft, experts)
                if visit.view_only
                else weights_html(draft, experts, match)
            )
        if visit.wants("method"):
            base, missing = self.services.base_info(), self.services.merge.missing(visit.id)
            updates[self.method] = (
                manner_html(draft, methods, base)
                if visit.view_only
                else method_html(draft, methods, base, missing)
            )
        updates |= self.together.paint(visit, draft)
        if visit.wants("past"):
            updates |= self._past(visit, experts, methods)
        if not visit.only:
            self.preview.begin(visit, draft)
            updates[self.top] = self._top(visit, match)
            updates[self.finds] = self._finds(visit)
        return updates | self.preview.paint(visit) | self.compared.paint(visit)

    def _past(
        self, visit: Visit, experts: Mapping[str, ExpertInfo], methods: Sequence[Any]
    ) -> Updates:
        merges = self.services.merge.list(visit.id)
        there = {merge.id for merge in merges}
        picked = [ident for ident in visit.filters.get("picked", []) if ident in there]
        visit.filters["picked"] = picked
        html = history_html(
            merges, experts, methods, scores=self.services.merge.scores(visit.id), picked=picked,
            deleted=self.services.merge.deleted(visit.id),
        )  # fmt: skip
        return {self.past: html, self.past_card: gr.Column(visible=bool(html))}

    def _top(self, visit: Visit, match: MatchView | None) -> str:
        said = _("Slide towards the experts that you trust more. Merging takes seconds.")
        if visit.view_only:
            said = _("One model is made of several experts, some counting for more than others.")
        html = heading(_("Merge the chosen experts"), said, learn="merging")
        if match is not None and match.stale:
            changed = _("Your texts or types have changed since the experts were compared.")
            html += stale_html(changed)
        if not visit.job("merge", "merge_and_predict"):
            latest = self.services.jobs.latest(visit.id, "merge_and_predict")
            html += stopped_html(latest)
        return html

    def _finds(self, visit: Visit) -> str:
        title = tag("h2", _("What the merged model finds"))
        if visit.job(*WORKING):
            return title + skeleton((92, 78, 86))
        merges = self.services.merge.list(visit.id)
        done = next((merge for merge in merges if merge.predicted), None)
        if done is None:
            return title + empty(
                _("Nothing yet"), _("Press “Use this merge on all texts” to see what it finds.")
            )
        page = self.services.predict.page(
            visit.id, merge_id=done.id, limit=SHOWN, only_found=True, order="position"
        )
        if page is None or not page.rows:
            return title + empty(
                _("It found nothing"), _("Try other experts, or types named in other words.")
            )
        colors = {kind.name: kind.color for kind in self.services.types.list(visit.id)}
        rows = "".join(
            f"<li>{spans_html(row.sentence.text, row.spans, colors)}</li>" for row in page.rows
        )
        used = {span.label for row in page.rows for span in row.spans}
        legend = legend_html({name: color for name, color in colors.items() if name in used})
        return (
            f'{title}<p class="sam-muted">{esc(done.label)}: '
            f"{energy_words(done.retained_energy, done.rank)}</p>{legend}"
            f'<ol class="sam-sentences plain">{rows}</ol>'
        )

    def primary(self, visit: Visit) -> Primary:
        if visit.job(*WORKING):
            return Primary(_("Merging…"), enabled=False)
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id).following(match)
        count = len(draft.weights)
        label = _("Use this merge on all texts")
        if not count:
            return Primary(label, _("Switch on at least one expert."), False)
        kind = _("two models") if draft.dual else _("one model")
        return Primary(label, f"{_n('{n} expert', '{n} experts', count)}, {kind}")

    def press(self, visit: Visit) -> None:
        if not visit.job(*WORKING):
            draft = self._draft(visit)
            self.services.merge.start(
                visit.id, draft.weights, method=draft.method, parameters=dict(draft.parameters),
                rank=draft.rank, dual=draft.dual, predict=True,
            )  # fmt: skip
            visit.filters.pop("merge", None)
        visit.step = "review"

    # ---- listeners --------------------------------------------------------------------------

    def _draft(self, visit: Visit) -> Draft:
        return self.services.drafts.get(visit.id).following(self.services.match.result(visit.id))

    def weight_act(self, visit: Visit) -> None:
        visit.only = ("weights", "together")
        match = self.services.match.result(visit.id)
        self.services.drafts.change(
            visit.id, lambda draft: weighed(draft.following(match), visit.act, match)
        )
        self.preview.ask(visit, self._draft(visit))

    def method_act(self, visit: Visit) -> None:
        visit.only = ("method", "together")
        match = self.services.match.result(visit.id)
        missing = self.services.merge.missing(visit.id)
        methods = {m.key: m for m in self.services.merge.methods() if m.needs not in missing}
        self.services.drafts.change(
            visit.id, lambda draft: set_up(draft.following(match), visit.act, methods)
        )
        self.preview.ask(visit, self._draft(visit))

    def past_act(self, visit: Visit) -> None:
        ident = str(visit.act.get("merge", ""))
        merges = self.services.merge
        match visit.act.get("act"):
            case "pick":
                visit.only = ("past", "compare")
                picked = [str(each) for each in visit.act.get("picked", [])][-2:]
                visit.filters |= {"picked": picked, "compare_at": 0}
            case "name":
                visit.only = ("past", "compare")
                merges.rename(visit.id, ident, str(visit.act.get("value", "")))
            case "delete":
                merges.delete(visit.id, ident)
            case "undelete":
                merges.restore(visit.id, ident)
            case "read":
                self.services.predict.start(visit.id, ident)
                visit.filters["merge"] = ident
                visit.step = "review"
            case "see":
                visit.filters["merge"] = merges.get(visit.id, ident).id
                visit.step = "review"
            case "restore" | "found":
                self._restore(visit, merges.get(visit.id, ident))

    def _restore(self, visit: Visit, merge: MergeInfo) -> None:
        match = self.services.match.result(visit.id)
        found = visit.act.get("act") == "found"
        self.services.drafts.change(
            visit.id, lambda draft: _restored(draft.following(match), merge, found=found)
        )
        visit.notice = notice_html(
            _("These are the settings of “{name}”.", name=merge.label),
            _("Change them as you like, or use them as they are."),
            kind="done",
        )


def _restored(draft: Draft, merge: MergeInfo, *, found: bool) -> Draft:
    """The draft with the settings of an earlier merge, or with the weights that it has found."""
    draft = replace(
        draft, method=merge.method, parameters=dict(merge.parameters), rank=merge.rank,
        dual=merge.dual,
    )  # fmt: skip
    if found and len(merge.found) == 1:
        # A weighted sum with these weights: the sliders show them, and can be moved.
        return replace(draft, method="linear", parameters={}).taking(merge.found[0])
    return draft.taking(merge.weights)


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Merge(page)
    page.steps["merge"] = Step("merge", step.column, step.paint, step.primary, step.press)
