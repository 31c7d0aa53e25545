"""The match result in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence

from sam_ui.services.views import ExpertScore
from sam_ui.words import _, _n, figure

__all__ = ["summary"]

CLOSE = 0.1
"""Experts whose similarity is this near to the best are named together."""
FAR = 0.2
"""Below this similarity nothing is called close."""


def summary(
    experts: Sequence[ExpertScore], samples: int, *, gold: bool = False, corrected: int = 0
) -> str:
    """Which experts are closest, and which did best on the sampled sentences.

    Args:
        samples: sentences that were probed.
        gold: whether the person's own annotations were the truth.
        corrected: how many of the sampled sentences the person has corrected.

    Example:
        "Your texts are closest to *Astronomy* and *Encyclopedia*; on 10 sampled sentences
        *Astronomy* agreed most with the others (F1 0.61, 24 spans)."
    """
    if not experts:
        return _("There are no experts to compare your texts with.")
    return f"{_closest(experts)}; {_probe(experts, samples, gold, corrected)}.{_probed(experts)}"


def _closest(experts: Sequence[ExpertScore]) -> str:
    ranked = sorted(experts, key=lambda e: -e.similarity)
    best = ranked[0]
    if best.similarity < FAR:
        return _(
            "None of the experts is close to your texts, the nearest is *{expert}*",
            expert=best.title,
        )
    close = [f"*{e.title}*" for e in ranked[:2] if best.similarity - e.similarity <= CLOSE]
    if len(close) > 1:
        close = [_("{first} and {second}", first=close[0], second=close[1])]
    return _("Your texts are closest to {experts}", experts=close[0])


def _probe(experts: Sequence[ExpertScore], samples: int, gold: bool, corrected: int) -> str:
    where = _n("on {n} sampled sentence", "on {n} sampled sentences", samples)
    if corrected:
        where += _(", all of them corrected by you,") if corrected == samples else _n(
            ", {n} of them corrected by you,", ", {n} of them corrected by you,", corrected
        )  # fmt: skip
    scored = [e for e in experts if e.enough and e.f1 is not None and e.probe_state == "done"]
    best = max(scored, key=lambda e: (e.f1 or 0.0, e.similarity), default=None)
    if best is None:
        where = where.removesuffix(",")
        return _("{where} too few entities were found to tell the experts apart", where=where)
    if not best.f1:
        nothing = _("{where} no expert found anything that another found too", where=where)
        if gold:
            nothing = _("{where} no expert found anything of your own annotations", where=where)
        if corrected:
            nothing = _("{where} no expert found anything that is right", where=where)
        return nothing
    score = _n("F1 {f1}, {n} spans", "F1 {f1}, {n} spans", best.support, f1=f"{best.f1:.2f}")
    values = {"where": where, "expert": best.title, "score": score}
    if corrected:
        return _("{where} *{expert}* did best ({score})", **values)
    if gold:
        return _("{where} *{expert}* came closest to your own annotations ({score})", **values)
    return _("{where} *{expert}* agreed most with the others ({score})", **values)


def _probed(experts: Sequence[ExpertScore]) -> str:
    """Of a large pool, not all experts were asked."""
    asked = sum(e.probe_state != "none" for e in experts)
    if asked == len(experts):
        return ""
    return " " + _n(
        "Only the {n} most similar of {all} experts were probed.",
        "Only the {n} most similar of {all} experts were probed.",
        asked,
        all=figure(len(experts)),
    )
