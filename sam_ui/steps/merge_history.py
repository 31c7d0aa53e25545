"""Earlier merges: how they were made, how good they are, and what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experts.probe import MINIMUM_SPANS
from sam_ui.markup import attrs, esc, percent, tag
from sam_ui.services.merge_bin import DeletedMerge
from sam_ui.services.merge_scores import MergeScore
from sam_ui.services.views import ExpertInfo, MergeInfo
from sam_ui.steps.common import ago
from sam_ui.words import _, _n, figure, moment

__all__ = ["PICK_JS", "energy_words", "history_html", "score_html"]

# The browser knows what is ticked: two quick clicks are not two guesses at what was ticked before.
PICK_JS = """
let ticked = [];
const boxes = () => [...element.querySelectorAll('.sam-pick')];
element.addEventListener('change', (event) => {
  const box = event.target;
  if (!box.classList.contains('sam-pick')) return;
  event.stopPropagation();
  const others = ticked.filter((each) => each !== box.dataset.merge);
  ticked = box.checked ? [...others, box.dataset.merge].slice(-2) : others;
  for (const each of boxes()) each.checked = ticked.includes(each.dataset.merge);
  trigger('act', {act: 'pick', picked: ticked});
}, true);
watch('value', () => {
  const now = boxes().filter((box) => box.hasAttribute('checked')).map((box) => box.dataset.merge);
  ticked = [...ticked.filter((each) => now.includes(each)),
            ...now.filter((each) => !ticked.includes(each))];
});
"""

SHOWN = 6
"""Merges that are shown at once; older ones are folded away."""


def energy_words(share: float, rank: int | None) -> str:
    """Retained energy as a person would say it."""
    if share >= 0.9995:
        return _("Keeps everything that the chosen experts know.")
    if not rank:
        return _("Keeps {share} of the experts' knowledge.", share=percent(share))
    said = _("Keeps {share} of the experts' knowledge at size {rank}.",
             share=percent(share), rank=rank)  # fmt: skip
    return said if share >= 0.9 else f"{said} {_('A larger size keeps more.')}"


def score_html(score: MergeScore | None, *, best: bool = False) -> str:
    """How good a merge is, a number with its words."""
    if score is None:
        return tag("span", _("has not read your texts yet"), class_="sam-muted")
    found = _n("{n} entity found", "{n} entities found", score.entities)
    if score.truth is not None:
        truth = score.truth
        enough = truth.support >= MINIMUM_SPANS
        f1 = tag("b", f"F1 {truth.f1:.2f}" if enough else _("too few to tell"))
        badge = tag("span", _("best so far"), class_="sam-badge") if best else ""
        said = _n(
            "found {found} of {n} entity, {wrong} wrong, on {where}",
            "found {found} of {n} entities, {wrong} wrong, on {where}",
            truth.support,
            found=figure(truth.tp),
            wrong=figure(truth.fp),
            where=_n("{n} known sentence", "{n} known sentences", score.sentences),
        )
        return f"{f1}{badge}<br>{said}<br>{found}"
    if score.agreement is not None:
        agreed = score.agreement
        said = _(
            "agrees {f1} with {experts} on {sentences}",
            f1=f"{agreed.f1:.2f}",
            experts=_n("{n} expert", "{n} experts", agreed.experts),
            sentences=_n("{n} sentence", "{n} sentences", agreed.sentences),
        )
        why = _(
            "1 would be the same answers as every expert. Correct some sentences to get a score."
        )
        return f"<b>{found}</b><br>{tag('span', said, title=why)}"
    return f"<b>{found}</b>"


def history_html(
    merges: Sequence[MergeInfo],
    experts: Mapping[str, ExpertInfo],
    methods: Sequence[Any],
    *,
    scores: Mapping[str, MergeScore] | None = None,
    picked: Sequence[str] = (),
    deleted: Sequence[DeletedMerge] = (),
) -> str:
    """Earlier merges, newest first.

    Args:
        scores: by merge, of those that have read the texts.
        picked: merges chosen to be compared.
        deleted: merges that can be put back.
    """
    scores = scores or {}
    names = {m.key: _(m.name) for m in methods}
    best = _best(scores)
    rows = [
        _row(merge, experts, names, scores.get(merge.id),
             best=merge.id == best, picked=merge.id in picked)
        for merge in merges
    ]  # fmt: skip
    if not rows and not deleted:
        return ""
    gone = "".join(
        f'<li class="gone"><span>{_gone(each)}</span>'
        + tag("button", _("Undo"), data_act="undelete", data_merge=each.id, class_="sam-small")
        + "</li>"
        for each in deleted
    )
    older = ""
    if len(rows) > SHOWN:
        more = _n("{n} older merge", "{n} older merges", len(rows) - SHOWN)
        older = (
            f'<details data-key="older"><summary>{more}'
            f'</summary><ol class="sam-history">{"".join(rows[SHOWN:])}</ol></details>'
        )
    hint = ""
    if len(rows) > 1:
        hint = tag("p", _("Tick two of them to see them side by side."), class_="sam-note")
    return (
        f'<h2>{_("Merges so far")}</h2>{hint}<ol class="sam-history">{gone}{"".join(rows[:SHOWN])}</ol>'
        f"{older}"
    )


def _gone(merge: DeletedMerge) -> str:
    return _("Deleted “{name}”, {ago}.", name=esc(merge.label), ago=ago(merge.deleted_at))


def _best(scores: Mapping[str, MergeScore]) -> str | None:
    """The merge with the highest F1, where several have one and it rests on enough."""
    known = {
        ident: score.truth.f1
        for ident, score in scores.items()
        if score.truth is not None and score.truth.support >= MINIMUM_SPANS
    }
    top = max(known.values(), default=0.0)
    leaders = [ident for ident, f1 in known.items() if f1 == top]
    return leaders[0] if len(known) > 1 and len(leaders) == 1 else None


def _row(
    merge: MergeInfo,
    experts: Mapping[str, ExpertInfo],
    names: Mapping[str, str],
    score: MergeScore | None,
    *,
    best: bool,
    picked: bool,
) -> str:
    pick = attrs(type="checkbox", data_act="pick", data_merge=merge.id, checked=picked,
                 class_="sam-pick", aria_label=_("Compare {name}", name=merge.label),
                 title=_("Compare"), id=f"pick-{merge.id}")  # fmt: skip
    field = attrs(value=merge.label, data_act="name", data_merge=merge.id, maxlength=100,
                  aria_label=_("Name of the merge"), title=_("Click to rename"), spellcheck="false",
                  class_="sam-rename", dir="auto")  # fmt: skip
    stale = ""
    if merge.stale:
        why = _("Your texts, types or the match have changed since.")
        stale = tag("span", _("out of date"), class_="sam-badge warn", title=why)
    when = tag("span", ago(merge.created_at), class_="sam-muted", title=moment(merge.created_at))
    kind = _("two models") if merge.dual else _("one model")
    recipe = f"{esc(names.get(merge.method, merge.method))}, {kind}"
    settled = merge.found if merge.method != "linear" else ()
    found = "".join(_found(weights, merge.layerwise, experts) for weights in settled)
    if merge.note:
        found += f'<p class="sam-note">{esc(merge.note)}</p>'
    return (
        f'<li data-merge="{esc(merge.id)}"><input {pick}>'
        f'<div class="what"><div class="name"><input {field}>'
        f'<strong class="when-looking" dir="auto">{esc(merge.label)}</strong>{stale}'
        f"{when}</div>"
        f"<p>{_weights(merge.weights, experts)}</p>{found}"
        f'<p class="sam-note">{recipe}. {energy_words(merge.retained_energy, merge.rank)}</p></div>'
        f'<div class="score">{score_html(score, best=best)}</div>'
        f'<div class="does">{_buttons(merge, settled)}</div></li>'
    )


def _buttons(merge: MergeInfo, settled: Sequence[Any]) -> str:
    data: dict[str, Any] = {"data_merge": merge.id, "class_": "sam-small"}
    html = tag("button", _("Use these settings"), data_act="restore", **data)
    if len(settled) == 1:
        html += tag("button", _("Use the weights found"), data_act="found", **data)
    if merge.predicted:
        html += tag("button", _("See what it found"), data_act="see", **data)
    else:
        html += tag("button", _("Read all texts"), data_act="read", **data)
    return html + tag(
        "button", "×", data_act="delete", data_merge=merge.id, class_="sam-x",
        aria_label=_("Delete {name}", name=merge.label), title=_("Delete this merge"),
    )  # fmt: skip


def _weights(weights: Mapping[str, float], experts: Mapping[str, ExpertInfo]) -> str:
    return ", ".join(
        f"{esc(experts[n].title if n in experts else n)} {weight:.2f}"
        for n, weight in weights.items()
    )


def _found(weights: Mapping[str, float], layerwise: bool, experts: Mapping[str, ExpertInfo]) -> str:
    """The weights that a method has settled itself."""
    found = _weights(weights, experts)
    said = _("Weights found: {weights}", weights=found)
    if layerwise:
        said = _("Weights found, on average over the layers: {weights}", weights=found)
    return tag("p", said, class_="sam-note")
