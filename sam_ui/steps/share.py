"""Step 5: take the model, the annotations and the recipe home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from experts.errors import SamError
from sam_ui.markup import empty, esc, number, percent, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, step_column
from sam_ui.services.views import BaseInfo, ExpertInfo, MergeInfo, TypeInfo
from sam_ui.steps.common import base_notice, heading, stale_html
from sam_ui.steps.share_links import Links

__all__ = ["build", "licences_html", "snippets"]


def snippets(base: BaseInfo, types: Sequence[str]) -> tuple[str, str]:
    """Two ways to run the downloaded model: our command, and PEFT alone."""
    asked = ", ".join(types).replace('"', "'") or "person, place"
    command = (
        "# unzip the model into a folder, here: my-model\n"
        f'sam-ui predict texts.txt --types "{asked}" --adapter my-model --out found.jsonl'
    )
    code = (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{base.name}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{base.name}")\n'
        'model = PeftModel.from_pretrained(base, "my-model")'
    )
    return command, code


def _code(title: str, text: str) -> str:
    button = tag("button", "Copy", data_copy=text, class_="sam-small")
    return (
        f'<div class="sam-code"><div><span>{esc(title)}</span>{button}</div>'
        f'<pre tabindex="0" role="group" aria-label="{esc(title)}"><code>{esc(text)}</code></pre></div>'
    )


def licences_html(used: Sequence[ExpertInfo]) -> str:
    """What the merged model is made of, with the licences of its experts and their data."""
    if not used:
        return ""
    rows = "".join(
        f"<tr><td><strong>{esc(info.title)}</strong></td><td>{esc(info.licence)}</td>"
        f"<td>{'<br>'.join(esc(line) for line in info.data)}</td></tr>"
        for info in used
    )
    return (
        '<div class="sam-scroll"><table class="sam-table"><thead><tr><th>Expert</th>'
        f"<th>Licence</th><th>Trained on</th></tr></thead><tbody>{rows}</tbody></table></div>"
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
                    self.model = page.add(gr.HTML(apply_default_css=False))
                    with gr.Row(elem_classes="sam-buttons"):
                        self.model_file = page.add(
                            _download("Download the model", "download-model")
                        )
                        self.recipe_file = page.add(
                            _download("Download the recipe", "download-recipe")
                        )
                with gr.Column(min_width=320, elem_classes="sam-card"):
                    self.notes = page.add(gr.HTML(apply_default_css=False))
                    with gr.Row(elem_classes="sam-buttons"):
                        self.jsonl = page.add(_download("As JSON lines", "download-jsonl"))
                        self.csv = page.add(_download("As a table (csv)", "download-csv"))
            self.links = Links(page)
            self.more = page.add(gr.Column(visible=False, elem_id="share-body"))
            with self.more:
                with gr.Column(elem_classes="sam-card"):
                    self.use = page.add(action_html("share-use"))
                with gr.Column(elem_classes="sam-card"):
                    self.licences = page.add(gr.HTML(apply_default_css=False, elem_id="licences"))

    def paint(self, visit: Visit) -> Updates:
        merge = self._merge(visit)
        if merge is None:
            nothing = empty(
                "Nothing to download yet", "Merge some experts first; then the files are here."
            )
            return {
                self.top: heading("Share", learn="share") + nothing,
                self.body: gr.Row(visible=False),
                self.more: gr.Column(visible=False),
                **self.links.paint(visit),
            }
        share, base = self.services.share, self.services.base_info()
        experts = {info.name: info for info in self.services.experts.list()}
        used = [experts[name] for name in merge.weights if name in experts]
        types = self.services.types.list(visit.id)
        stale = stale_html("Texts, types or experts have changed since this merge.")
        top = heading(
            "Take your model home", f"From <strong>{esc(merge.label)}</strong>.", learn="share"
        )
        updates: Updates = {
            self.top: top + (stale if merge.stale else ""),
            self.body: gr.Row(visible=True),
            self.more: gr.Column(visible=True),
            self.model: _model_html(merge, used, base),
            self.notes: _notes_html(self.services.predict.counts(visit.id, merge.id)),
            self.use: _use_html(base, types),
            self.licences: f"<h2>Licences</h2>{licences_html(used)}",
            **self.links.paint(visit),
        }
        for button, make in (
            (self.model_file, share.adapter_zip),
            (self.jsonl, share.annotations_jsonl),
            (self.csv, share.annotations_csv),
            (self.recipe_file, share.recipe_json),
        ):
            path = _offered(visit, button, make, merge.id)
            updates[button] = gr.DownloadButton(value=path, interactive=path is not None)
        return updates

    def _merge(self, visit: Visit) -> MergeInfo | None:
        """The merge that is shown in Review, else the newest."""
        merges = self.services.merge.list(visit.id)
        wanted = visit.filters.get("merge")
        return next((m for m in merges if m.id == wanted), merges[0] if merges else None)

    def primary(self, visit: Visit) -> Primary:
        merge = self._merge(visit)
        if merge is None:
            return Primary("Go to Merge")
        path = _offered(visit, self.model_file, self.services.share.adapter_zip, merge.id)
        return Primary("Download the model", download=path)

    def press(self, visit: Visit) -> None:
        visit.step = "merge"


_RECIPE = (
    "<p>The recipe says which experts, weights and method made this model: a small JSON file, "
    "enough to make the same model again.</p>"
)


def _model_html(merge: MergeInfo, used: Sequence[ExpertInfo], base: BaseInfo) -> str:
    names = ", ".join(f"{esc(info.title)} {merge.weights[info.name]:.2f}" for info in used)
    kind = "Two adapters" if merge.dual else "One adapter"
    return (
        f"<h2>Model</h2><p>{kind} in PEFT's format with a card, as a zip file. Made of {names}; "
        f"keeps {percent(merge.retained_energy)} of what they know.</p>{_RECIPE}{base_notice(base)}"
    )


def _notes_html(counts: dict[str, int]) -> str:
    total = number(sum(counts.values()), "entity", "entities")
    return (
        f"<h2>Annotations</h2><p>Your texts with the {total} that were found: position, type and "
        "probability of each.</p>"
    )


def _use_html(base: BaseInfo, types: Sequence[TypeInfo]) -> str:
    command, code = snippets(base, [kind.name for kind in types])
    return (
        "<h2>Run it</h2>"
        + _code("With SaM on your computer: finds entities with exact positions", command)
        + _code("In Python, with PEFT alone", code)
    )


def _download(label: str, elem_id: str) -> gr.DownloadButton:
    return gr.DownloadButton(label, elem_id=elem_id, size="sm", interactive=False)


def _offered(
    visit: Visit, button: gr.DownloadButton, make: Callable[..., Path], merge_id: str
) -> str | None:
    """The file copied to where Gradio may serve it, under a name that cannot be guessed."""
    what = make.__name__
    if what not in visit.files:
        try:
            path = make(visit.id, merge_id)
            visit.files[what] = save_file_to_cache(path, button.GRADIO_CACHE)
        except SamError:
            visit.files[what] = None
    return visit.files[what]


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Share(page)
    page.steps["share"] = Step("share", step.column, step.paint, step.primary, step.press)
