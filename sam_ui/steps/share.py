"""Step 5: take the model, the annotations and the recipe home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from sam_ui.markup import empty, esc, percent, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, step_column
from sam_ui.services.views import BaseInfo, ExpertInfo, MergeInfo, TypeInfo
from sam_ui.steps.common import base_notice, heading, stale_html
from sam_ui.steps.share_files import Handout, get_button
from sam_ui.steps.share_links import Links
from sam_ui.steps.share_notes import choose, chosen, notes_html
from sam_ui.words import _

__all__ = ["build", "licences_html", "snippets"]


def snippets(base: BaseInfo, types: Sequence[str]) -> tuple[str, str]:
    """Two ways to run the downloaded model: our command, and without SaM."""
    asked = ", ".join(types).replace('"', "'") or "person, place"
    command = (
        "# unzip the model into a folder, here: my-model\n"
        f'sam-ui predict texts.txt --types "{asked}" --adapter my-model --out found.jsonl'
    )
    code = (
        "pip install torch transformers peft\n"
        f'python my-model/predict.py texts.txt --base "{base.name}" > found.jsonl'
    )
    return command, code


def _code(title: str, text: str) -> str:
    button = tag("button", _("Copy"), data_copy=text, class_="sam-small")
    return (
        f'<div class="sam-code"><div><span>{esc(title)}</span>{button}</div>'
        f'<pre tabindex="0" role="group" aria-label="{esc(title)}"><code>{esc(text)}</code></pre></div>'
    )


def licences_html(used: Sequence[ExpertInfo], conditions: Sequence[str] = ()) -> str:
    """What the merged model is made of, with the licences of its experts and their data.

    Args:
        conditions: what follows from them, a sentence each.
    """
    if not used:
        return ""
    told = "".join(f"<li>{esc(sentence)}</li>" for sentence in conditions)
    follows = f"<p>{_('What to keep to when you use the model or pass it on:')}</p><ul>{told}</ul>"
    rows = "".join(
        f"<tr><td><strong>{esc(info.title)}</strong></td><td>{esc(info.licence)}</td>"
        f"<td>{'<br>'.join(esc(line) for line in dict.fromkeys(info.data))}</td></tr>"
        for info in used
    )
    head = "".join(tag("th", name) for name in (_("Expert"), _("Licence"), _("Trained on")))
    return (
        f'<div class="sam-scroll"><table class="sam-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>" + (follows if told else "")
    )


class Share:
    """The components of the step."""

    def __init__(self, page: Page) -> None:
        self.services = page.services
        self.column = page.add(step_column("step-share"))
        with self.column:
            self.top = page.add(gr.HTML(apply_default_css=False, elem_id="share-top"))
            self.body = page.add(gr.Row(visible=False, elem_classes="sam-columns sam-even"))
            with self.body:
                with gr.Column(min_width=320, elem_classes="sam-card"):
                    self.model = page.add(action_html("share-model"))
                with gr.Column(min_width=320, elem_classes="sam-card"):
                    self.notes = page.add(action_html("share-notes"))
            self.handout = Handout(page)
            self.links = Links(page)
            self.more = page.add(gr.Column(visible=False, elem_id="share-body"))
            with self.more:
                with gr.Column(elem_classes="sam-card"):
                    self.use = page.add(action_html("share-use"))
                with gr.Column(elem_classes="sam-card"):
                    self.licences = page.add(gr.HTML(apply_default_css=False, elem_id="licences"))
        for card in (self.model, self.notes):
            page.on(
                card.act, self.acted, event=True, mode="multiple",
                reading=("get", "format", "which"),
            )  # fmt: skip

    def paint(self, visit: Visit) -> Updates:
        merge = self._merge(visit)
        if merge is None:
            nothing = empty(
                _("Nothing to download yet"),
                _("Merge some experts first; then the files are here."),
            )
            return {
                self.top: heading(_("Share"), learn="share") + nothing,
                self.body: gr.Row(visible=False),
                self.more: gr.Column(visible=False),
                **self.links.paint(visit),
            }
        notes = {self.notes: notes_html(self.services, visit, merge.id), **self.handout.paint()}
        if not visit.wants("all"):
            return notes
        base = self.services.base_info()
        experts = self.services.experts.ever(merge.weights)
        used = [experts[name] for name in merge.weights if name in experts]
        types = self.services.types.list(visit.id)
        stale = stale_html(_("Texts, types or experts have changed since this merge."))
        top = heading(
            _("Take your model home"),
            _("From <strong>{merge}</strong>.", merge=esc(merge.label)),
            learn="share",
        )
        return {
            self.top: top + (stale if merge.stale else ""),
            self.body: gr.Row(visible=True),
            self.more: gr.Column(visible=True),
            self.model: _model_html(merge, used, base),
            self.use: _use_html(base, types),
            self.licences: f"<h2>{_('Licences')}</h2>"
            + licences_html(used, self.services.share.conditions(visit.id, merge.id)),
            **notes,
            **self.links.paint(visit),
        }

    def _merge(self, visit: Visit) -> MergeInfo | None:
        """The merge that is shown in Review, else the newest."""
        merges = self.services.merge.list(visit.id)
        wanted = visit.filters.get("merge")
        return next((m for m in merges if m.id == wanted), merges[0] if merges else None)

    def primary(self, visit: Visit) -> Primary:
        if self._merge(visit) is None:
            return Primary(_("Go to Merge"))
        return Primary(_("Download the model"), download=True)

    def press(self, visit: Visit) -> Updates | None:
        if self._merge(visit) is None:
            visit.step = "merge"
            return None
        return self.hand(visit, "model")

    def acted(self, visit: Visit) -> Updates | None:
        """Something was asked for, or chosen in the card of the annotations."""
        if choose(visit):
            visit.only = ("notes",)
            return None
        return self.hand(visit, str(visit.act.get("what", "")))

    def hand(self, visit: Visit, what: str) -> Updates:
        """Make a file, unless there is one that is still true, and start its download.

        Raises:
            SamError: there is nothing to hand over.
        """
        merge = self._merge(visit)
        visit.only = ("notes",)
        return self.handout.hand(visit, self._made(visit, what, merge.id if merge else None))

    def _made(self, visit: Visit, what: str, merge_id: str | None) -> Path:
        share = self.services.share
        if what == "recipe":
            return share.recipe_json(visit.id, merge_id)
        if what == "notes":
            kind, reviewed = chosen(visit)
            return share.annotations(visit.id, kind.key, merge_id, reviewed=reviewed)
        return share.adapter_zip(visit.id, merge_id)


def _model_html(merge: MergeInfo, used: Sequence[ExpertInfo], base: BaseInfo) -> str:
    names = ", ".join(f"{esc(info.title)} {merge.weights[info.name]:.2f}" for info in used)
    inside = _(
        "As a zip file with a card, the tokenizer and <code>predict.py</code>, which finds the "
        "entities without SaM."
    )
    made = _(
        "Made of {experts}; keeps {share} of what they know.",
        experts=names,
        share=percent(merge.retained_energy),
    )
    kind = _("Two adapters in PEFT's format.") if merge.dual else _("An adapter in PEFT's format.")
    recipe = _(
        "The recipe says which experts, weights and method made this model: a small JSON file, "
        "enough to make the same model again."
    )
    buttons = get_button(_("Download the model"), "model", "download-model") + get_button(
        _("Download the recipe"), "recipe", "download-recipe"
    )
    return (
        f"<h2>{_('Model')}</h2><p>{kind} {inside} {made}</p><p>{recipe}</p>{base_notice(base)}"
        f'<p class="sam-get">{buttons}</p>'
    )


def _use_html(base: BaseInfo, types: Sequence[TypeInfo]) -> str:
    command, code = snippets(base, [kind.name for kind in types])
    return (
        f"<h2>{_('Run it')}</h2>"
        + _code(_("With SaM on your computer: finds entities with exact positions"), command)
        + _code(_("Without SaM: the same, with what is in the zip"), code)
    )


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Share(page)
    page.steps["share"] = Step("share", step.column, step.paint, step.primary, step.press)
