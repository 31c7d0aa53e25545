"""The list of experts on the match screen: searched, filtered, sorted, in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam_ui.markup import empty, esc, tag
from sam_ui.services.drafts import Draft
from sam_ui.services.views import BaseInfo, ExpertInfo, ExpertScore, MatchView
from sam_ui.steps.common import base_notice, pager_html, switch, turned
from sam_ui.words import _, _n, figure, mark

__all__ = [
    "KEYS",
    "OFFSET",
    "PAGE",
    "READING",
    "Listing",
    "by_you",
    "changed",
    "experts_html",
    "listed",
    "pager",
]

PAGE = 8
"""Experts on a page of the list, and in a chart."""
SHOW = {
    "all": mark("all experts"),
    "recommended": mark("recommended"),
    "on": mark("switched on"),
}
SORT = {
    "best": mark("best first"),
    "similarity": mark("similarity"),
    "probe": mark("agreement"),
    "name": mark("name"),
}
KEYS = {"search": "experts_search", "show": "experts_show", "sort": "experts_sort"}
OFFSET = "experts_offset"
READING = ("page", "show", "sort", "every")
"""Acts that change nothing but what is to be seen."""


@dataclass(frozen=True)
class Listing:
    """What is to be seen of the experts.

    Attributes:
        experts: all that pass the filters, sorted.
        offset: of the first one on this page.
    """

    experts: Sequence[ExpertScore]
    offset: int

    @property
    def page(self) -> Sequence[ExpertScore]:
        """Those on this page."""
        return self.experts[self.offset : self.offset + PAGE]


def listed(match: MatchView, draft: Draft, filters: Mapping[str, Any]) -> Listing:
    """The experts that pass a visit's filters; a page that is gone shows the last one."""
    words = str(filters.get(KEYS["search"], "")).casefold().split()
    show = filters.get(KEYS["show"])
    chosen = draft.weights
    experts = [
        score
        for score in match.experts
        if (show != "recommended" or score.recommended)
        and (show != "on" or score.name in chosen)
        and _has(score, words)
    ]
    sort = filters.get(KEYS["sort"])
    if sort == "similarity":
        experts.sort(key=lambda s: -s.similarity)
    elif sort == "probe":
        experts.sort(key=lambda s: -(s.f1 if s.enough and s.f1 is not None else -1.0))
    elif sort == "name":
        experts.sort(key=lambda s: s.title.casefold())
    last = max(0, len(experts) - 1) // PAGE * PAGE
    return Listing(experts, min(int(filters.get(OFFSET, 0)), last))


def _has(score: ExpertScore, words: Sequence[str]) -> bool:
    """Whether name, domain or types hold all words."""
    if not words:
        return True
    types = score.info.types if score.info else ()
    text = " ".join([score.name, score.title, score.domain, *types]).casefold()
    return all(word in text for word in words)


def changed(filters: dict[str, Any], act: Mapping[str, Any]) -> bool:
    """Take a choice of filter, order or page into the filters; whether the act was one."""
    kind, value = str(act.get("act")), str(act.get("value", ""))
    if kind == "page":
        filters[OFFSET] = turned(act, PAGE)
    elif (kind == "show" and value in SHOW) or (kind == "sort" and value in SORT):
        filters |= {KEYS[kind]: value, OFFSET: 0}
    elif kind == "every":
        filters |= {KEYS["show"]: "all", OFFSET: 0}
    else:
        return False
    return True


def pager(listing: Listing) -> str:
    """Below a chart: which experts it shows, and the way to the others."""
    if len(listing.experts) <= PAGE:
        return ""
    return pager_html(listing.offset, PAGE, len(listing.experts), "expert")


def experts_html(
    match: MatchView, draft: Draft, base: BaseInfo, filters: Mapping[str, Any] | None = None
) -> str:
    """One row an expert: switch, name and domain, both scores as bars, and why."""
    filters = filters or {}
    listing = listed(match, draft, filters)
    chosen = draft.weights
    rows = "".join(_row(score, score.name in chosen, match) for score in listing.page)
    if not rows:
        every = tag("button", _("Show all experts"), data_act="every", class_="sam-small")
        rows = empty(_("No expert fits"), _("Try another word, or show all experts."))
        rows += f'<p class="sam-right-end">{every}</p>' if filters.get(KEYS["show"]) else ""
    back = tag(
        "button", _("Back to recommended"), data_act="recommended", class_="sam-small",
        disabled=draft.is_recommended(match), id="match-recommended",
    )  # fmt: skip
    return (
        f'<div class="sam-titled"><h2>{_("Experts")}</h2>{back}</div>'
        f"{_choices(match, draft, filters)}"
        f'<p class="sam-note">{_measured(match)}</p><div class="sam-experts">{rows}</div>'
        f"{pager(listing)}{base_notice(base)}"
    )


def _choices(match: MatchView, draft: Draft, filters: Mapping[str, Any]) -> str:
    counts = {
        "all": len(match.experts),
        "recommended": sum(score.recommended for score in match.experts),
        "on": len(draft.weights),
    }
    shown = "".join(
        tag("option", f"{_(name)} ({figure(counts[key])})", value=key,
            selected=filters.get(KEYS["show"], "all") == key)
        for key, name in SHOW.items()
    )  # fmt: skip
    sorts = "".join(
        tag("option", _(name), value=key, selected=filters.get(KEYS["sort"], "best") == key)
        for key, name in SORT.items()
    )
    show = tag("select", shown, data_act="show", id="experts-show", aria_label=_("Which experts"))
    sort = tag("select", sorts, data_act="sort", id="experts-sort", aria_label=_("Order"))
    shown, sorted_by = _("Show {choice}", choice=show), _("Sort by {choice}", choice=sort)
    return f'<div class="sam-choices"><label>{shown}</label><label>{sorted_by}</label></div>'


