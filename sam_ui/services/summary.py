"""The match result in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence

from sam_ui.services.views import ExpertScore

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
        return "There are no experts to compare your texts with."
    return f"{_closest(experts)}; {_probe(experts, samples, gold, corrected)}.{_probed(experts)}"


def _closest(experts: Sequence[ExpertScore]) -> str:
    ranked = sorted(experts, key=lambda e: -e.similarity)
    best = ranked[0]
    if best.similarity < FAR:
        return f"None of the experts is close to your texts, the nearest is *{best.title}*"
    close = [e for e in ranked[:2] if best.similarity - e.similarity <= CLOSE]
    return f"Your texts are closest to {' and '.join(f'*{e.title}*' for e in close)}"


def _probe(experts: Sequence[ExpertScore], samples: int, gold: bool, corrected: int) -> str:
    where = f"on {samples} sampled sentence{'' if samples == 1 else 's'}"
    if corrected:
        where += f", {'all' if corrected == samples else corrected} of them corrected by you,"
    scored = [e for e in experts if e.enough and e.f1 is not None and e.probe_state == "done"]
    best = max(scored, key=lambda e: (e.f1 or 0.0, e.similarity), default=None)
    if best is None:
        where = where.removesuffix(",")
        return f"{where} too few entities were found to tell the experts apart"
    if not best.f1:
        other = "of your own annotations" if gold else "that another found too"
        return f"{where} no expert found anything {'that is right' if corrected else other}"
    did = "came closest to your own annotations" if gold else "agreed most with the others"
    if corrected:
        did = "did best"
    return f"{where} *{best.title}* {did} (F1 {best.f1:.2f}, {best.support} spans)"


def _probed(experts: Sequence[ExpertScore]) -> str:
    """Of a large pool, not all experts were asked."""
    asked = sum(e.probe_state != "none" for e in experts)
    if asked == len(experts):
        return ""
    return f" Only the {asked} most similar of {len(experts):,} experts were probed."
