"""How to merge: the method with its plain sentence and parameters, the size, one model or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sam_ui.markup import attrs, esc, tag
from sam_ui.services.drafts import Draft
from sam_ui.services.views import BaseInfo
from sam_ui.steps.common import base_notice, switch
from sam_ui.words import _, mark

__all__ = ["method_html", "set_up"]

RANKS = (4, 8, 16, 32, 64)
GROUPS = {
    "none": mark("From the experts alone"),
    "scores": mark("By how well the experts fit"),
    "texts": mark("Reads your texts first (slower)"),
    "corrections": mark("Learns from what you corrected (slower)"),
}


def method_html(
    draft: Draft,
    methods: Sequence[Any],
    base: BaseInfo,
    missing: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """Method, its plain sentence, its parameters from its own declaration, rank, one or two.

    Args:
        missing: kinds of data that methods need and the session lacks: what to say after their
            names, and what to do. Such methods are shown greyed.
    """
    missing = missing or {}
    chosen = next((m for m in methods if m.key == draft.method), methods[0])
    controls = "".join(_parameter(p, draft.parameters.get(p.name)) for p in chosen.parameters)
    exact = _("automatic (all of it)") if chosen.exact else _("automatic (as large as needed)")
    ranks = tag("option", exact, value="", selected=draft.rank is None) + "".join(
        tag("option", str(rank), value=rank, selected=rank == draft.rank) for rank in RANKS
    )
    kinds = (
        _kind("single", _("One model"), _("All chosen experts in one merge. Fast."),
              not draft.dual)
        + _kind("dual", _("Two models, answers united"),
                _("One merge of the most similar experts, one of those that agree most. Finds "
                  "more, takes twice as long."), draft.dual)
    )  # fmt: skip
    paper = f'<p class="sam-fine">{esc(chosen.paper)}</p>' if chosen.paper else ""
    return (
        f'<h2>{_("How to merge")}</h2><div class="sam-form"><label>{_("Method")}'
        f"{_picker(methods, chosen, missing)}</label>"
        f"<p>{esc(_(chosen.summary))}</p>{_lacking(methods, missing)}{_all(methods, chosen, missing)}"
        f'<fieldset class="sam-kinds"><legend>{_("One model or two")}</legend>{kinds}</fieldset>'
        f"<details data-key='tuning'><summary>{_('Fine tuning')}</summary>{controls}"
        f"<label>{_('Size of the merged model (rank)')}"
        f"{tag('select', ranks, data_act='rank', id='rank')}</label>"
        f'<p class="sam-note">{_("Smaller makes a smaller file and may forget a little.")}</p>{paper}'
        f"</details></div>{base_notice(base)}"
    )


def _picker(methods: Sequence[Any], chosen: Any, missing: Mapping[str, Any]) -> str:
    groups = ""
    for needs, title in GROUPS.items():
        options = "".join(
            tag("option", esc(_named(m, first=m is methods[0])), value=m.key,
                selected=m is chosen, disabled=m.needs in missing and m is not chosen)
            for m in methods if m.needs == needs
        )  # fmt: skip
        groups += tag("optgroup", options, label=_(title)) if options else ""
    return tag("select", groups, data_act="method", id="method")


def _named(method: Any, *, first: bool) -> str:
    return _("{method} (the safe start)", method=_(method.name)) if first else _(method.name)


def _all(methods: Sequence[Any], chosen: Any, missing: Mapping[str, Any]) -> str:
    """Every method in its one sentence."""
    rows = ""
    for needs, title in GROUPS.items():
        members = [m for m in methods if m.needs == needs]
        if members:
            rows += f'<li class="group">{_(title)}</li>'
        for m in members:
            use = tag("button", _("chosen") if m is chosen else _("use"), data_act="method",
                      data_value=m.key, class_="sam-small",
                      aria_label=_("Use {method}", method=_(m.name)),
                      disabled=m is chosen or m.needs in missing)  # fmt: skip
            rows += f"<li><span><b>{esc(_(m.name))}</b> {esc(_(m.summary))}</span>{use}</li>"
    title = _("All methods in one sentence each")
    advice = _(
        "If in doubt, stay with {method}: no other was clearly better in our tests.",
        method=esc(_(methods[0].name)),
    )
    return (
        f'<details data-key="methods"><summary>{title}</summary>'
        f'<p class="sam-note">{advice}</p><ul class="sam-methods">{rows}</ul></details>'
    )


def _lacking(methods: Sequence[Any], missing: Mapping[str, tuple[str, str]]) -> str:
    """For each kind of data that is not there: which methods wait for it, and where to get it."""
    notes = ""
    for kind, (what, hint) in missing.items():
        names = ", ".join(esc(_(m.name)) for m in methods if m.needs == kind)
        if names:
            notes += f'<p class="sam-note"><b>{names}</b>: {esc(_(what))} {esc(_(hint))}</p>'
    return notes


def _kind(value: str, title: str, what: str, checked: bool) -> str:
    radio = attrs(type="radio", name="sam-kind", value=value, data_act="kind", checked=checked,
                  id=f"kind-{value}")  # fmt: skip
    return f"<label><input {radio}><span><b>{title}</b><br>{what}</span></label>"


def _parameter(parameter: Any, value: Any) -> str:
    """A control for one declared parameter of a method."""
    value = parameter.default if value is None else value
    data = {"data_act": "parameter", "data_name": parameter.name}
    ident = f"parameter-{parameter.name}"
    if parameter.type == "bool":
        control = switch(bool(value), _(parameter.label), id=ident, **data)
    elif parameter.type == "choice":
        options = "".join(
            tag("option", esc(_(choice)), value=choice, selected=choice == value)
            for choice in parameter.choices
        )
        control = tag("select", options, id=ident, **data)
    else:
        limits = {"min": parameter.minimum, "max": parameter.maximum}
        pair = {"data_pair": f"parameter {parameter.name}", "value": f"{value:g}", **limits, **data}
        step = 1 if parameter.type == "int" else 0.05
        control = f"<input {attrs(type='number', step='any', id=ident, **pair)}>"
        if parameter.minimum is not None and parameter.maximum is not None:
            slider = attrs(type="range", step=step, aria_label=_(parameter.label), **pair)
            control = f"<span class='sam-pair'><input {slider}>{control}</span>"
    return (
        f"<label>{esc(_(parameter.label))}{control}</label>"
        f'<p class="sam-note">{esc(_(parameter.meaning))}</p>'
    )


def set_up(draft: Draft, act: Mapping[str, Any], methods: Mapping[str, Any]) -> Draft:
    """The draft after an action among method, parameters, rank and kind.

    Args:
        methods: those that can be chosen, by key.

    Raises:
        SamError: a parameter has a value that does not fit.
    """
    value = str(act.get("value", ""))
    match act.get("act"):
        case "method" if value in methods:
            return replace(draft, method=value, parameters={})
        case "rank":
            return replace(draft, rank=int(value) if value.isdecimal() else None)
        case "kind":
            return replace(draft, dual=value == "dual")
        case "parameter" if draft.method in methods:
            for parameter in methods[draft.method].parameters:
                if parameter.name == act.get("name"):
                    checked = parameter.check(value)
                    return replace(draft, parameters={**draft.parameters, parameter.name: checked})
    return draft
