"""What the card for two annotators shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sam_ui.markup import esc, tag
from sam_ui.services.agreement import Agreement, Annotator, Disagreement
from sam_ui.span_view import spans_html
from sam_ui.words import _, _n, figure

__all__ = ["PAGE", "agreement_html"]

PAGE = 10
"""Disagreements that are listed at once."""
FEW = 10
"""With fewer sentences in common it is said that they are few."""


def agreement_html(
    annotators: Sequence[Annotator],
    pair: tuple[str, str],
    agreement: Agreement | None,
    disagreements: Sequence[Disagreement],
    colors: Mapping[str, str],
    *,
    shown: int = PAGE,
    view_only: bool = False,
) -> str:
    """The card.

    Args:
        pair: the names of the two who are compared.
        agreement: None where they have no sentence in common.
        colors: type -> ``#rrggbb``.
        shown: how many disagreements to list.
        view_only: for somebody who may only look.
    """
    title = tag("h2", esc(_("Two annotators")))
    choice = "".join(
        _select(act, label, annotators, name)
        for act, label, name in zip(
            ("agree_a", "agree_b"), (_("Compare"), _("with")), pair, strict=True
        )
    )
    head = f'{title}<div class="sam-filters">{choice}</div>'
    if agreement is None:
        said = _("There is no sentence that both have annotated.")
        return head + tag("p", esc(said), class_="sam-muted")
    return (
        f"{head}{_told(agreement)}{_types(agreement)}"
        f"{_list(pair, disagreements, colors, shown, view_only)}"
    )


def _select(act: str, label: str, annotators: Sequence[Annotator], chosen: str) -> str:
    options = "".join(
        tag("option", esc(_n("{name}, {n} sentence", "{name}, {n} sentences", each.sentences,
                             name=each.name)),
            value=each.name, selected=each.name == chosen)
        for each in annotators
    )  # fmt: skip
    return f"<label>{esc(label)}{tag('select', options, data_act=act, id=f'review-{act}')}</label>"


def _told(found: Agreement) -> str:
    where = _n(
        "On {n} sentence that both have annotated:",
        "On {n} sentences that both have annotated:",
        found.sentences,
    )
    strict = _("F1 {f1}", f1=f"<b>{found.strict_f1:.2f}</b>")
    if found.sentences >= FEW:
        strict = _(
            "F1 {f1}, {low} to {high}", f1=f"<b>{found.strict_f1:.2f}</b>",
            low=f"{found.low:.2f}", high=f"{found.high:.2f}",
        )  # fmt: skip
    rows = [
        (_("the same place and type"), strict),
        (
            _("the place, half counts half"),
            _("F1 {f1}", f1=f"<b>{found.partial_f1:.2f}</b>"),
        ),
        (
            _("word by word, beyond chance (Cohen's kappa)"),
            esc(_(found.reason)) if found.kappa is None else f"<b>{found.kappa:.2f}</b>",
        ),
    ]
    inside = "".join(f"<li><span>{esc(name)}</span><span>{value}</span></li>"
                     for name, value in rows)  # fmt: skip
    few = ""
    if found.sentences < FEW:
        few = tag("p", esc(_("These are too few sentences to rely on.")), class_="sam-note")
    return f'<p id="agreement-told">{where}</p><ul class="sam-tally">{inside}</ul>{few}'


def _types(found: Agreement) -> str:
    rows = "".join(
        '<li><b dir="auto">{}</b><span>{}</span><span>{}</span><span>{}</span></li>'.format(
            esc(name),
            _("both {n}", n=f"<b>{figure(score.tp)}</b>"),
            _("only {name} {n}", name=esc(found.a), n=figure(score.fn)),
            _("only {name} {n}", name=esc(found.b), n=figure(score.fp)),
        )
        for name, score in found.per_type.items()
    )
    if not rows:
        return ""
    return (
        f'<details data-key="agreement-types"><summary>{esc(_("Each type alone"))}</summary>'
        f'<ul class="sam-learn-types">{rows}</ul></details>'
    )


def _list(
    pair: tuple[str, str],
    disagreements: Sequence[Disagreement],
    colors: Mapping[str, str],
    shown: int,
    view_only: bool,
) -> str:
    if not disagreements:
        return tag("p", esc(_("They say the same of every one.")), class_="sam-note")
    rows = "".join(_row(pair, each, colors, view_only) for each in disagreements[:shown])
    left = len(disagreements) - shown
    more = ""
    if left > 0:
        said = _n("Show {n} more", "Show {n} more", min(PAGE, left))
        more = tag("button", said, data_act="agree_more", class_="sam-small", type="button")
    undecided = sum(each.decided is None for each in disagreements)
    summary = _n("{n} sentence differs", "{n} sentences differ", len(disagreements))
    summary += _n(", {n} undecided", ", {n} undecided", undecided) if undecided else ""
    return (
        f'<details data-key="agreement-list"><summary>{esc(summary)}</summary>'
        f'<ol class="sam-differ">{rows}</ol>{more}</details>'
    )


def _row(
    pair: tuple[str, str], each: Disagreement, colors: Mapping[str, str], view_only: bool
) -> str:
    sides = "".join(
        f'<div class="side"><h3 dir="auto">{esc(name)}</h3>'
        f"{spans_html(each.text, spans, colors)}{_take(side, name, each, view_only)}</div>"
        for side, name, spans in zip(("a", "b"), pair, (each.a, each.b), strict=True)
    )
    go = tag(
        "button", esc(_("Open in the editor")), data_sentence_go=each.sentence_id,
        class_="sam-link", type="button",
    )  # fmt: skip
    return f'<li>{sides}<p class="foot">{_decision(pair, each)}{go}</p></li>'


def _take(side: str, name: str, each: Disagreement, view_only: bool) -> str:
    if view_only:
        return ""
    return tag(
        "button", esc(_("Take this")), data_act="take", data_sentence=each.sentence_id,
        data_side=side, class_="sam-small", type="button",
        aria_label=_("Take what {name} says", name=name),
    )  # fmt: skip


def _decision(pair: tuple[str, str], each: Disagreement) -> str:
    if each.decided is None:
        return ""
    keys = {span.key for span in each.decided}
    for name, spans in zip(pair, (each.a, each.b), strict=True):
        if keys == {span.key for span in spans}:
            return tag("span", esc(_("Decided: as {name}", name=name)), class_="decided")
    return tag("span", esc(_("Decided otherwise")), class_="decided")
