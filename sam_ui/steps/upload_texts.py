"""The texts on the upload screen: the report of every file, the preview, where texts are kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from sam_ui.markup import empty, esc, number, tag
from sam_ui.services.text_views import RefusedFile
from sam_ui.services.views import FileInfo, SentencePage
from sam_ui.steps.common import pager_html

if TYPE_CHECKING:
    from sam_ui.settings import Settings

__all__ = ["DROP_LABEL", "FORMATS", "files_html", "preview_html", "privacy_html"]

FORMATS = "PDF, Word (docx), txt, csv, tsv, jsonl or CoNLL"
DROP_LABEL = "Drop files here: pdf, docx, txt, csv, tsv, jsonl, conll"
KINDS = {"pdf": "PDF", "docx": "Word", "csv": "Table", "jsonl": "JSON lines", "conll": "CoNLL",
         "txt": "Text", "pasted": "Pasted"}  # fmt: skip
LOCAL = ("127.0.0.1", "localhost", "::1")


def files_html(
    files: Sequence[FileInfo],
    *,
    removed: Sequence[FileInfo] = (),
    refused: Sequence[RefusedFile] = (),
    reading: Sequence[str] = (),
) -> str:
    """What became of every file: added, removed (to be brought back), refused, or being read."""
    problems = _refused(refused)
    if not files and not removed and not reading:
        return problems + empty(
            "No texts yet", "Drop files above or paste text. A hundred sentences are a good start."
        )
    gone = {file.id for file in removed}
    rows = [
        _removed_row(file) if file.id in gone else _row(file)
        for file in sorted([*files, *removed], key=lambda file: file.id)
    ]
    rows += [_reading_row(name, first=not i) for i, name in enumerate(reading)]
    return problems + (
        '<div class="sam-scroll"><table class="sam-table files"><thead><tr>'
        "<th>Texts</th><th>Read as</th>"
        '<th class="n">Sentences</th><th class="n">Duplicates</th><th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(file: FileInfo) -> str:
    notes = "".join(f"<li>{esc(note[:1].upper() + note[1:])}</li>" for note in file.notes)
    remove = tag(
        "button", "×", class_="sam-x", data_act="remove", data_file=file.id,
        aria_label=f"Remove {file.name}", title="Remove these texts",
    )  # fmt: skip
    kind = esc(KINDS.get(file.format, file.format))
    if file.encoding:
        kind += f'<div class="sam-note">{esc(file.encoding)}</div>'
    return (
        f"<tr><td><strong>{esc(file.name)}</strong>"
        + (f'<ul class="sam-note sam-notes">{notes}</ul>' if notes else "")
        + f"</td><td>{kind}</td><td class='n'>{file.sentences:,}</td>"
        f"<td class='n'>{file.duplicates:,}</td><td class='x'>{remove}</td></tr>"
    )


def _removed_row(file: FileInfo) -> str:
    undo = tag("button", "Undo", class_="sam-small", data_act="restore", data_file=file.id,
               aria_label=f"Undo: bring {file.name} back")  # fmt: skip
    delete = tag(
        "button", "Delete for good", class_="sam-link", data_act="discard", data_file=file.id,
        aria_label=f"Delete {file.name} for good",
    )  # fmt: skip
    return (
        '<tr class="gone"><td colspan="5"><div class="sam-gone-file" role="status">'
        f"<span><s>{esc(file.name)}</s> removed, with {number(file.sentences, 'sentence')}</span>"
        f"<span>{delete}{undo}</span></div></td></tr>"
    )


def _reading_row(name: str, *, first: bool) -> str:
    said = "Reading… a long PDF takes a minute." if first else "Waiting for its turn."
    return (
        f'<tr class="reading"><td colspan="5"><strong>{esc(name)}</strong>'
        f'<div class="sam-note" role="status">{said}</div>'
        '<div class="sam-reading" aria-hidden="true"></div></td></tr>'
    )


def _refused(files: Sequence[RefusedFile]) -> str:
    if not files:
        return ""
    rows = "".join(
        f"<li><p><strong>{esc(file.what)}</strong> {esc(file.hint)}</p>"
        + tag(
            "button", "×", class_="sam-x", data_act="dismiss", data_name=file.name,
            aria_label=f"Dismiss the message about {file.name}",
        )
        + "</li>"
        for file in files
    )  # fmt: skip
    title = f"{number(len(files), 'file was', 'files were')} not added"
    return (
        '<div class="sam-inset failed sam-refused" role="alert">'
        f"<p>{title}</p><ul>{rows}</ul></div>"
    )


def preview_html(page: SentencePage, search: str) -> str:
    """A page of the sentences, as they will be read by the experts, below where they are from."""
    if not page.rows:
        return empty("No sentence has these words", "Try fewer or other words.") if search else ""
    parts = []
    numbered = enumerate(page.rows, start=page.offset + 1)
    for document, rows in groupby(numbered, key=lambda item: item[1].document):
        items = "".join(
            f'<li><span class="sam-pos">{place}</span>'
            f'<span class="sam-text" dir="auto">{esc(row.text)}</span></li>'
            for place, row in rows
        )
        parts.append(
            f'<p class="sam-from">{esc(document)}</p><ol class="sam-sentences">{items}</ol>'
        )
    pager = pager_html(page.offset, page.limit, page.total, "sentence")
    return f'<div class="sam-preview">{"".join(parts)}</div>{pager}'


def privacy_html(settings: Settings) -> str:
    """Where texts are kept, what sees them, how to delete them."""
    local = settings.host in LOCAL and not settings.share
    folder = (
        f"the folder <code>{esc(settings.data_dir)}</code> of this computer"
        if local
        else "the data folder of the computer that runs SaM"
    )
    leaves = "SaM sends nothing of them to anybody else: the models run on the same computer."
    if settings.engine_url:
        leaves = (
            "To find entities, SaM sends sentences to the model server that was set up for it "
            f"(<code>{esc(settings.engine_url)}</code>), and to nobody else."
        )
    if settings.share:
        leaves += " Your browser reaches SaM through a public Gradio link."
    return (
        '<details class="sam-privacy" data-key="privacy"><summary>Where your texts are kept, and '
        "how to delete them</summary>"
        f"<p>They are kept in {folder}, until you delete them. {leaves} Whoever has a link to this "
        "session can read its texts.</p>"
        "<p>× removes a file with all that was found in it. For a day you can bring it back, "
        "unless you press <em>Delete for good</em>. On the start page you can delete the whole "
        "session.</p></details>"
    )
