"""Step 1: texts in, entity types named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import color_or_grey, empty, esc, number, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, step_column
from sam_ui.services.views import FileInfo, SentencePage, TypeInfo, TypeSuggestion
from sam_ui.steps.common import heading, pager_html, turned

__all__ = ["build", "files_html", "preview_html", "types_html"]

PAGE = 12
Waiting = list[tuple[str, list[str]]]
"""Tables whose column is still to be chosen: path of the file, its columns."""
LIKELY_COLUMNS = ("text", "sentence", "sentences", "content", "abstract", "body", "document")


def files_html(files: Sequence[FileInfo]) -> str:
    """One row a file: name, encoding, sentences, duplicates, notes, a button to remove it."""
    if not files:
        return empty(
            "No texts yet", "Drop files above or paste text. A hundred sentences are a good start."
        )
    rows = []
    for file in files:
        notes = "<br>".join(esc(note) for note in file.notes)
        remove = tag(
            "button", "×", class_="sam-x", data_act="remove", data_file=file.id,
            aria_label=f"Remove {file.name}", title="Remove these texts",
        )  # fmt: skip
        rows.append(
            f"<tr><td><strong>{esc(file.name)}</strong>"
            + (f'<div class="sam-note">{notes}</div>' if notes else "")
            + f"</td><td>{esc(file.encoding or '–')}</td><td class='n'>{file.sentences:,}</td>"
            f"<td class='n'>{file.duplicates:,}</td><td class='x'>{remove}</td></tr>"
        )
    return (
        '<div class="sam-scroll"><table class="sam-table files"><thead><tr>'
        "<th>Texts</th><th>Encoding</th>"
        '<th class="n">Sentences</th><th class="n">Duplicates</th><th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def types_html(types: Sequence[TypeInfo], suggestions: Sequence[TypeSuggestion]) -> str:
    """The session's types as coloured chips, the pool's other types as grey ones to add."""
    chips = "".join(
        f'<span class="sam-chip" style="--c:{color_or_grey(kind.color)}" '
        f'title="{esc(kind.definition or "No definition yet")}">{esc(kind.name)}'
        + tag(
            "button", "×", data_act="remove", data_name=kind.name,
            aria_label=f"Remove the type {kind.name}",
        )
        + "</span>"
        for kind in types
    )  # fmt: skip
    if not types:
        chips = '<p class="sam-muted">None yet. Name at least one: that is what will be found.</p>'
    more = ""
    if suggestions:
        grey = "".join(
            tag(
                "button", f"+ {esc(item.name)}", class_="sam-chip add", data_act="add",
                data_name=item.name, data_definition=item.definition,
                title=_suggestion_tip(item),
            )
            for item in suggestions
        )  # fmt: skip
        more = f'<p class="sam-label">Types that the experts know</p><div>{grey}</div>'
    return f'<div class="sam-chips"><div>{chips}</div>{more}</div>'


def _suggestion_tip(item: TypeSuggestion) -> str:
    known = f"Known to {', '.join(item.experts[:3])}" if item.experts else ""
    return ". ".join(part for part in (item.definition, known) if part)


def preview_html(page: SentencePage, search: str) -> str:
    """A page of the sentences, as they will be read by the experts."""
    if not page.rows:
        return empty("No sentence has these words", "Try fewer or other words.") if search else ""
    rows = "".join(
        f'<li><span class="sam-pos">{row.position + 1}</span>'
        f'<span class="sam-text" dir="auto">{esc(row.text)}</span></li>'
        for row in page.rows
    )
    pager = pager_html(page.offset, page.limit, page.total, "sentence")
    return f'<ol class="sam-sentences">{rows}</ol>{pager}'


class Upload:
    """The components of the step and what its listeners do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.services = page.services
        self.waiting = page.add(gr.State(None))  # a csv file whose column is still to be chosen
        self.column = page.add(step_column("step-upload"))
        with self.column:
            gr.HTML(
                heading("Your texts, and what to find in them",
                        "Texts stay on the machine that runs SaM; what you remove is deleted."),
                apply_default_css=False,
            )  # fmt: skip
            with gr.Row(elem_classes="sam-columns"):
                with gr.Column(scale=3, min_width=320, elem_classes="sam-card"):
                    self._build_texts()
                with gr.Column(scale=2, min_width=320, elem_classes="sam-card"):
                    self._build_types()
            self.preview_card = page.add(gr.Column(elem_classes="sam-card", visible=False))
            with self.preview_card, gr.Row(elem_classes="sam-titled"):
                gr.HTML('<h2 class="sam-h2">Preview</h2>', apply_default_css=False)
                self.search = page.add(
                    gr.Textbox(
                        placeholder="Search the sentences", show_label=False, container=False,
                        elem_id="preview-search", label="Search the sentences",
                    )
                )  # fmt: skip
            with self.preview_card:
                self.preview = page.add(action_html("preview"))
        self._listen()

    def _build_texts(self) -> None:
        gr.HTML('<h2 class="sam-h2">Texts</h2>', apply_default_css=False)
        self.drop = self.page.add(
            gr.File(
                label="Drop files here: txt, csv, tsv, jsonl, conll",
                file_count="multiple", elem_id="drop", height=132, show_label=False,
            )
        )  # fmt: skip
        limit = self.services.settings.max_upload_mb
        gr.HTML(
            f'<p class="sam-note">txt, csv, tsv, jsonl or CoNLL files, up to {limit} MB each.</p>',
            apply_default_css=False,
        )
        self.choice = self.page.add(
            gr.Column(visible=False, elem_id="column-choice", elem_classes="sam-inset")
        )
        with self.choice:
            self.choice_text = self.page.add(gr.HTML(apply_default_css=False))
            with gr.Row():
                self.choice_box = self.page.add(
                    gr.Dropdown([], show_label=False, container=False, elem_id="column-box",
                                label="Column", scale=2)
                )  # fmt: skip
                self.choice_go = gr.Button("Use this column", size="sm", elem_id="use-column")
                self.choice_no = gr.Button("Leave it out", size="sm", elem_id="leave-out")
        self.paste = self.page.add(
            gr.Textbox(
                label="or paste text", lines=3, max_lines=8, elem_id="paste",
                placeholder="Paste one or more sentences here",
            )
        )  # fmt: skip
        with gr.Row(elem_classes="sam-right"):
            self.paste_go = gr.Button("Add this text", size="sm", elem_id="add-text")
        self.files = self.page.add(action_html("files"))

    def _build_types(self) -> None:
        gr.HTML('<h2 class="sam-h2">Entity types</h2>', apply_default_css=False)
        self.types_box = self.page.add(
            gr.Textbox(
                label="What should be found?", lines=2, max_lines=8, elem_id="types-box",
                placeholder="person, organisation\nor one a line, with a definition:\n"
                "vessel: a ship or boat with a name",
            )
        )  # fmt: skip
        with gr.Row(elem_classes="sam-right"):
            self.types_go = gr.Button("Add these types", size="sm", elem_id="add-types")
        self.types = self.page.add(action_html("types"))

    def _listen(self) -> None:
        on = self.page.on
        on(self.drop.upload, self.dropped, [self.drop, self.waiting])
        on(self.choice_go.click, self.chosen, [self.waiting, self.choice_box])
        on(self.choice_no.click, self.left_out, [self.waiting])
        on(self.paste_go.click, self.pasted, [self.paste])
        on(self.files.act, self.file_act, event=True)
        on(self.types_go.click, self.typed, [self.types_box])
        on(self.types.act, self.type_act, event=True, mode="multiple")
        # not .input: it does not fire for the backspace key, nor for text pasted with the mouse
        on(self.search.change, self.searched, [self.search], mode="always_last")
        on(self.preview.act, self.turned, event=True)
        self.page.boxes += [self.types_box, self.paste]

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        services, session = self.services, visit.id
        updates: Updates = {}
        if visit.wants("texts"):
            files = services.corpus.files(session)
            updates[self.files] = files_html(files)
            updates[self.preview_card] = gr.Column(visible=bool(files))
        if visit.wants("types"):
            updates[self.types] = types_html(
                services.types.list(session), services.types.suggestions(session)
            )
        if visit.wants("texts") or visit.wants("preview"):
            search = visit.filters.get("preview_search", "")
            found = services.corpus.sentences(
                session, offset=visit.filters.get("preview_offset", 0), limit=PAGE, search=search
            )
            updates[self.preview] = preview_html(found, search)
        if not visit.only and visit.resets("boxes"):
            updates |= {self.paste: "", self.types_box: ""}
        if not visit.only and visit.resets("preview_search"):
            updates[self.search] = ""
        return updates

    def primary(self, visit: Visit) -> Primary:
        counts = self.services.corpus.counts(visit.id)
        types = self.services.types.list(visit.id)
        if not counts.sentences:
            hint = "First add some texts."
        elif not types:
            hint = "Now name what should be found."
        else:
            hint = f"{number(counts.sentences, 'sentence')}, {number(len(types), 'type')}"
        if visit.job("match"):
            return Primary("See the match", hint="The experts are being compared.")
        return Primary("Find matching experts", hint=hint)

    def press(self, visit: Visit) -> None:
        """Start the match. What is still in the boxes counts: people forget the small buttons."""
        pasted, typed = visit.boxes.get(self.paste) or "", visit.boxes.get(self.types_box) or ""
        if pasted.strip():
            self.services.corpus.add_text(visit.id, pasted)
            visit.extra[self.paste] = ""
        if typed.strip():
            self._add_types(visit, typed)
            visit.extra[self.types_box] = ""
        if not visit.job("match"):
            if not self.services.corpus.counts(visit.id).sentences:
                raise SamError("There are no texts yet.", "Drop a file or paste some text.")
            if not self.services.types.list(visit.id):
                raise SamError("No entity type is named yet.", "Write what should be found.")
            draft = self.services.drafts.get(visit.id)
            self.services.match.start(visit.id, samples=draft.samples, k=draft.k)
        visit.step = "match"

    # ---- listeners --------------------------------------------------------------------------

    def dropped(
        self, visit: Visit, paths: Sequence[str] | None, waiting: Waiting | None = None
    ) -> None:
        visit.only = ("texts",)
        visit.extra[self.drop] = gr.File(value=None)
        waiting = list(waiting or [])  # tables dropped before, whose column is still asked for
        ready: list[tuple[str, bytes]] = []
        for path in map(Path, paths or []):
            data = path.read_bytes()
            columns = self.services.corpus.columns(path.name, data)
            if len(columns) > 1:
                waiting.append((str(path), list(columns)))
            else:
                ready.append((path.name, data))
        self._ask_column(visit, waiting)
        if ready:
            self.services.corpus.add_files(visit.id, ready)

    def _ask_column(self, visit: Visit, waiting: Waiting) -> None:
        visit.extra[self.waiting] = waiting
        visit.extra[self.choice] = gr.Column(visible=bool(waiting))
        if waiting:
            path, columns = Path(waiting[0][0]), waiting[0][1]
            likely = next((c for c in columns if c.strip().lower() in LIKELY_COLUMNS), columns[0])
            visit.extra[self.choice_text] = (
                f"<p>Which column of <strong>{esc(path.name)}</strong> holds the texts?</p>"
            )
            visit.extra[self.choice_box] = gr.Dropdown(choices=columns, value=likely)

    def chosen(self, visit: Visit, waiting: Waiting | None, column: str | None) -> None:
        visit.only = ("texts",)
        if not waiting:
            return
        path = Path(waiting[0][0])
        try:
            data = path.read_bytes()
        except OSError:  # dropped a day ago
            self._ask_column(visit, waiting[1:])
            raise SamError(f"{path.name} was dropped too long ago.", "Drop it again.") from None
        # When this column cannot be used, the question stays.
        self.services.corpus.add_files(visit.id, [(path.name, data)], column=column)
        self._ask_column(visit, waiting[1:])

    def left_out(self, visit: Visit, waiting: Waiting | None) -> None:
        visit.only = ("texts",)
        self._ask_column(visit, (waiting or [])[1:])

    def pasted(self, visit: Visit, text: str) -> Updates:
        self.services.corpus.add_text(visit.id, text)
        visit.only = ("texts",)
        return {self.paste: ""}

    def file_act(self, visit: Visit) -> None:
        if visit.act.get("act") == "remove":
            self.services.corpus.remove_file(visit.id, int(visit.act["file"]))
            visit.filters["preview_offset"] = 0
        visit.only = ("texts",)

    def _add_types(self, visit: Visit, text: str) -> None:
        from experts.corpus import parse_types

        self.services.types.add_all(visit.id, parse_types(text))

    def typed(self, visit: Visit, text: str) -> Updates:
        self._add_types(visit, text)
        visit.only = ("types",)
        return {self.types_box: ""}

    def type_act(self, visit: Visit) -> None:
        name = str(visit.act.get("name", ""))
        if visit.act.get("act") == "remove":
            self.services.types.remove(visit.id, name)
        elif visit.act.get("act") == "add":
            self.services.types.add(visit.id, name, str(visit.act.get("definition", "")))
        visit.only = ("types",)

    def searched(self, visit: Visit, search: str) -> None:
        if search.strip() != visit.filters.get("preview_search", ""):
            visit.filters |= {"preview_search": search.strip(), "preview_offset": 0}
        visit.only = ("preview",)

    def turned(self, visit: Visit) -> None:
        visit.filters["preview_offset"] = turned(visit.act, PAGE)
        visit.only = ("preview",)


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Upload(page)
    page.steps["upload"] = Step("upload", step.column, step.paint, step.primary, step.press)
