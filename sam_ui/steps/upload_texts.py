"""The texts on the upload screen: the report of every file, the preview, where texts are kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from sam_ui.markup import empty, esc, tag
from sam_ui.services.text_views import RefusedFile
from sam_ui.services.views import FileInfo, SentencePage
from sam_ui.steps.common import pager_html
from sam_ui.words import _, _n, figure, mark

if TYPE_CHECKING:
    from sam_ui.settings import Settings

__all__ = ["drop_label", "files_html", "formats_html", "preview_html", "privacy_html"]

KINDS = {"pdf": mark("PDF"), "docx": mark("Word"), "csv": mark("Table"), "txt": mark("Text"),
         "jsonl": mark("JSON lines"), "conll": mark("CoNLL"), "pasted": mark("Pasted")}  # fmt: skip
LOCAL = ("127.0.0.1", "localhost", "::1")


def drop_label() -> str:
    """What the drop zone is called."""
    return _("Drop files here: pdf, docx, txt, csv, tsv, jsonl, conll")


def formats_html(settings: Settings) -> str:
    """Which files can be read, and how large they may be."""
    said = _(
        "PDF, Word (docx), txt, csv, tsv, jsonl or CoNLL files, up to {limit} MB each.",
        limit=settings.max_upload_mb,
    )
    return f'<p class="sam-note">{said}</p>'


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
            _("No texts yet"),
            _("Drop files above or paste text. A hundred sentences are a good start."),
        )
    gone = {file.id for file in removed}
    rows = [
        _removed_row(file) if file.id in gone else _row(file)
        for file in sorted([*files, *removed], key=lambda file: file.id)
    ]
    rows += [_reading_row(name, first=not i) for i, name in enumerate(reading)]
    head = f"<th>{_('Texts')}</th><th>{_('Read as')}</th>" + "".join(
        tag("th", column, class_="n") for column in (_("Sentences"), _("Duplicates"))
    )
    return problems + (
        f'<div class="sam-scroll"><table class="sam-table files"><thead><tr>{head}<th></th></tr>'
        "</thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(file: FileInfo) -> str:
    notes = "".join(f"<li>{esc(note[:1].upper() + note[1:])}</li>" for note in file.notes)
    remove = tag(
        "button", "×", class_="sam-x", data_act="remove", data_file=file.id,
        aria_label=_("Remove {name}", name=file.name), title=_("Remove these texts"),
    )  # fmt: skip
    kind = esc(_(KINDS.get(file.format, file.format)))
    if file.encoding:
        kind += f'<div class="sam-note">{esc(file.encoding)}</div>'
    return (
        f"<tr><td><strong>{esc(file.name)}</strong>"
        + (f'<ul class="sam-note sam-notes">{notes}</ul>' if notes else "")
        + f"</td><td>{kind}</td><td class='n'>{figure(file.sentences)}</td>"
        f"<td class='n'>{figure(file.duplicates)}</td><td class='x'>{remove}</td></tr>"
    )


def _removed_row(file: FileInfo) -> str:
    undo = tag("button", _("Undo"), class_="sam-small", data_act="restore", data_file=file.id,
               aria_label=_("Undo: bring {name} back", name=file.name))  # fmt: skip
    delete = tag(
        "button", _("Delete for good"), class_="sam-link", data_act="discard", data_file=file.id,
        aria_label=_("Delete {name} for good", name=file.name),
    )  # fmt: skip
    said = _n("{name} removed, with {n} sentence", "{name} removed, with {n} sentences",
              file.sentences, name=tag("s", esc(file.name)))  # fmt: skip
    return (
        '<tr class="gone"><td colspan="5"><div class="sam-gone-file" role="status">'
        f"<span>{said}</span>"
        f"<span>{delete}{undo}</span></div></td></tr>"
    )


def _reading_row(name: str, *, first: bool) -> str:
    said = _("Reading… a long PDF takes a minute.") if first else _("Waiting for its turn.")
    return (
        f'<tr class="reading"><td colspan="5"><strong>{esc(name)}</strong>'
        f'<div class="sam-note" role="status">{said}</div>'
        '<div class="sam-reading" aria-hidden="true"></div></td></tr>'
    )


def _refused(files: Sequence[RefusedFile]) -> str:
    if not files:
        return ""
    rows = "".join(
        f"<li><p><strong>{esc(_(file.what))}</strong> {esc(_(file.hint))}</p>"
        + tag(
            "button", "×", class_="sam-x", data_act="dismiss", data_name=file.name,
            aria_label=_("Dismiss the message about {name}", name=file.name),
        )
        + "</li>"
        for file in files
    )  # fmt: skip
    title = _n("{n} file was not added", "{n} files were not added", len(files))
    return (
        '<div class="sam-inset failed sam-refused" role="alert">'
        f"<p>{title}</p><ul>{rows}</ul></div>"
    )


def preview_html(page: SentencePage, search: str) -> str:
    """A page of the sentences, as they will be read by the experts, below where they are from."""
    if not page.rows:
        if not search:
            return ""
        return empty(_("No sentence has these words"), _("Try fewer or other words."))
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
    kept = _(
        "They are kept in the data folder of the computer that runs SaM, until you delete them."
    )
    if local:
        kept = _(
            "They are kept in the folder {folder} of this computer, until you delete them.",
            folder=tag("code", esc(settings.data_dir)),
        )
    leaves = _("SaM sends nothing of them to anybody else: the models run on the same computer.")
    if settings.engine_url:
        leaves = _(
            "To find entities, SaM sends sentences to the model server that was set up for it "
            "({address}), and to nobody else.",
            address=tag("code", esc(settings.engine_url)),
        )
    if settings.share:
        leaves += " " + _("Your browser reaches SaM through a public Gradio link.")
    readers = _("Whoever has a link to this session can read its texts.")
    removing = _(
        "× removes a file with all that was found in it. For a day you can bring it back, unless "
        "you press <em>Delete for good</em>. On the start page you can delete the whole session."
    )
    title = _("Where your texts are kept, and how to delete them")
    return (
        f'<details class="sam-privacy" data-key="privacy"><summary>{title}</summary>'
        f"<p>{kept} {leaves} {readers}</p><p>{removing}</p></details>"
    )