def _measured(match: MatchView) -> str:
    """What the bars rest on."""
    sampled = len(match.probe)
    where = _n("{n} sampled sentence", "{n} sampled sentences", sampled)
    if match.corrected:
        where += by_you(match.corrected, sampled)
    return _(
        "Agreement was measured on {where}. The thin line shows where the true value probably lies.",
        where=where,
    )


def by_you(corrected: int, sampled: int | None = None) -> str:
    """How many of the sampled sentences are corrected, to go on after their number."""
    if corrected == sampled:
        return _(", all of them corrected by you")
    return _n(", {n} of them corrected by you", ", {n} of them corrected by you", corrected)


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


def _row(score: ExpertScore, on: bool, match: MatchView) -> str:
    note = ""
    if score.enough and score.f1 is not None:
        probe = _bar("probe", _("agreement"), score.f1, score.low, score.high)
        note = f'<p class="sam-note">{esc(_note(score))}</p>' if score.note else ""
    else:
        why = tag(
            "em", _("too few spans to tell"), title=_("Fewer spans than a number could rest on")
        )
        why = f"<em>{esc(_note(score))}</em>" if score.note else why
        probe = f'<div class="sam-bar probe"><span>{_("agreement")}</span>{why}</div>'
    badge = tag("span", _("recommended"), class_="sam-badge") if score.recommended else ""
    toggle = switch(
        on, _("Use {expert}", expert=score.title), data_act="switch", data_name=score.name,
        id=f"use-{score.name}",
    )  # fmt: skip
    return (
        f'<article class="sam-expert{" on" if on else ""}"><div class="sam-expert-head">{toggle}'
        f"<div><strong>{esc(score.title)}</strong>{badge}<p>{esc(score.domain)}</p></div></div>"
        f'<div class="sam-bars">{_bar("sim", _("similarity"), score.similarity, None, None)}{probe}'
        f'{note}</div><details data-key="{esc(score.name)}"><summary>{_("Why this expert?")}</summary>'
        f"{_why(score, match)}</details></article>"
    )


def _note(score: ExpertScore) -> str:
    if score.probe_state == "stopped" and score.corrected:
        return score.note + by_you(score.corrected)
    return score.note


def _why(score: ExpertScore, match: MatchView) -> str:
    parts = [_rests_on(score), _types(score, match), _pairs(score)]
    if score.info:
        parts.append(_card(score.info, score))
    return "".join(parts) or tag("p", _("Nothing more is known of it."))


def _rests_on(score: ExpertScore) -> str:
    said = f"<p>{esc(score.note[:1].upper() + score.note[1:])}.</p>" if score.note else ""
    if score.f1 is None or not score.enough:
        return said
    basis = _n("{n} span", "{n} spans", score.support)
    if score.sentences:
        where = _n("{n} sentence", "{n} sentences", score.sentences)
        basis = _("{spans} in {sentences}", spans=basis, sentences=where)
    if score.corrected:
        basis += by_you(score.corrected)
    rests = _(
        "Its agreement, {f1}, rests on {basis}; the true value lies probably between {low} and "
        "{high}.",
        f1=f"{score.f1:.2f}",
        basis=basis,
        low=f"{score.low or 0:.2f}",
        high=f"{score.high or 0:.2f}",
    )
    return f"{said}<p>{rests}</p>"


def _types(score: ExpertScore, match: MatchView) -> str:
    if not score.info:
        return ""
    asked = len(match.types)
    if not score.shared:
        said = _n(
            "It was trained on none of your {n} type; experts can be asked for types that they were "
            "not trained on.",
            "It was trained on none of your {n} types; experts can be asked for types that they "
            "were not trained on.",
            asked,
        )
        return f"<p>{said}</p>"
    said = _n(
        "It was trained on {known} of your {n} type:",
        "It was trained on {known} of your {n} types:",
        asked,
        known=len(score.shared),
    )
    names = "".join(f"<li>{esc(name)}</li>" for name in score.shared)
    return f'<p>{said}</p><ul class="sam-shared">{names}</ul>'


def _pairs(score: ExpertScore) -> str:
    if score.pairs:
        rows = "".join(
            f'<tr><td dir="auto">{esc(pair.mine)}</td><td dir="auto">{esc(pair.theirs)}</td>'
            f'<td class="n">{pair.cosine:.2f}</td></tr>'
            for pair in score.pairs
        )
        head = f"<th>{_('yours')}</th><th>{_('its own')}</th><th class='n'>{_('alike')}</th>"
        return (
            f"<p>{_('Your sentences that are nearest to what it learned from:')}</p>"
            f'<table class="sam-pairs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        )
    if score.nearest:
        lines = "".join(f'<li dir="auto">{esc(text)}</li>' for text in score.nearest)
        return f"<p>{_('It learned from texts like these:')}</p><ul>{lines}</ul>"
    return ""


def _card(info: ExpertInfo, score: ExpertScore) -> str:
    others = [name for name in info.types if name not in score.shared]
    data = "<br>".join(esc(line) for line in info.corpora or info.data)
    facts = {
        _("Also knows") if score.shared else _("Knows"): esc(", ".join(others)),
        _("Trained on"): data,
        _("How"): esc(info.training),
        _("Licence"): esc(info.licence),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{what}</dd>" for name, what in facts.items() if what)
    about = f"<p>{esc(info.description)}</p>" if info.description else ""
    return f"{about}<dl>{rows}</dl>"
