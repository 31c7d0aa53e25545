"""Step 3: the chosen experts, their weights, the method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import attrs, empty, esc, number, skeleton, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, step_column
from sam_ui.services.drafts import MAXIMUM_WEIGHT, Draft
from sam_ui.services.views import BaseInfo, ExpertInfo, MatchView, MergeInfo
from sam_ui.span_view import legend_html, spans_html
from sam_ui.steps.common import base_notice, heading, stale_html, stopped_html, switch
from sam_ui.steps.merge_history import energy_words, history_html
from sam_ui.steps.merge_preview import Preview
from sam_ui.steps.merge_together import Together

__all__ = ["build", "method_html", "weights_html"]

RANKS = (4, 8, 16, 32, 64)
SHOWN = 3


def weights_html(draft: Draft, experts: Mapping[str, ExpertInfo], match: MatchView | None) -> str:
    """One row an expert (switch, slider, number, remove), the sum, and what helps with it."""
    rows = "".join(
        _weight_row(name, experts.get(name), choice.on, choice.weight)
        for name, choice in draft.experts.items()
    )
    if not rows:
        rows = empty("No expert is chosen", "Go back to Match, or add one here.")
    others = [info for name, info in experts.items() if name not in draft.experts]
    options = '<option value="" selected>Add an expert…</option>' + "".join(
        tag("option", esc(info.title), value=info.name) for info in others
    )
    adder = (
        tag("select", options, data_act="add", aria_label="Add an expert", id="add-expert")
        if others
        else ""
    )
    total = sum(draft.weights.values())
    off = abs(total - 1) > 0.005
    said = f"The weights add up to {total:.2f}."
    if off and draft.weights:
        said += " A sum of 1 is the safe start."
    buttons = tag(
        "button", "Make the sum 1", data_act="normalise", class_="sam-small", id="normalise",
        disabled=not (off and total > 0),
    ) + tag(
        "button", "Back to recommended", data_act="recommended", class_="sam-small",
        id="merge-recommended", disabled=match is None or draft.is_recommended(match),
    )  # fmt: skip
    return (
        f'<h2>Experts and their weights</h2><div class="sam-weights">{rows}</div>'
        f'<div class="sam-weights-foot">{adder}<span class="sam-muted">{said}</span>'
        f"<span>{buttons}</span></div>"
    )


def _weight_row(name: str, info: ExpertInfo | None, on: bool, weight: float) -> str:
    title = info.title if info else name
    common = {"min": 0, "data_act": "weigh", "data_name": name, "data_pair": name, "value": weight}
    slider = attrs(
        type="range", max=MAXIMUM_WEIGHT, step=0.01, aria_label=f"Weight of {title}", **common
    )
    field = attrs(
        type="number", max=MAXIMUM_WEIGHT, step="any", aria_label=f"Weight of {title}, as a number",
        id=f"weight-{name}", **(common | {"value": f"{weight:g}"}),
    )  # fmt: skip
    toggle = switch(on, f"Use {title}", data_act="switch", data_name=name, id=f"merge-use-{name}")
    remove = tag("button", "×", data_act="remove", data_name=name, class_="sam-x",
                 aria_label=f"Remove {title}", title="Remove from this merge")  # fmt: skip
    gone = "" if info else '<span class="sam-badge warn">no longer in the pool</span>'
    return (
        f'<div class="sam-weight{" on" if on else ""}">{toggle}<div class="sam-weight-name">'
        f"<strong>{esc(title)}</strong>{gone}</div><input {slider}><input {field}>{remove}</div>"
    )


def method_html(
    draft: Draft,
    methods: Sequence[Any],
    base: BaseInfo,
    missing: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """Method, its plain sentence, its parameters from its own declaration, rank, one or two.

    Args:
        missing: kinds of data that methods need and the session lacks: what to say after their
            names, and what to do. Such methods are shown greyed.
    """
    missing = missing or {}
    chosen = next((m for m in methods if m.key == draft.method), methods[0])
    options = "".join(
        tag("option", esc(m.name), value=m.key, selected=m.key == chosen.key,
            disabled=m.needs in missing and m.key != chosen.key)
        for m in methods
    )  # fmt: skip
    controls = "".join(_parameter(p, draft.parameters.get(p.name)) for p in chosen.parameters)
    exact = "all of it" if chosen.exact else "as large as needed"
    ranks = tag("option", f"automatic ({exact})", value="", selected=draft.rank is None) + "".join(
        tag("option", str(rank), value=rank, selected=rank == draft.rank) for rank in RANKS
    )
    kinds = (
        _kind("single", "One model", "All chosen experts in one merge. Fast.", not draft.dual)
        + _kind("dual", "Two models, answers united",
                "One merge of the most similar experts, one of those that agree most. Finds "
                "more, takes twice as long.", draft.dual)
    )  # fmt: skip
    paper = f'<p class="sam-fine">{esc(chosen.paper)}</p>' if chosen.paper else ""
    return (
        f'<h2>How to merge</h2><div class="sam-form"><label>Method'
        f"{tag('select', options, data_act='method', id='method')}</label>"
        f"<p>{esc(chosen.summary)}</p>{_lacking(methods, missing)}"
        f'<fieldset class="sam-kinds"><legend>One model or two</legend>{kinds}</fieldset>'
        f"<details><summary>Fine tuning</summary>{controls}<label>Size of the merged model (rank)"
        f"{tag('select', ranks, data_act='rank', id='rank')}</label>"
        f'<p class="sam-note">Smaller makes a smaller file and may forget a little.</p>{paper}'
        f"</details></div>{base_notice(base)}"
    )


def _lacking(methods: Sequence[Any], missing: Mapping[str, tuple[str, str]]) -> str:
    """For each kind of data that is not there: which methods wait for it, and where to get it."""
    notes = ""
    for kind, (what, hint) in missing.items():
        names = ", ".join(esc(m.name) for m in methods if m.needs == kind)
        if names:
            notes += f'<p class="sam-note"><b>{names}</b>: {esc(what)} {esc(hint)}</p>'
    return notes


def _kind(value: str, title: str, what: str, checked: bool) -> str:
    radio = attrs(type="radio", name="sam-kind", value=value, data_act="kind", checked=checked,
                  id=f"kind-{value}")  # fmt: skip
    return f"<label><input {radio}><span><b>{title}</b><br>{what}</span></label>"


def _parameter(parameter: Any, value: Any) -> str:
    """A control for one declared parameter of a method."""
    value = parameter.default if value is None else value
    data = {"data_act": "parameter", "data_name": parameter.name}
    ident = f"parameter-{parameter.name}"
    if parameter.type == "bool":
        control = switch(bool(value), parameter.label, id=ident, **data)
    elif parameter.type == "choice":
        options = "".join(
            tag("option", esc(choice), value=choice, selected=choice == value)
            for choice in parameter.choices
        )
        control = tag("select", options, id=ident, **data)
    else:
        limits = {"min": parameter.minimum, "max": parameter.maximum}
        pair = {"data_pair": f"parameter {parameter.name}", "value": f"{value:g}", **limits, **data}
        step = 1 if parameter.type == "int" else 0.05
        control = f"<input {attrs(type='number', step='any', id=ident, **pair)}>"
        if parameter.minimum is not None and parameter.maximum is not None:
            slider = attrs(type="range", step=step, aria_label=parameter.label, **pair)
            control = f"<span class='sam-pair'><input {slider}>{control}</span>"
    return (
        f"<label>{esc(parameter.label)}{control}</label>"
        f'<p class="sam-note">{esc(parameter.meaning)}</p>'
    )


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
                        self.weights = page.add(action_html("weights"))
                        self.together = Together(page)
                    with gr.Column(elem_classes="sam-card"):
                        self.method = page.add(action_html("merge-method"))
                with gr.Column(scale=4, min_width=320):
                    self.preview = Preview(page)
                    with gr.Column(elem_classes="sam-card"):
                        self.finds = page.add(
                            gr.HTML(apply_default_css=False, elem_id="merge-finds")
                        )
                    self.past_card = page.add(gr.Column(elem_classes="sam-card", visible=False))
                    with self.past_card:
                        self.past = page.add(action_html("merge-history"))
        page.on(self.weights.act, self.weight_act, event=True, mode="multiple")
        page.on(self.method.act, self.method_act, event=True, mode="multiple")
        page.on(self.past.act, self.past_act, event=True)

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id).following(match)
        experts = {info.name: info for info in self.services.experts.list()}
        methods = self.services.merge.methods()
        updates: Updates = {}
        if visit.wants("weights"):
            updates[self.weights] = weights_html(draft, experts, match)
        if visit.wants("method"):
            updates[self.method] = method_html(
                draft, methods, self.services.base_info(), self.services.merge.missing(visit.id)
            )
        updates |= self.together.paint(visit, draft)
        if not visit.only:
            self.preview.begin(visit, draft)
            merges = self.services.merge.list(visit.id)
            updates[self.top] = self._top(visit, match)
            updates[self.finds] = self._finds(visit, merges)
            updates[self.past] = history_html(merges, experts, methods)
            updates[self.past_card] = gr.Column(visible=bool(merges))
        return updates | self.preview.paint(visit)

    def _top(self, visit: Visit, match: MatchView | None) -> str:
        said = "Slide towards the experts that you trust more. Merging takes seconds."
        html = heading("Merge the chosen experts", said)
        if match is not None and match.stale:
            html += stale_html("Your texts or types have changed since the experts were compared.")
        if not visit.job("merge", "merge_and_predict"):
            latest = self.services.jobs.latest(visit.id, "merge_and_predict")
            html += stopped_html(latest)
        return html

    def _finds(self, visit: Visit, merges: Sequence[MergeInfo]) -> str:
        title = "<h2>What the merged model finds</h2>"
        if visit.job("merge", "merge_and_predict", "predict"):
            return title + skeleton((92, 78, 86))
        done = next((merge for merge in merges if merge.predicted), None)
        if done is None:
            return title + empty(
                "Nothing yet", "Press “Use this merge on all texts” to see what it finds."
            )
        page = self.services.predict.page(
            visit.id, merge_id=done.id, limit=SHOWN, only_found=True, order="position"
        )
        if page is None or not page.rows:
            return title + empty(
                "It found nothing", "Try other experts, or types named in other words."
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
        if visit.job("merge", "merge_and_predict", "predict"):
            return Primary("Merging…", enabled=False)
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id).following(match)
        count = len(draft.weights)
        if not count:
            return Primary("Use this merge on all texts", "Switch on at least one expert.", False)
        kind = "two models" if draft.dual else "one model"
        return Primary("Use this merge on all texts", f"{number(count, 'expert')}, {kind}")

    def press(self, visit: Visit) -> None:
        if not visit.job("merge", "merge_and_predict", "predict"):
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
            visit.id, lambda draft: _weighed(draft.following(match), visit.act, match)
        )
        self.preview.ask(visit, self._draft(visit))

    def method_act(self, visit: Visit) -> None:
        visit.only = ("method",)
        match = self.services.match.result(visit.id)
        missing = self.services.merge.missing(visit.id)
        methods = {m.key: m for m in self.services.merge.methods() if m.needs not in missing}
        self.services.drafts.change(
            visit.id, lambda draft: _set_up(draft.following(match), visit.act, methods)
        )
        self.preview.ask(visit, self._draft(visit))

    def past_act(self, visit: Visit) -> None:
        merge = self.services.merge.get(visit.id, str(visit.act.get("merge", "")))
        if visit.act.get("act") == "see":
            visit.filters["merge"] = merge.id
            visit.step = "review"
            return
        draft = replace(
            self._draft(visit), experts={}, method=merge.method,
            parameters=dict(merge.parameters), rank=merge.rank, dual=merge.dual,
        )  # fmt: skip
        weights = merge.weights
        if visit.act.get("act") == "found" and len(merge.found) == 1:
            # A weighted sum with these weights: the sliders show them, and can be moved.
            draft, weights = replace(draft, method="linear", parameters={}), merge.found[0]
        for name, weight in weights.items():
            draft = draft.weighed(name, weight)
        self.services.drafts.put(visit.id, draft)


def _weighed(draft: Draft, act: Mapping[str, Any], found: MatchView | None) -> Draft:
    """The draft after an action among the weights."""
    name, value = str(act.get("name", "")), str(act.get("value", ""))
    match act.get("act"):
        case "switch":
            return draft.switched(name, value.lower() == "true")
        case "weigh":
            return draft.weighed(name, _number(value))
        case "remove":
            return draft.removed(name)
        case "add" if value:
            return draft.switched(value, True)
        case "normalise":
            return draft.normalised()
        case "recommended" if found is not None:
            return draft.recommended(found)
    return draft


def _set_up(draft: Draft, act: Mapping[str, Any], methods: Mapping[str, Any]) -> Draft:
    """The draft after an action among method, parameters, rank and kind."""
    value = str(act.get("value", ""))
    match act.get("act"):
        case "method" if value in methods:
            return replace(draft, method=value, parameters={})
        case "rank":
            return replace(draft, rank=int(value) if value.isdecimal() else None)
        case "kind":
            return replace(draft, dual=value == "dual")
        case "parameter" if draft.method in methods:
            for parameter in methods[draft.method].parameters:
                if parameter.name == act.get("name"):
                    checked = parameter.check(value)
                    return replace(draft, parameters={**draft.parameters, parameter.name: checked})
    return draft


def _number(value: str) -> float:
    try:
        return float(value.replace(",", "."))
    except ValueError:
        raise SamError(f"“{value}” is not a weight.", "Give a number from 0 to 2.") from None


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Merge(page)
    page.steps["merge"] = Step("merge", step.column, step.paint, step.primary, step.press)
