"""Two merges side by side: what differs in how they were made, and in what they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import esc, percent, skeleton, tag
from sam_ui.page import Page, Updates, Visit, action_html
from sam_ui.services.merge_compare import ComparedSentence, MergeComparison, Side
from sam_ui.services.views import ExpertInfo
from sam_ui.span_view import legend_html, spans_html
from sam_ui.steps.common import pager_html, turned
from sam_ui.steps.merge_history import score_html
from sam_ui.words import _, _n, figure

__all__ = ["Compared", "comparison_html"]

EVERY_S = 0.5
PAGE = 5


def comparison_html(
    view: MergeComparison,
    experts: Mapping[str, ExpertInfo],
    methods: Sequence[Any],
    colors: Mapping[str, str],
    *,
    running: bool = False,
) -> str:
    """Recipes and readings of both; `running`: the merges are reading a few sentences for it."""
    close = tag("button", "×", data_act="close", class_="sam-x",
                aria_label=_("Close the comparison"))  # fmt: skip
    title = f'<div class="sam-titled"><h2>{_("Side by side")}</h2>{close}</div>'
    return f"{title}{_recipes(view, experts, methods)}{_readings(view, colors, running=running)}"


# ---- recipes ----


def _recipes(
    view: MergeComparison, experts: Mapping[str, ExpertInfo], methods: Sequence[Any]
) -> str:
    first = _facts(view.first, experts, methods)
    second = _facts(view.second, experts, methods)
    keys = list(dict.fromkeys([*first, *second]))
    rows, same = "", []
    for key in keys:
        one, other = first.get(key, "–"), second.get(key, "–")
        if one == other:
            same.append(f"{key} {one}")
        else:
            rows += f"<tr><th>{esc(key)}</th><td>{esc(one)}</td><td>{esc(other)}</td></tr>"
    alike = ""
    if same:
        said = _("The same in both: {list}.", list=", ".join(same))
        alike = tag("p", esc(said), class_="sam-note")
    scores = (
        f"<tr><th>{_('Score')}</th><td>{score_html(view.first.score)}</td>"
        f"<td>{score_html(view.second.score)}</td></tr>"
    )
    return (
        '<div class="sam-scroll"><table class="sam-table sam-versus"><thead><tr><td></td>'
        f'<th><span class="sam-ab a">A</span>{esc(view.first.label)}</th>'
        f'<th><span class="sam-ab b">B</span>{esc(view.second.label)}</th></tr></thead>'
        f"<tbody>{rows}{scores}</tbody></table></div>{alike}"
    )


def _facts(side: Side, experts: Mapping[str, ExpertInfo], methods: Sequence[Any]) -> dict[str, str]:
    """What a recipe consists of, in words."""
    method = next((m for m in methods if m.key == side.method), None)
    facts = {
        experts[name].title if name in experts else name: f"{weight:.2f}"
        for name, weight in side.weights.items()
    }
    facts[_("Method")] = _(method.name) if method else side.method
    labels = {p.name: _(p.label) for p in method.parameters} if method else {}
    for name, value in side.parameters.items():
        shown = f"{value:g}" if isinstance(value, float) else _(str(value))
        answers = {"True": _("yes"), "False": _("no")}
        facts[labels.get(name, name)] = answers.get(str(value), shown)
    facts[_("Size")] = str(side.rank) if side.rank else _("automatic")
    facts[_("Models")] = _("two") if side.dual else _("one")
    return facts


# ---- readings ----


def _readings(view: MergeComparison, colors: Mapping[str, str], *, running: bool) -> str:
    if running:
        said = tag("p", _("Reading a few of your sentences…"), class_="sam-note", role="status")
        return said + skeleton((88, 74, 80))
    if view.lacking:
        names = {side.id: side.label for side in (view.first, view.second)}
        who = [f"“{esc(names[ident])}”" for ident in view.lacking]
        said = _("{name} has not read your texts yet.", name=who[0])
        if len(who) > 1:
            said = _("{first} and {second} have not read your texts yet.",
                     first=who[0], second=who[1])  # fmt: skip
        button = tag("button", _("Let them read a few sentences"), data_act="sample",
                     class_="sam-small", id="compare-sample")  # fmt: skip
        return f'<div class="sam-inset"><p>{said}</p>{button}</div>'
    if not view.sentences:
        return tag("p", _("There are no sentences to compare on."), class_="sam-note")
    used = {s.label for row in view.sentences for s in (*row.first, *row.second)}
    legend = legend_html({name: color for name, color in colors.items() if name in used})
    rows = "".join(_sentence(row, colors) for row in view.sentences)
    pager = ""
    if view.differing > PAGE:
        pager = pager_html(view.offset, PAGE, view.differing, "sentence")
    return f'{_summary(view)}{legend}<ol class="sam-sides">{rows}</ol>{pager}'


def _summary(view: MergeComparison) -> str:
    alike = view.total - view.differing
    said = [
        _n(
            "Of {n} sentence they read {alike} alike ({share}).",
            "Of {n} sentences they read {alike} alike ({share}).",
            view.total,
            alike=figure(alike),
            share=percent(alike / max(1, view.total)),
        ),
        _n(
            "Both find {n} entity; <b>A alone {a}</b>, <b>B alone {b}</b>.",
            "Both find {n} entities; <b>A alone {a}</b>, <b>B alone {b}</b>.",
            view.both,
            a=figure(view.only_first),
            b=figure(view.only_second),
        ),
    ]
    if view.other_types:
        said.append(_("One of them was asked for other types than those of now."))
    if not view.differing:
        said.append(_("Here are some of them."))
    return tag("p", " ".join(said), class_="sam-verdict")


def _sentence(row: ComparedSentence, colors: Mapping[str, str]) -> str:
    def side(letter: str, spans: Any, only: Any) -> str:
        fresh = frozenset(span.key for span in only)
        text = spans_html(
            row.text, spans, colors, fresh=fresh, fresh_tip=_("only {which}", which=letter)
        )
        return f'<div><span class="sam-ab {letter.lower()}">{letter}</span>{text}</div>'

    if row.same:
        both = '<span class="sam-ab">A B</span>'
        return f"<li><div>{both}{spans_html(row.text, row.first, colors)}</div></li>"
    return (
        f"<li>{side('A', row.first, row.only_first)}{side('B', row.second, row.only_second)}</li>"
    )


class Compared:
    """The card with the comparison; empty unless two merges are ticked."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.card = page.add(gr.Column(elem_classes="sam-card", visible=False))
        with self.card:
            self.html = page.add(action_html("merge-compare"))
        self.timer = page.add(gr.Timer(EVERY_S, active=False))
        page.on(self.html.act, self.act, event=True, reading=("close", "page"))
        # The card alone is painted: nothing that the person is typing into is redrawn.
        page.tick(self.timer, self.poll, [page.token, page.filters], [self.html, self.timer])

    def paint(self, visit: Visit) -> Updates:
        if not visit.wants("compare"):
            return {}
        html, running = self._html(visit.id, visit.filters)
        return {
            self.card: gr.Column(visible=bool(html)),
            self.html: html,
            self.timer: gr.Timer(active=running),
        }

    def act(self, visit: Visit) -> None:
        visit.only = ("compare",)
        match visit.act.get("act"):
            case "close":
                visit.filters["picked"] = []
                visit.only = ("past", "compare")
            case "page":
                visit.filters["compare_at"] = turned(visit.act, PAGE)
            case "sample":
                first, second = visit.filters["picked"]
                view = self.services.merge.side_by_side.view(visit.id, first, second)
                if view.lacking:
                    self.services.merge.side_by_side.start(visit.id, view.lacking)

    def poll(self, token: str, filters: Any) -> dict[Any, Any]:
        """A moment has passed while merges read for the comparison."""
        session = self.services.sessions.by_token(token) if token else None
        if session is None:
            return {self.timer: gr.Timer(active=False)}
        html, running = self._html(session.id, dict(filters or {}))
        return {
            self.html: gr.skip() if running else html,
            self.timer: gr.skip() if running else gr.Timer(active=False),
        }

    def _html(self, session_id: str, filters: Mapping[str, Any]) -> tuple[str, bool]:
        """The card, and whether it is to be looked at again soon."""
        picked = filters.get("picked") or []
        if len(picked) != 2:
            return "", False
        compare = self.services.merge.side_by_side
        at = int(filters.get("compare_at", 0))
        try:
            view = compare.view(session_id, picked[0], picked[1], offset=at)
        except SamError:
            return "", False  # one of them was deleted
        running = bool(view.lacking) and compare.running(session_id)
        experts = {info.name: info for info in self.services.experts.list()}
        methods = self.services.merge.methods()
        colors = {kind.name: kind.color for kind in self.services.types.list(session_id)}
        problem = ""
        if view.lacking and not running:
            latest = self.services.jobs.latest(session_id, "compare")
            if latest is not None and latest.state == "failed":
                problem = tag(
                    "p", f"{esc(_(latest.what))} {esc(_(latest.hint))}", class_="sam-inset failed"
                )
        html = comparison_html(view, experts, methods, colors, running=running)
        return html + problem, running
