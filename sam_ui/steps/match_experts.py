"""The list of experts on the match screen: searched, filtered, sorted, in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam_ui.markup import empty, esc, number, tag
from sam_ui.services.drafts import Draft
from sam_ui.services.views import BaseInfo, ExpertInfo, ExpertScore, MatchView
from sam_ui.steps.common import base_notice, pager_html, switch, turned

__all__ = [
    "KEYS",
    "OFFSET",
    "PAGE",
    "READING",
    "Listing",
    "changed",
    "experts_html",
    "listed",
    "pager",
]

PAGE = 8
"""Experts on a page of the list, and in a chart."""
SHOW = {"all": "all experts", "recommended": "recommended", "on": "switched on"}
SORT = {"best": "best first", "similarity": "similarity", "probe": "agreement", "name": "name"}
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
        every = tag("button", "Show all experts", data_act="every", class_="sam-small")
        rows = empty("No expert fits", "Try another word, or show all experts.")
        rows += f'<p class="sam-right-end">{every}</p>' if filters.get(KEYS["show"]) else ""
    back = tag(
        "button", "Back to recommended", data_act="recommended", class_="sam-small",
        disabled=draft.is_recommended(match), id="match-recommended",
    )  # fmt: skip
    return (
        f'<div class="sam-titled"><h2>Experts</h2>{back}</div>{_choices(match, draft, filters)}'
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
        tag("option", f"{name} ({counts[key]:,})", value=key,
            selected=filters.get(KEYS["show"], "all") == key)
        for key, name in SHOW.items()
    )  # fmt: skip
    sorts = "".join(
        tag("option", name, value=key, selected=filters.get(KEYS["sort"], "best") == key)
        for key, name in SORT.items()
    )
    show = tag("select", shown, data_act="show", id="experts-show", aria_label="Which experts")
    sort = tag("select", sorts, data_act="sort", id="experts-sort", aria_label="Order")
    return f'<div class="sam-choices"><label>Show {show}</label><label>Sort by {sort}</label></div>'


def _measured(match: MatchView) -> str:
    """What the bars rest on."""
    sampled = len(match.probe)
    said = f"Agreement was measured on {number(sampled, 'sampled sentence')}"
    if match.corrected:
        count = "all" if match.corrected == sampled else f"{match.corrected:,}"
        said += f", {count} of them corrected by you"
    return f"{said}. The thin line shows where the true value probably lies."


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
        probe = _bar("probe", "agreement", score.f1, score.low, score.high)
        note = f'<p class="sam-note">{esc(_note(score))}</p>' if score.note else ""
    else:
        probe = '<div class="sam-bar probe"><span>agreement</span>' + (
            f"<em>{esc(_note(score))}</em></div>"
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
        f'{note}</div><details data-key="{esc(score.name)}"><summary>Why this expert?</summary>'
        f"{_why(score, match)}</details></article>"
    )


def _note(score: ExpertScore) -> str:
    if score.probe_state == "stopped" and score.corrected:
        return f"{score.note}, {score.corrected} of them corrected by you"
    return score.note


def _why(score: ExpertScore, match: MatchView) -> str:
    parts = [_rests_on(score), _types(score, match), _pairs(score)]
    if score.info:
        parts.append(_card(score.info, score))
    return "".join(parts) or "<p>Nothing more is known of it.</p>"


def _rests_on(score: ExpertScore) -> str:
    said = f"<p>{esc(score.note[:1].upper() + score.note[1:])}.</p>" if score.note else ""
    if score.f1 is None or not score.enough:
        return said
    where = f" in {number(score.sentences, 'sentence')}" if score.sentences else ""
    if score.corrected:
        where += f", {score.corrected:,} of them corrected by you"
    return said + (
        f"<p>Its agreement, {score.f1:.2f}, rests on {number(score.support, 'span')}{where}; the "
        f"true value lies probably between {score.low or 0:.2f} and {score.high or 0:.2f}.</p>"
    )


def _types(score: ExpertScore, match: MatchView) -> str:
    if not score.info:
        return ""
    asked = number(len(match.types), "type")
    if not score.shared:
        return (
            f"<p>It was trained on none of your {asked}; experts can be asked for types that they "
            "were not trained on.</p>"
        )
    names = "".join(f"<li>{esc(name)}</li>" for name in score.shared)
    return (
        f"<p>It was trained on {len(score.shared)} of your {asked}:</p>"
        f'<ul class="sam-shared">{names}</ul>'
    )


def _pairs(score: ExpertScore) -> str:
    if score.pairs:
        rows = "".join(
            f'<tr><td dir="auto">{esc(pair.mine)}</td><td dir="auto">{esc(pair.theirs)}</td>'
            f'<td class="n">{pair.cosine:.2f}</td></tr>'
            for pair in score.pairs
        )
        return (
            "<p>Your sentences that are nearest to what it learned from:</p>"
            '<table class="sam-pairs"><thead><tr><th>yours</th><th>its own</th>'
            f'<th class="n">alike</th></tr></thead><tbody>{rows}</tbody></table>'
        )
    if score.nearest:
        lines = "".join(f'<li dir="auto">{esc(text)}</li>' for text in score.nearest)
        return f"<p>It learned from texts like these:</p><ul>{lines}</ul>"
    return ""


def _card(info: ExpertInfo, score: ExpertScore) -> str:
    others = [name for name in info.types if name not in score.shared]
    data = "<br>".join(esc(line) for line in info.data)
    facts = {
        "Also knows" if score.shared else "Knows": esc(", ".join(others)),
        "Trained on": data,
        "How": esc(info.training),
        "Licence": esc(info.licence),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{what}</dd>" for name, what in facts.items() if what)
    about = f"<p>{esc(info.description)}</p>" if info.description else ""
    return f"{about}<dl>{rows}</dl>"
