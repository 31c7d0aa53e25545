"""Step 2: which experts fit, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import gradio as gr

from sam_ui import charts
from sam_ui.markup import emphasis, empty, esc, number, skeleton, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, step_column
from sam_ui.services.drafts import Draft
from sam_ui.services.views import BaseInfo, ExpertScore, MatchView
from sam_ui.span_view import legend_html, spans_html
from sam_ui.steps.common import base_notice, heading, stale_html, stopped_html, switch

__all__ = ["answers_html", "build", "experts_html"]

STALE = (
    "Your texts, your types or the experts have changed since this comparison. Press “Find "
    "matching experts” to compare again."
)


def experts_html(match: MatchView, draft: Draft, base: BaseInfo) -> str:
    """One row an expert: switch, name and domain, both scores as bars, and why."""
    chosen = draft.weights
    asked = [s for s in match.experts if _asked(s) or s.name in chosen]
    rest = [s for s in match.experts if s not in asked]
    rows = "".join(_expert_row(score, score.name in chosen) for score in asked)
    if rest:
        rows += (
            f'<details data-key="others"><summary>{number(len(rest), "more expert")}, less similar '
            f"to your texts</summary>{''.join(_expert_row(score, False) for score in rest)}"
            "</details>"
        )
    back = tag(
        "button", "Back to recommended", data_act="recommended", class_="sam-small",
        disabled=draft.is_recommended(match), id="match-recommended",
    )  # fmt: skip
    return (
        '<div class="sam-titled"><h2>Experts, best first</h2>'
        f'{back}</div><div class="sam-experts">{rows}</div>{base_notice(base)}'
    )


def _asked(score: ExpertScore) -> bool:
    """Whether there is something of its probe to show."""
    return score.recommended or score.probe_state != "none"


def _bar(kind: str, label: str, value: float, low: float | None, high: float | None) -> str:
    def place(share: float) -> str:
        return f"{100 * min(1.0, max(0.0, share)):.1f}%"

    whisker = ""
    if low is not None and high is not None and high - low > 0.005:
        whisker = f'<i style="left:{place(low)};width:{place(high - low)}"></i>'
    return (
        f'<div class="sam-bar {kind}"><span>{label}</span>'
        f'<div><b style="width:{place(value)}"></b>{whisker}</div><span>{value:.2f}</span></div>'
    )


def _expert_row(score: ExpertScore, on: bool) -> str:
    if score.enough and score.f1 is not None:
        probe = _bar("probe", "agreement", score.f1, score.low, score.high)
    else:
        probe = '<div class="sam-bar probe"><span>agreement</span>' + (
            f"<em>{esc(score.note)}</em></div>"
            if score.note
            else '<em title="Fewer spans than a number could rest on">too few spans to tell'
            "</em></div>"
        )
    badge = '<span class="sam-badge">recommended</span>' if score.recommended else ""
    toggle = switch(
        on, f"Use {score.title}", data_act="switch", data_name=score.name, id=f"use-{score.name}"
    )
    return (
        f'<article class="sam-expert{" on" if on else ""}"><div class="sam-expert-head">{toggle}'
        f"<div><strong>{esc(score.title)}</strong>{badge}<p>{esc(score.domain)}</p></div></div>"
        f'<div class="sam-bars">{_bar("sim", "similarity", score.similarity, None, None)}{probe}'
        f'</div><details data-key="{esc(score.name)}"><summary>Why this expert?</summary>'
        f"{_why(score)}</details></article>"
    )


def _why(score: ExpertScore) -> str:
    info = score.info
    parts = []
    if score.note:
        parts.append(f"<p>{esc(score.note[:1].upper() + score.note[1:])}.</p>")
    if score.f1 is not None and score.enough:
        parts.append(
            f"<p>Its agreement rests on {number(score.support, 'span')}; the true value lies "
            f"probably between {score.low or 0:.2f} and {score.high or 0:.2f}.</p>"
        )
    if score.nearest:
        lines = "".join(f"<li>{esc(text)}</li>" for text in score.nearest)
        parts.append(f"<p>It learned from texts like these:</p><ul>{lines}</ul>")
    if info:
        types = ", ".join(esc(name) for name in info.types)
        data = "<br>".join(esc(line) for line in info.data)
        parts.append(
            f"<p>{esc(info.description)}</p><dl><dt>Knows</dt><dd>{types}</dd>"
            f"<dt>Trained on</dt><dd>{data}</dd><dt>How</dt><dd>{esc(info.training)}</dd>"
            f"<dt>Licence</dt><dd>{esc(info.licence)}</dd></dl>"
        )
    return "".join(parts) or "<p>Nothing more is known of it.</p>"


def answers_html(match: MatchView, colors: Mapping[str, str]) -> str:
    """The probe sentences, each with every expert's answer below it."""
    if not match.probe:
        return empty("No sentence was sampled", "Compare again with more samples.")
    titles = {score.name: score.title for score in match.experts}
    used = {s.label for p in match.probe for spans in p.answers.values() for s in spans}
    cards = []
    for number_, probe in enumerate(match.probe, start=1):
        names = [name for name in titles if name in probe.answers]  # best first, as on the left
        rows = [(titles[name], probe.answers[name]) for name in names]
        if probe.gold is not None:
            rows.insert(0, ("your annotation", probe.gold))
        answers = "".join(
            f"<tr><th>{esc(title)}</th><td>"
            + (spans_html(probe.text, spans, colors) if spans else "<em>found nothing</em>")
            + "</td></tr>"
            for title, spans in rows
        )
        opened = " open" if number_ == 1 else ""
        cards.append(
            f'<details class="sam-answer"{opened}><summary><span class="sam-pos">{number_}</span>'
            f'<span class="sam-text" dir="auto">{esc(probe.text)}</span></summary>'
            f"<table>{answers}</table></details>"
        )
    return legend_html({n: c for n, c in colors.items() if n in used}) + "".join(cards)


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
                    self.experts = page.add(action_html("experts"))
                    with gr.Accordion("How the comparison is made", open=False):
                        self._build_settings(page)
                with (
                    gr.Column(scale=5, min_width=320, elem_classes="sam-card"),
                    gr.Tabs(elem_id="match-tabs"),
                ):
                    self._build_tabs(page)
        page.on(self.experts.act, self.expert_act, event=True, mode="multiple")
        page.on(self.samples.release, self.set_samples, [self.samples])
        page.on(self.k.release, self.set_k, [self.k])
        page.on(self.again.click, self.again_clicked)

    def _build_settings(self, page: Page) -> None:
        gr.HTML(
            "<p><b>Similarity</b>: how close your sentences are to the texts an expert learned "
            "from (1 is the same).</p><p><b>Agreement</b>: every expert reads a few of your "
            "sentences; this is how well its answers (F1: 1 is perfect) agree with what the experts "
            "that are surest believe, or with your own annotations.</p>",
            apply_default_css=False, elem_classes="sam-prose",
        )  # fmt: skip
        self.samples = page.add(
            gr.Slider(4, 40, value=10, step=1, label="Sentences to sample", elem_id="samples")
        )
        self.k = page.add(
            gr.Slider(1, 6, value=3, step=1, label="Experts to take from each score", elem_id="k")
        )
        self.again = gr.Button("Compare again", size="sm", elem_id="compare-again")

    def _build_tabs(self, page: Page) -> None:
        with gr.Tab("Scores", id="scores"):
            self.fit = page.add(gr.Plot(show_label=False, container=False, elem_id="fit-chart"))
        with gr.Tab("Map", id="map"):
            self.map = page.add(gr.Plot(show_label=False, container=False, elem_id="map-chart"))
            gr.HTML(
                '<p class="sam-fine">Every mark is a sentence; marks that lie close are about '
                "similar things. Point at one of yours to read it.</p>",
                apply_default_css=False,
            )
        with gr.Tab("Types", id="types"):
            self.heat = page.add(gr.Plot(show_label=False, container=False, elem_id="type-chart"))
        with gr.Tab("Answers", id="answers"):
            gr.HTML('<h2 class="sam-h2">What did each expert say?</h2>', apply_default_css=False)
            self.answers = page.add(gr.HTML(apply_default_css=False, elem_id="answers"))

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id).following(match)
        updates: Updates = {}
        if visit.wants("experts") and match is not None:
            updates[self.experts] = experts_html(match, draft, self.services.base_info())
        if visit.only:
            return updates
        updates |= {
            self.top: self._top(visit, match),
            self.body: gr.Row(visible=match is not None),
            self.samples: draft.samples,
            self.k: draft.k,
        }
        if match is not None:
            updates |= self._figures(visit, match)
        return updates

    def _top(self, visit: Visit, match: MatchView | None) -> str:
        title = "Which experts fit your texts?"
        if visit.job("match"):
            working = "The experts are reading some of your sentences. You can leave this page; it "
            head = heading(title, working + "goes on.")
            return head if match else head + skeleton((90, 70, 84, 60, 88, 76))
        stopped = stopped_html(self.services.jobs.latest(visit.id, "match"))
        if match is None:
            nothing = empty("Nothing compared yet", "Press “Find matching experts” below.")
            return heading(title) + (stopped or nothing)
        stale = stale_html(STALE) if match.stale else ""
        return heading(title, emphasis(match.summary)) + stopped + stale

    def _figures(self, visit: Visit, match: MatchView) -> Updates:
        shown = [score for score in match.experts if _asked(score)]
        names = [score.title for score in shown]
        probe = [
            (s.f1, s.low if s.low is not None else s.f1, s.high if s.high is not None else s.f1)
            if s.enough and s.f1 is not None
            else None
            for s in shown
        ]
        colors = {kind.name: kind.color for kind in self.services.types.list(visit.id)}
        return {
            self.fit: charts.fit_chart(
                names, [s.similarity for s in shown], probe, samples=match.samples,
                notes=[s.note for s in shown], title="How close, and how much agreement?",
            ),
            self.map: charts.map_chart(
                match.map.points, match.map.texts, {e.title: e.points for e in match.map.experts}
            ),
            self.heat: charts.type_heatmap(
                names,
                match.types,
                [[s.per_type.get(t) for t in match.types] for s in shown],
            ),
            self.answers: answers_html(match, colors),
        }  # fmt: skip

    def primary(self, visit: Visit) -> Primary:
        match = self.services.match.result(visit.id)
        if visit.job("match"):
            return Primary("Comparing…", enabled=False)
        if match is None or match.stale:
            return Primary("Find matching experts")
        draft = self.services.drafts.get(visit.id).following(match)
        count = len(draft.weights)
        if draft.is_recommended(match):
            return Primary(
                f"Merge the {count} recommended" if count > 1 else "Use the recommended expert"
            )
        return Primary(f"Merge {number(count, 'expert')}", enabled=count > 0,
                       hint="" if count else "Switch on at least one expert.")  # fmt: skip

    def press(self, visit: Visit) -> None:
        match = self.services.match.result(visit.id)
        draft = self.services.drafts.get(visit.id)
        if match is None or match.stale:
            self.services.match.start(visit.id, samples=draft.samples, k=draft.k)
        else:
            self.services.drafts.put(visit.id, draft.following(match))
            visit.step = "merge"

    # ---- listeners --------------------------------------------------------------------------

    def expert_act(self, visit: Visit) -> None:
        match = self.services.match.result(visit.id)

        def changed(draft: Draft) -> Draft:
            draft = draft.following(match)
            if visit.act.get("act") == "switch":
                on = str(visit.act.get("value")).lower() == "true"
                return draft.switched(str(visit.act["name"]), on)
            if visit.act.get("act") == "recommended" and match is not None:
                return draft.recommended(match)
            return draft

        self.services.drafts.change(visit.id, changed)
        visit.only = ("experts",)

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


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Match(page)
    page.steps["match"] = Step("match", step.column, step.paint, step.primary, step.press)
