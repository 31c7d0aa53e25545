"""Which kind of document a file is, and its texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from experts.documents.sandbox import Limits, Piece, read_apart
from experts.errors import SamError

__all__ = ["DOCUMENTS", "DocumentFormat", "Limits", "document_format", "read_document"]

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_PDF_WITHIN = 1024  # readers accept some bytes before the mark


@dataclass(frozen=True, slots=True)
class DocumentFormat:
    """One kind of document.

    Attributes:
        key: short name, stored with the texts ("pdf", "docx").
        extension: lower-case file ending with its dot.
        noun: what a person calls it.
    """

    key: str
    extension: str
    noun: str


PDF = DocumentFormat("pdf", ".pdf", "PDF")
DOCX = DocumentFormat("docx", ".docx", "Word document")
DOCUMENTS = {fmt.key: fmt for fmt in (PDF, DOCX)}


def document_format(name: str, data: bytes) -> DocumentFormat | None:
    """The kind of a file by its first bytes, then by its ending; None: it is something else."""
    if b"%PDF-" in data[:_PDF_WITHIN]:
        return PDF
    if data.startswith(_ZIP) and b"word/document.xml" in data:
        return DOCX
    suffix = PurePath(name).suffix.lower()
    return next((fmt for fmt in DOCUMENTS.values() if fmt.extension == suffix), None)


def read_document(
    name: str, data: bytes, fmt: DocumentFormat, *, limits: Limits | None = None
) -> tuple[list[Piece], list[str]]:
    """The texts of a document, one for each page of a PDF or section of a Word document.

    A sentence that runs on to the next page belongs, whole, to the page where it begins.

    Returns:
        (number, what to call it, text) of each, and notes on the reading.

    Raises:
        SamError: the file is empty, damaged, locked, of another kind, without any text, or needs
            more time or memory than `limits` allow.
    """
    if not data.strip():
        raise SamError(f"{name} is empty.", "Choose a file with some text in it.")
    if fmt is DOCX and data.startswith(_OLE):
        raise SamError(
            f"{name} is locked with a password, or is an old Word document (.doc).",
            "Open it in Word, save it as .docx without a password, and add that file.",
        )
    if fmt is PDF and b"%PDF-" not in data[:_PDF_WITHIN]:
        raise SamError(
            f"{name} is damaged, or no PDF in spite of its name.",
            "Open it to see whether it is whole, export it as PDF again, and add that file.",
        )
    if fmt is DOCX and not data.startswith(_ZIP):
        raise SamError(
            f"{name} is damaged, or no Word document in spite of its name.",
            "Open it in Word, save it as .docx again, and add that file.",
        )
    pieces, notes = read_apart(name, data, fmt.key, fmt.noun, limits or Limits())
    if not pieces:
        raise SamError(f"{name} has no text in it.", "Choose a file with some sentences in it.")
    return pieces, notes
