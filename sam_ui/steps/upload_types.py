"""The entity types on the upload screen: chips, the form to change one, suggestions."""

from __future__ import annotations

from collections.abc import Sequence

from sam_ui.markup import attrs, color_or_grey, esc, skeleton, tag
from sam_ui.services.palette import PALETTE
from sam_ui.services.text_views import Often, Suggestions
from sam_ui.services.views import TypeInfo, TypeSuggestion
from sam_ui.words import _

__all__ = ["EDIT_JS", "LOOK_JS", "suggestions_html", "types_html"]

# A form is sent as one event with all its fields; Escape closes it. The first field has the focus
# when it opens, and its chip when it closes.
EDIT_JS = """
const submit = (form) => trigger(
  'act', {...form.dataset, ...Object.fromEntries(new FormData(form))});
element.addEventListener('submit', (event) => {
  event.preventDefault();
  submit(event.target);
});
element.addEventListener('keydown', (event) => {
  const form = event.target.closest('form[data-act]');
  if (!form) return;
  if (event.key === 'Enter' && event.target.tagName === 'INPUT') {
    event.preventDefault();
    event.stopImmediatePropagation();
    submit(form);
  }
  if (event.key === 'Escape') trigger('act', {act: 'close'});
}, true);
let edited = null;
watch('value', () => {
  const form = element.querySelector('form[data-act]');
  const name = form ? form.dataset.name : null;
  if (form && name !== edited) {
    form.elements.definition.focus();
    form.scrollIntoView({block: 'nearest'});
  }
  if (!form && edited !== null) {
    const chips = [...element.querySelectorAll('.sam-chip-name')];
    (chips.find((chip) => chip.dataset.name === edited) || chips[0])?.focus();
  }
  edited = name;
});
"""


LOOK_JS = """
element.addEventListener('click', (event) => {
  if (!event.target.closest('[data-act=look]')) return;
  document.getElementById('preview-search')?.scrollIntoView({block: 'center', behavior: 'smooth'});
});
"""


def types_html(types: Sequence[TypeInfo], editing: str = "", *, to_change: bool = True) -> str:
    """The session's types as coloured chips; a click on one opens the form that changes it.

    Args:
        editing: name of the type whose form is open.
        to_change: False for somebody who may only look.
    """
    if not types:
        none = _("None yet. Name at least one: that is what will be found.")
        return tag("p", none, class_="sam-muted")
    chips = "".join(_chip(kind, kind.name == editing, to_change) for kind in types)
    form = next((_form(kind, types) for kind in types if kind.name == editing), "")
    hint = ""
    if to_change and not form:
        said = _("Click a type to say what it means, rename or recolour it.")
        hint = tag("p", said, class_="sam-fine")
    return f'<div class="sam-chips"><div>{chips}</div>{form}{hint}</div>'


def _chip(kind: TypeInfo, editing: bool, to_change: bool) -> str:
    tip = kind.definition or _("No definition yet")
    style = f"--c:{color_or_grey(kind.color)}"
    if not to_change:
        return tag("span", esc(kind.name), class_="sam-chip fixed", style=style, title=tip)
    name = tag(
        "button", esc(kind.name), class_="sam-chip-name", data_act="edit", data_name=kind.name,
        title=tip, aria_expanded="true" if editing else "false",
    )  # fmt: skip
    remove = tag("button", "×", data_act="remove", data_name=kind.name,
                 aria_label=_("Remove the type {name}", name=kind.name))  # fmt: skip
    return tag("span", name + remove, class_="sam-chip" + " on" * editing, style=style)


def _form(kind: TypeInfo, types: Sequence[TypeInfo]) -> str:
    users = {other.color: other.name for other in types if other is not kind}
    colors = dict.fromkeys([*PALETTE, kind.color])
    swatches = "".join(
        _swatch(number, color, users.get(color, ""), color == kind.color)
        for number, color in enumerate(colors, start=1)
    )
    name = attrs(name="to", type="text", value=kind.name, maxlength=200, autocomplete="off")
    meaning = attrs(
        name="definition", type="text", value=kind.definition, maxlength=300, autocomplete="off",
        placeholder=_("for example: a ship or boat with a name"),
    )  # fmt: skip
    note = _(
        "A colour that another type has is exchanged with it. With another name, experts look for "
        "something else: match again after renaming."
    )
    inside = (
        f"<label>{_('Name')}<input {name}></label>"
        f"<label>{_('What it means, in one line')}<input {meaning}></label>"
        f'<fieldset class="sam-swatches"><legend>{_("Colour")}</legend>{swatches}</fieldset>'
        f'<p class="sam-fine">{note}</p><div class="sam-form-end">'
        f'<button type="button" class="sam-link" data-act="close">{_("Cancel")}</button>'
        f'<button type="submit" class="sam-small">{_("Save")}</button></div>'
    )
    return tag(
        "form", inside, class_="sam-type-form", data_act="save", data_name=kind.name,
        aria_label=_("Change the type {name}", name=kind.name),
    )  # fmt: skip


def _swatch(number: int, color: str, user: str, mine: bool) -> str:
    said = _("Colour {number}", number=number)
    if user:
        said = _("Colour {number}, now of {user}", number=number, user=user)
    checked = " checked" if mine else ""
    return (
        f'<label class="sam-swatch{" used" if user else ""}" title="{esc(said)}" '
        f'style="--c:{color_or_grey(color)}"><input type="radio" name="color" '
        f'value="{esc(color)}" aria-label="{esc(said)}"{checked}></label>'
    )


def suggestions_html(found: Suggestions) -> str:
    """Types of the pool to add with a click, and what recurs in the texts, to get ideas from."""
    parts = []
    if found.types:
        chips = "".join(map(_suggestion, found.types))
        title = _("Types that the experts know")
        if found.compared:
            title = _("Types that the experts know, those that fit your texts first")
        parts.append(f'<p class="sam-label">{title}</p><div>{chips}</div>')
    if found.often:
        chips = "".join(map(_often, found.often))
        title = _("In your texts: what kinds of things are these?")
        if all(item.count > 1 for item in found.often):
            title = _("Often in your texts: what kinds of things are these?")
        parts.append(f'<p class="sam-label">{title}</p><div>{chips}</div>')
    elif found.pending:
        parts.append(
            tag("p", _("Often in your texts"), class_="sam-label")
            + skeleton((72, 54), label=_("Looking at your texts"))
        )
    return f'<div class="sam-chips">{"".join(parts)}</div>' if parts else ""


def _suggestion(item: TypeSuggestion) -> str:
    known = _("Known to {names}", names=", ".join(item.experts[:3])) if item.experts else ""
    tip = ". ".join(part for part in (item.definition, known) if part)
    return tag(
        "button", f"+ {esc(item.name)}", class_="sam-chip add", data_act="add",
        data_name=item.name, data_definition=item.definition, title=tip,
    )  # fmt: skip


def _often(item: Often) -> str:
    count = f' <span class="sam-times">{item.count}×</span>' if item.count > 1 else ""
    return tag(
        "button", esc(item.text) + count, class_="sam-chip often", data_act="look",
        data_text=item.text, title=_("See the sentences with it below"),
    )  # fmt: skip
