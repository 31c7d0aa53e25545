"""The chosen experts: a switch, a slider and a number each, which can be held at a sum of 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experts.errors import SamError
from sam_ui.markup import attrs, empty, esc, tag
from sam_ui.services.drafts import MAXIMUM_WEIGHT, Draft
from sam_ui.services.views import ExpertInfo, MatchView
from sam_ui.steps.common import switch
from sam_ui.words import _

__all__ = ["KEYS_JS", "WEIGHTS_JS", "weighed", "weights_html"]

# Arrow keys change a slider step by step: only where they come to rest counts. And what the
# keyboard was on stays under it, with its value, when the server's answer is drawn.
KEYS_JS = """
let waiting = 0, keyed = false, place = null, pending = null;
element.addEventListener('pointerdown', () => { keyed = false; }, true);
element.addEventListener('keydown', (event) => {
  if (event.target.type === 'range') keyed = true;
}, true);
element.addEventListener('change', (event) => {
  const node = event.target;
  if (node.type !== 'range' || !keyed) return;
  event.stopPropagation();
  clearTimeout(waiting);
  pending = {place: named(node), value: node.value};
  waiting = setTimeout(() => { pending = null; send(node, node.value); }, 400);
}, true);
const named = (node) => node.id ? '#' + CSS.escape(node.id)
  : node.dataset.pair && node.type === 'range'
  ? `input[type=range][data-pair="${CSS.escape(node.dataset.pair)}"]` : null;
element.addEventListener('focusin', (event) => { place = named(event.target); });
document.addEventListener('pointerdown', (event) => {
  if (!element.contains(event.target)) place = null;
}, true);
document.addEventListener('focusin', (event) => {
  if (!element.contains(event.target)) place = null;
});
watch('value', () => {
  const moved = pending && element.querySelector(pending.place);
  if (moved) {
    moved.value = pending.value;
    moved.dispatchEvent(new Event('input', {bubbles: true}));
    clearTimeout(waiting);
    waiting = setTimeout(() => { pending = null; send(moved, moved.value); }, 400);
  }
  if (place && (document.activeElement === document.body || !document.activeElement)) {
    element.querySelector(place)?.focus({preventScroll: true});
  }
});
"""

# While one is moved, the others give or take what it takes or gives, as the server will.
WEIGHTS_JS = (
    """
let before = null;
const rows = () => [...element.querySelectorAll('.sam-weight')].map((row) => ({
  on: row.querySelector('.sam-switch').checked,
  range: row.querySelector('input[type=range]'), field: row.querySelector('input[type=number]'),
}));
element.addEventListener('input', (event) => {
  const name = event.target.dataset && event.target.dataset.pair;
  if (!name || !element.querySelector('.sam-weights[data-linked]')) return;
  const all = rows();
  before ??= Object.fromEntries(all.map((row) => [row.range.dataset.pair, +row.range.value]));
  const others = all.filter((row) => row.on && row.range.dataset.pair !== name);
  const total = others.reduce((sum, row) => sum + before[row.range.dataset.pair], 0);
  const rest = 1 - Math.min(1, Math.max(0, +event.target.value || 0));
  for (const row of others) {
    const share = total > 0 ? before[row.range.dataset.pair] / total : 1 / others.length;
    row.range.value = row.field.value = Math.round(1000 * rest * share) / 1000;
  }
});
watch('value', () => { before = null; });
"""
    + KEYS_JS
)


def weights_html(draft: Draft, experts: Mapping[str, ExpertInfo], match: MatchView | None) -> str:
    """One row an expert (switch, slider, number, remove), the sum, and what helps with it."""
    rows = "".join(
        _row(name, experts.get(name), choice.on, choice.weight, linked=draft.linked)
        for name, choice in draft.experts.items()
    )
    if not rows:
        rows = empty(_("No expert is chosen"), _("Go back to Match, or add one here."))
    linked = attrs(class_="sam-weights", data_linked=draft.linked)
    return (
        f"<h2>{_('Experts and their weights')}</h2><div {linked}>{rows}</div>"
        f"{_foot(draft, match)}{_adder(draft, experts)}"
    )


def _foot(draft: Draft, match: MatchView | None) -> str:
    total = sum(draft.weights.values())
    off = abs(total - 1) > 0.005
    said = _("The weights add up to {total}.", total=f"{total:.2f}")
    if off and draft.weights:
        said += " " + _("A sum of 1 is the safe start.")
    keep = switch(draft.linked, _("Keep the sum at 1"), data_act="link", id="keep-sum")
    held = (
        f'<label class="sam-keep">{keep}<span><b>{_("Keep the sum at 1")}</b>'
        f"<br>{_('Moving one slider moves the others against it.')}</span></label>"
    )
    buttons = tag(
        "button", _("Make the sum 1"), data_act="normalise", class_="sam-small", id="normalise",
        disabled=not (off and total > 0),
    ) + tag(
        "button", _("Back to recommended"), data_act="recommended", class_="sam-small",
        id="merge-recommended", disabled=match is None or draft.is_recommended(match),
    )  # fmt: skip
    return (
        f'<div class="sam-weights-foot"><span class="sam-muted">{said}</span>'
        f"<span>{buttons}</span></div>{held}"
    )


def _adder(draft: Draft, experts: Mapping[str, ExpertInfo]) -> str:
    others = [info for name, info in experts.items() if name not in draft.experts]
    if not others:
        return ""
    options = tag("option", _("Add an expert…"), value="", selected=True) + "".join(
        tag("option", esc(info.title), value=info.name) for info in others
    )
    return tag("select", options, data_act="add", aria_label=_("Add an expert"), id="add-expert")


def _row(name: str, info: ExpertInfo | None, on: bool, weight: float, *, linked: bool) -> str:
    title = info.title if info else name
    most = 1 if linked else MAXIMUM_WEIGHT
    common = {"min": 0, "max": most, "data_act": "weigh", "data_name": name, "data_pair": name}
    slider = attrs(
        type="range", step=0.01, aria_label=_("Weight of {expert}", expert=title), value=weight, **common
    )  # fmt: skip
    field = attrs(
        type="number", step="any", aria_label=_("Weight of {expert}, as a number", expert=title),
        id=f"weight-{name}", value=f"{round(weight, 3):g}", **common,
    )  # fmt: skip
    toggle = switch(
        on, _("Use {expert}", expert=title), data_act="switch", data_name=name,
        id=f"merge-use-{name}",
    )  # fmt: skip
    remove = tag("button", "×", data_act="remove", data_name=name, class_="sam-x",
                 aria_label=_("Remove {name}", name=title),
                 title=_("Remove from this merge"))  # fmt: skip
    gone = "" if info else tag("span", _("no longer in the pool"), class_="sam-badge warn")
    return (
        f'<div class="sam-weight{" on" if on else ""}">{toggle}<div class="sam-weight-name">'
        f"<strong>{esc(title)}</strong>{gone}</div><input {slider}><input {field}>{remove}</div>"
    )


def weighed(draft: Draft, act: Mapping[str, Any], found: MatchView | None) -> Draft:
    """The draft after an action among the weights.

    Raises:
        SamError: a weight is not a number.
    """
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
        case "link":
            return draft.linking(value.lower() == "true")
        case "normalise":
            return draft.normalised()
        case "recommended" if found is not None:
            return draft.recommended(found)
    return draft


def _number(value: str) -> float:
    try:
        return float(value.replace(",", "."))
    except ValueError:
        what = _("“{value}” is not a weight.", value=value)
        raise SamError(what, "Give a number from 0 to 2.") from None
