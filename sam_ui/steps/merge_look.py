"""What those see of weights and method who may only look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam_ui.markup import empty, esc
from sam_ui.services.drafts import Draft
from sam_ui.services.views import BaseInfo, ExpertInfo
from sam_ui.steps.common import base_notice
from sam_ui.words import _

__all__ = ["chosen_html", "manner_html"]


def chosen_html(draft: Draft, experts: Mapping[str, ExpertInfo]) -> str:
    """The experts that take part, each with its weight."""
    most = max([1.0, *draft.weights.values()])
    rows = "".join(
        f'<li><span dir="auto">{esc(experts[name].title if name in experts else name)}</span>'
        f'<span class="track"><b style="width:{100 * weight / most:.1f}%"></b></span>'
        f'<span class="n">{weight:.2f}</span></li>'
        for name, weight in draft.weights.items()
    )
    if not rows:
        rows = empty(
            _("No expert is chosen"), _("Whoever owns this session has not got so far yet.")
        )
    return f'<h2>{_("Experts and their weights")}</h2><ul class="sam-fixed">{rows}</ul>'


def manner_html(draft: Draft, methods: Sequence[Any], base: BaseInfo) -> str:
    """The method with its parameters, the size, one model or two."""
    chosen = next((m for m in methods if m.key == draft.method), methods[0])
    facts = [(_("Method"), _(chosen.name))]
    for parameter in chosen.parameters:
        value = draft.parameters.get(parameter.name, parameter.default)
        if isinstance(value, bool):
            value = _("yes") if value else _("no")
        facts.append((_(parameter.label), _(str(value))))
    facts.append((_("Models"), _("two, answers united") if draft.dual else _("one")))
    facts.append((_("Size (rank)"), _("automatic") if draft.rank is None else str(draft.rank)))
    rows = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in facts)
    return (
        f'<h2>{_("How to merge")}</h2><p class="sam-muted">{esc(_(chosen.summary))}</p>'
        f'<dl class="sam-facts">{rows}</dl>{base_notice(base)}'
    )
