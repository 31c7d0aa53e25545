"""The charts of the match screen, from a match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_ui import charts
from sam_ui.markup import tag
from sam_ui.services.views import ExpertScore, MapView, MatchView
from sam_ui.steps.match_experts import by_you
from sam_ui.words import _, _n, figure

__all__ = ["fit", "heat", "heat_words", "map_chart", "map_words"]

LABELLED = 8
"""Domains with a colour and a name of their own on the map; the others are grey."""


def fit(match: MatchView, experts: Sequence[ExpertScore]) -> Any:
    """Similarity and agreement of these experts side by side."""
    probe = [
        (s.f1, s.low if s.low is not None else s.f1, s.high if s.high is not None else s.f1)
        if s.enough and s.f1 is not None
        else None
        for s in experts
    ]
    return charts.fit_chart(
        [s.title for s in experts],
        [s.similarity for s in experts],
        probe,
        samples=len(match.probe),
        corrected=match.corrected,
        notes=[s.note for s in experts],
        title=_("Which experts are close, and which agree?"),
    )


def heat(match: MatchView, experts: Sequence[ExpertScore]) -> Any:
    """Which of these experts finds which type."""
    return charts.type_heatmap(
        [s.title for s in experts],
        match.types,
        [[s.per_type.get(t) for t in match.types] for s in experts],
    )


def heat_words(match: MatchView) -> str:
    """What the numbers rest on."""
    where = _n("{n} sampled sentence", "{n} sampled sentences", len(match.probe))
    if match.corrected:
        where += by_you(match.corrected)
    said = _(
        "How well an expert's answers agree for one type (F1), on {where}. A dash: nothing of this "
        "type is known to occur in them.",
        where=where,
    )
    return tag("p", said, class_="sam-fine")


def map_chart(match: MatchView) -> Any:
    """The sentences among the domains of the best experts, which are named, and of the others."""
    titles: Mapping[str, str] = {e.name: e.title for e in match.map.experts}
    points = {e.name: e.points for e in match.map.experts}
    best = [score.name for score in match.experts if score.name in titles][:LABELLED]
    others = {titles[name]: points[name] for name in titles if name not in best}
    return charts.map_chart(
        match.map.points,
        match.map.texts,
        {titles[name]: points[name] for name in best},
        others=others,
    )


def map_words(view: MapView) -> str:
    """How the map is to be read, and which part of the texts it shows."""
    said = _(
        "Every mark is a sentence; marks that lie close are about similar things. Point at one of "
        "yours to read it."
    )
    if len(view.texts) < view.total:
        shown = _n(
            "{n} sentence of your {all} are shown, evenly spread over your texts.",
            "{n} sentences of your {all} are shown, evenly spread over your texts.",
            len(view.texts),
            all=figure(view.total),
        )
        said = f"{shown} {said}"
    if len(view.experts) > LABELLED:
        named = _("The {n} best experts have names, the others are grey.", n=LABELLED)
        said = f"{said} {named}"
    return tag("p", said, class_="sam-fine", id="map-words")
