"""Step 1: texts in, entity types named."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr

from experts.errors import SamError
from sam_ui.markup import esc, tag
from sam_ui.page import Page, Primary, Step, Updates, Visit, action_html, step_column
from sam_ui.services.views import SessionInfo
from sam_ui.steps.common import heading, turned
from sam_ui.steps.upload_texts import (
    drop_label,
    files_html,
    formats_html,
    preview_html,
    privacy_html,
)
from sam_ui.steps.upload_types import EDIT_JS, LOOK_JS, suggestions_html, types_html
from sam_ui.words import _, _n

__all__ = ["build"]

PAGE = 12
AT_ONCE_S = 0.8
"""Most files are read within this time: nothing needs to be said about their being read."""
EVERY_S = 0.7
"""How often to look whether files are read, or suggestions there."""
READING = -1.0
Waiting = list[tuple[str, list[str]]]
"""Tables whose column is still to be chosen: path of the file, its columns."""
LIKELY_COLUMNS = ("text", "sentence", "sentences", "content", "abstract", "body", "document")


class Upload:
    """The components of the step and what its listeners do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.services = page.services
        self.waiting = page.add(gr.State(None))  # a csv file whose column is still to be chosen
        self.timer = page.add(gr.Timer(EVERY_S, active=False))
        self.read = page.add(gr.State(0.0))  # when files were last read, or READING
        self.column = page.add(step_column("step-upload"))
        with self.column:
            page.fixed(lambda: gr.HTML(_heading(), apply_default_css=False))
            with gr.Row(elem_classes="sam-columns"):
                with gr.Column(scale=3, min_width=320, elem_classes="sam-card"):
                    self._build_texts()
                with gr.Column(scale=2, min_width=320, elem_classes="sam-card"):
                    self._build_types()
            self.preview_card = page.add(gr.Column(elem_classes="sam-card", visible=False))
            with self.preview_card, gr.Row(elem_classes="sam-titled"):
                page.fixed(lambda: _title(_("Preview")))
                self.search = page.fixed(
                    lambda: gr.Textbox(
                        placeholder=_("Search the sentences"), show_label=False, container=False,
                        elem_id="preview-search", label=_("Search the sentences"),
                    )
                )  # fmt: skip
            with self.preview_card:
                self.preview = page.add(action_html("preview"))
        self._listen()

    def _build_texts(self) -> None:
        fixed = self.page.fixed
        settings = self.services.settings
        fixed(lambda: _title(_("Texts")))
        self.drop = fixed(
            lambda: gr.File(
                label=drop_label(), file_count="multiple", elem_id="drop", height=132,
                show_label=False,
            )
        )  # fmt: skip
        fixed(lambda: gr.HTML(formats_html(settings), apply_default_css=False))
        self.choice = self.page.add(
            gr.Column(visible=False, elem_id="column-choice", elem_classes="sam-inset")
        )
        with self.choice:
            self.choice_text = self.page.add(gr.HTML(apply_default_css=False))
            with gr.Row():
                self.choice_box = fixed(
                    lambda: gr.Dropdown(
                        [], show_label=False, container=False, elem_id="column-box",
                        label=_("Column"), scale=2,
                    )
                )  # fmt: skip
                self.choice_go = fixed(
                    lambda: gr.Button(_("Use this column"), size="sm", elem_id="use-column")
                )
                self.choice_no = fixed(
                    lambda: gr.Button(_("Leave it out"), size="sm", elem_id="leave-out")
                )
        self.paste = fixed(
            lambda: gr.Textbox(
                label=_("or paste text"), lines=3, max_lines=8, elem_id="paste",
                placeholder=_("Paste one or more sentences here"),
            )
        )  # fmt: skip
        with gr.Row(elem_classes="sam-right"):
            self.paste_go = fixed(
                lambda: gr.Button(_("Add this text"), size="sm", elem_id="add-text")
            )
        self.files = self.page.add(action_html("files"))
        fixed(lambda: gr.HTML(privacy_html(settings), apply_default_css=False))

    def _build_types(self) -> None:
        fixed = self.page.fixed
        fixed(lambda: _title(_("Entity types")))
        self.types_box = fixed(
            lambda: gr.Textbox(
                label=_("What should be found?"), lines=2, max_lines=8, elem_id="types-box",
                placeholder=_("person, organisation\nor one a line, with a definition:\n"
                              "vessel: a ship or boat with a name"),
            )
        )  # fmt: skip
        with gr.Row(elem_classes="sam-right"):
            self.types_go = fixed(
                lambda: gr.Button(_("Add these types"), size="sm", elem_id="add-types")
            )
        self.types = self.page.add(action_html("types", extra_js=EDIT_JS))
        self.suggested = self.page.add(action_html("suggested", extra_js=LOOK_JS))

    def _listen(self) -> None:
        on = self.page.on
        on(self.drop.upload, self.dropped, [self.drop, self.waiting])
        on(self.choice_go.click, self.chosen, [self.waiting, self.choice_box])
        on(self.choice_no.click, self.left_out, [self.waiting])
        on(self.paste_go.click, self.pasted, [self.paste])
        on(self.files.act, self.file_act, event=True)
        on(self.types_go.click, self.typed, [self.types_box])
        on(self.types.act, self.type_act, event=True, mode="multiple")
        on(self.suggested.act, self.suggested_act, event=True, mode="multiple", reading=("look",))
        on(self.read.change, lambda visit: None, writes=False)
        # not .input: it does not fire for the backspace key, nor for text pasted with the mouse
        on(self.search.change, self.searched, [self.search], mode="always_last", writes=False)
        on(self.preview.act, self.turned, event=True, writes=False)
        self.page.boxes += [self.types_box, self.paste]
        outputs = [self.files, self.suggested, self.timer, self.read]
        self.page.tick(self.timer, self.poll, [self.page.token, self.read], outputs)

    # ---- painting ---------------------------------------------------------------------------

    def paint(self, visit: Visit) -> Updates:
        services, session = self.services, visit.id
        updates: Updates = {}
        if visit.wants("texts"):
            updates[self.files] = self._files(session, to_change=not visit.view_only)
            updates[self.preview_card] = gr.Column(visible=services.corpus.count(session) > 0)
            if services.incoming.names(session):
                updates[self.read] = READING
        if visit.wants("types"):
            updates[self.types] = types_html(
                services.types.list(session),
                visit.filters.get("type", ""),
                to_change=not visit.view_only,
            )
        if visit.wants("texts") or visit.wants("types"):
            updates |= self._suggestions(session, to_change=not visit.view_only)
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

    def _files(self, session_id: str, *, to_change: bool = True) -> str:
        """Whoever may only look sees the texts, not what became of others."""
        corpus = self.services.corpus
        return files_html(
            corpus.files(session_id),
            removed=corpus.removed_files(session_id) if to_change else (),
            refused=corpus.refused(session_id) if to_change else (),
            reading=self.services.incoming.names(session_id),
        )

    def _suggestions(self, session_id: str, *, to_change: bool = True) -> Updates:
        """Also sets the timer: something may be on its way."""
        suggesting, incoming = self.services.suggesting, self.services.incoming
        pending = to_change and suggesting.ask(session_id)
        found = suggesting.view(session_id)
        if not to_change:
            found = replace(found, types=())
        return {
            self.suggested: suggestions_html(found),
            self.timer: gr.Timer(active=pending or bool(incoming.names(session_id))),
        }

    def poll(self, token: str, read: float) -> Updates:
        """A moment has passed while files are read or suggestions are looked for."""
        session: SessionInfo | None = self.services.sessions.by_token(token) if token else None
        if session is None or session.view_only:
            return {self.timer: gr.Timer(active=False)}
        if self.services.incoming.names(session.id):
            return {self.files: self._files(session.id), self.read: READING}
        if read == READING:  # a change of this state repaints the step
            return {self.read: time.time(), self.timer: gr.Timer(active=False)}
        updates = self._suggestions(session.id)
        return {self.timer: gr.skip()} if updates[self.timer].active else updates

    def primary(self, visit: Visit) -> Primary:
        counts = self.services.corpus.counts(visit.id)
        types = self.services.types.list(visit.id)
        reading = len(self.services.incoming.names(visit.id))
        if reading:
            hint = _n("Still reading {n} file", "Still reading {n} files", reading)
        elif not counts.sentences:
            hint = _("First add some texts.")
        elif not types:
            hint = _("Now name what should be found.")
        else:
            sentences = _n("{n} sentence", "{n} sentences", counts.sentences)
            hint = f"{sentences}, {_n('{n} type', '{n} types', len(types))}"
        if visit.job("match"):
            return Primary(_("See the match"), hint=_("The experts are being compared."))
        return Primary(_("Find matching experts"), hint=hint)

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
        ready: list[Path] = []
        for path in map(Path, paths or []):
            columns = self._columns(path)
            if len(columns) > 1:
                waiting.append((str(path), columns))
            else:
                ready.append(path)
        self._ask_column(visit, waiting)
        self._add(visit, ready)

    def _columns(self, path: Path) -> list[str]:
        try:
            return list(self.services.corpus.columns(path.name, path.read_bytes()))
        except (SamError, OSError):
            return []  # the report of the file will say what is wrong with it

    def _add(self, visit: Visit, paths: Sequence[Path]) -> None:
        """Read files in the background, or so it seems: most are read before the screen is
        painted.
        """
        self.services.incoming.start(visit.id, paths)
        self.services.incoming.wait(visit.id, AT_ONCE_S)

    def _ask_column(self, visit: Visit, waiting: Waiting) -> None:
        visit.extra[self.waiting] = waiting
        visit.extra[self.choice] = gr.Column(visible=bool(waiting))
        if waiting:
            path, columns = Path(waiting[0][0]), waiting[0][1]
            likely = next((c for c in columns if c.strip().lower() in LIKELY_COLUMNS), columns[0])
            name = tag("strong", esc(path.name))
            asked = _("Which column of {name} holds the texts?", name=name)
            visit.extra[self.choice_text] = f"<p>{asked}</p>"
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
            what = _("{name} was dropped too long ago.", name=path.name)
            raise SamError(what, "Drop it again.") from None
        added = self.services.corpus.add_files(visit.id, [(path.name, data)], column=column)
        self._ask_column(visit, waiting[not added.refused :])  # else the question stays

    def left_out(self, visit: Visit, waiting: Waiting | None) -> None:
        visit.only = ("texts",)
        self._ask_column(visit, (waiting or [])[1:])

    def pasted(self, visit: Visit, text: str) -> Updates:
        self.services.corpus.add_text(visit.id, text)
        visit.only = ("texts",)
        return {self.paste: ""}

    def file_act(self, visit: Visit) -> None:
        visit.only = ("texts",)
        corpus, act = self.services.corpus, visit.act.get("act")
        if act == "dismiss":
            corpus.dismiss(visit.id, str(visit.act.get("name", "")))
            return
        does = {
            "remove": corpus.remove_file,
            "restore": corpus.restore_file,
            "discard": corpus.discard_file,
        }
        if act in does:
            does[act](visit.id, int(visit.act.get("file", 0)))
            visit.filters["preview_offset"] = 0

    def _add_types(self, visit: Visit, text: str) -> None:
        from experts.corpus import parse_types

        self.services.types.add_all(visit.id, parse_types(text))

    def typed(self, visit: Visit, text: str) -> Updates:
        self._add_types(visit, text)
        visit.only = ("types",)
        return {self.types_box: ""}

    def type_act(self, visit: Visit) -> None:
        visit.only = ("types",)
        name, act = str(visit.act.get("name", "")), visit.act.get("act")
        editing = visit.filters.pop("type", "")
        if act == "edit" and name != editing:
            visit.filters["type"] = name
        elif act == "remove":
            self.services.types.remove(visit.id, name)
        elif act == "save":
            visit.filters["type"] = name  # stays open when something is wrong with it
            to, definition, color = (
                str(visit.act.get(key, "")) for key in ("to", "definition", "color")
            )
            self.services.types.change(visit.id, name, to=to, definition=definition, color=color)
            del visit.filters["type"]

    def suggested_act(self, visit: Visit) -> None:
        visit.only = ("types",)
        if visit.act.get("act") == "add":
            name, definition = (str(visit.act.get(key, "")) for key in ("name", "definition"))
            self.services.types.add(visit.id, name, definition)
        elif visit.act.get("act") == "look":
            text = str(visit.act.get("text", ""))
            visit.filters |= {"preview_search": text, "preview_offset": 0}
            visit.extra[self.search] = text
            visit.only = ("preview",)

    def searched(self, visit: Visit, search: str) -> None:
        if search.strip() != visit.filters.get("preview_search", ""):
            visit.filters |= {"preview_search": search.strip(), "preview_offset": 0}
        visit.only = ("preview",)

    def turned(self, visit: Visit) -> None:
        visit.filters["preview_offset"] = turned(visit.act, PAGE)
        visit.only = ("preview",)


def _heading() -> str:
    said = _("Add a sample of your texts, and name the types of things to find.")
    return heading(_("Your texts, and what to find in them"), said, learn="texts")


def _title(said: str) -> gr.HTML:
    return gr.HTML(tag("h2", esc(said), class_="sam-h2"), apply_default_css=False)


def build(page: Page) -> None:
    """Build the step and register it."""
    step = Upload(page)
    page.steps["upload"] = Step("upload", step.column, step.paint, step.primary, step.press)
