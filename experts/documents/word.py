"""Text of a Word document by sections. Runs in the child process; python-docx opens the file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from experts.errors import SamError

if TYPE_CHECKING:
    from docx.document import Document

__all__ = ["read_docx"]

MAX_PARTS = 10_000
SHOWN = 80
WIDE_CELL = 80
"""A table with longer cells holds running text: its cells are paragraphs of their own."""

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Deleted text, what is shown twice, and instructions of fields.
_SKIPPED = frozenset({f"{_W}del", f"{_W}moveFrom", f"{_W}instrText", f"{_W}rPr", _FALLBACK})
_SIGNS = {
    f"{_W}tab": "\t",
    f"{_W}br": "\n",
    f"{_W}cr": "\n",
    f"{_W}noBreakHyphen": "-",
}
_NOTES = {"footnotes": "footnotes", "endnotes": "endnotes"}
SAVE_AGAIN = "Open it in Word, save it as .docx again, and add that file."


def read_docx(
    name: str, data: bytes, *, most: int, unpacked: int
) -> tuple[list[tuple[int, str, str]], list[str]]:
    """Pieces (number, section, text) and notes for the person.

    A section begins with each heading; the heading is its first paragraph and names it.

    Args:
        most: characters after which nothing more is read.
        unpacked: bytes that the parts of the file may have together.

    Raises:
        SamError: damaged, no Word document, or larger inside than `unpacked`.
    """
    _check_zip(name, data, unpacked)
    document = _open(name, data)
    headings = _headings(document)
    sections: list[tuple[str, list[str]]] = [("", [])]
    notes, characters, tables = [], 0, 0
    body: Any = document.element.body
    for block in _blocks(body):
        if characters > most:
            notes.append("only the first part was read: the file is too long; split it")
            break
        if block.tag == f"{_W}tbl":
            tables += 1
            texts = list(_table(block))
        else:
            texts = [text for text in _paragraph(block) if text]
            if texts and _style(block) in headings:
                title = " ".join(texts[0].split())
                short = title if len(title) <= SHOWN else title[: SHOWN - 1] + "…"
                sections.append((f"“{short}”", []))
        sections[-1][1].extend(texts)
        characters += sum(map(len, texts))
    sections += _footnotes(document)
    if tables:
        notes.append("1 table, a row a line" if tables == 1 else f"{tables} tables, a row a line")
    pieces = [
        (number, part, "\n\n".join(texts))
        for number, (part, texts) in enumerate(sections, start=1)
        if any(text.strip() for text in texts)
    ]
    return pieces, notes


def _check_zip(name: str, data: bytes, unpacked: int) -> None:
    """Before anything is unpacked: are the sizes that the file states sane?"""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise SamError(
            f"{name} is damaged: it is not a whole Word document.", SAVE_AGAIN
        ) from error
    if any(part.flag_bits & 1 for part in parts):
        raise SamError(
            f"{name} is locked with a password.",
            "Open it in Word, save it without a password, and add that file.",
        )
    size = sum(part.file_size for part in parts)
    if size > unpacked or len(parts) > MAX_PARTS:
        raise SamError(
            f"{name} is {len(data) / 1e6:,.1f} MB small but holds {size / 1e6:,.0f} MB in "
            f"{len(parts):,} parts; SaM unpacks at most {unpacked / 1e6:,.0f} MB.",
            "Remove its pictures, or save it as plain text (.txt).",
        )


def _open(name: str, data: bytes) -> Document:
    import docx

    try:
        return docx.Document(BytesIO(data))
    except MemoryError:
        raise
    except ValueError as error:
        raise SamError(f"{name} is no Word document in spite of its name.", SAVE_AGAIN) from error
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise SamError(f"{name} is damaged: a part of it is missing.", SAVE_AGAIN) from error
    except Exception as error:  # broken XML and whatever else a damaged part causes
        raise SamError(f"{name} is damaged: its text cannot be read.", SAVE_AGAIN) from error


def _blocks(element: Any) -> Iterator[Any]:
    """Paragraphs and tables in reading order, also those in content controls."""
    for child in element:
        if child.tag in (f"{_W}p", f"{_W}tbl"):
            yield child
        elif child.tag not in _SKIPPED and isinstance(child.tag, str):
            yield from _blocks(child)


def _paragraph(element: Any) -> Iterator[str]:
    """The text of a paragraph, then that of the text boxes anchored in it."""
    inner: list[Any] = []
    text = "".join(_runs(element, inner)).strip()
    yield text
    for box in inner:
        for block in _blocks(box):
            yield from _table(block) if block.tag == f"{_W}tbl" else _paragraph(block)


def _runs(element: Any, boxes: list[Any]) -> Iterator[str]:
    for child in element:
        if child.tag in _SKIPPED:
            continue
        if child.tag == f"{_W}t":
            yield child.text or ""
        elif child.tag in _SIGNS:
            yield _SIGNS[child.tag]
        elif child.tag == f"{_W}txbxContent":
            boxes.append(child)
        else:
            yield from _runs(child, boxes)


def _table(table: Any) -> Iterator[str]:
    """A line for each row, or a paragraph for each one in a cell when cells hold running text."""
    rows = [
        [[text for text in _cell(cell) if text] for cell in row.iterchildren(f"{_W}tc")]
        for row in table.iter(f"{_W}tr")
        if next(row.iterancestors(f"{_W}tbl"), None) is table
    ]
    texts = [text for row in rows for cell in row for text in cell]
    if any(len(text) > WIDE_CELL for text in texts):
        yield from texts
        return
    for row in rows:
        line = "\t".join(" ".join(cell) for cell in row if cell)
        if line:
            yield line


def _cell(cell: Any) -> Iterator[str]:
    for block in _blocks(cell):
        yield from _table(block) if block.tag == f"{_W}tbl" else _paragraph(block)


def _style(paragraph: Any) -> str | None:
    found = paragraph.find(f"{_W}pPr/{_W}pStyle")
    return None if found is None else found.get(f"{_W}val")


def _headings(document: Document) -> frozenset[str]:
    """Ids of the styles that are headings; their names are English in every language of Word."""
    ids = set()
    for style in document.styles.element.iterchildren(f"{_W}style"):
        name = style.find(f"{_W}name")
        said = "" if name is None else str(name.get(f"{_W}val")).lower()
        if said == "title" or said.startswith("heading "):
            ids.add(str(style.get(f"{_W}styleId")))
    return frozenset(ids)


def _footnotes(document: Document) -> list[tuple[str, list[str]]]:
    from docx.oxml import parse_xml

    found = []
    for relation in document.part.rels.values():
        kind = _NOTES.get(relation.reltype.rsplit("/", 1)[-1])
        if kind is None or relation.is_external:
            continue
        texts = []
        try:
            root: Any = parse_xml(relation.target_part.blob)
        except Exception:  # the text itself is whole
            continue
        for note in root:
            if note.get(f"{_W}type") in ("separator", "continuationSeparator"):
                continue
            texts += [text for block in note.iter(f"{_W}p") for text in _paragraph(block) if text]
        found.append((kind, texts))
    return found
