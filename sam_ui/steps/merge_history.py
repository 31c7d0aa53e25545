"""Earlier merges, and what a merge keeps, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_ui.markup import esc, percent, tag
from sam_ui.services.views import ExpertInfo, MergeInfo

__all__ = ["energy_words", "history_html"]


def energy_words(share: float, rank: int | None) -> str:
    """Retained energy as a person would say it."""
    if share >= 0.9995:
        return "Keeps everything that the chosen experts know."
    size = f" at size {rank}" if rank else ""
    return f"Keeps {percent(share)} of the experts' knowledge{size}."


def history_html(
    merges: Sequence[MergeInfo], experts: Mapping[str, ExpertInfo], methods: Sequence[Any]
) -> str:
    """Earlier merges, newest first; a click takes over their settings."""
    names = {m.key: m.name for m in methods}
    rows = []
    for merge in merges:
        parts = ", ".join(
            f"{esc(experts[n].title if n in experts else n)} {weight:.2f}"
            for n, weight in merge.weights.items()
        )
        kind = "two models" if merge.dual else "one model"
        settled = merge.found if merge.method != "linear" else ()
        found = "".join(_found(weights, merge.layerwise, experts) for weights in settled)
        if merge.note:
            found += f'<p class="sam-note">{esc(merge.note)}</p>'
        buttons = tag("button", "Use these settings", data_act="restore", data_merge=merge.id,
                      class_="sam-small")  # fmt: skip
        if len(settled) == 1:
            buttons += tag("button", "Use the weights found", data_act="found",
                           data_merge=merge.id, class_="sam-small")  # fmt: skip
        if merge.predicted:
            buttons += tag("button", "See what it found", data_act="see", data_merge=merge.id,
                           class_="sam-small")  # fmt: skip
        stale = '<span class="sam-badge warn">out of date</span>' if merge.stale else ""
        rows.append(
            f"<li><div><strong>{esc(merge.label)}</strong>{stale}<p>{parts}</p>{found}"
            f'<p class="sam-note">{esc(names.get(merge.method, merge.method))}, {kind}. '
            f"{energy_words(merge.retained_energy, merge.rank)}</p></div><div>{buttons}</div></li>"
        )
    if not rows:
        return ""
    return f'<h2>Merges so far</h2><ol class="sam-history">{"".join(rows)}</ol>'


def _found(weights: Mapping[str, float], layerwise: bool, experts: Mapping[str, ExpertInfo]) -> str:
    """The weights that a method has settled itself."""
    parts = ", ".join(
        f"{esc(experts[n].title if n in experts else n)} {weight:.2f}"
        for n, weight in weights.items()
    )
    said = "Weights found, on average over the layers" if layerwise else "Weights found"
    return f'<p class="sam-note">{said}: {parts}</p>'
