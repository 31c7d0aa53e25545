"""Text formats: one module a format, chosen by file ending and content.

To add a format, write a module that calls :func:`~experts.formats.base.register` and import it
here. Documents that are no text (PDF, Word) are read by :mod:`experts.documents`.
"""

from __future__ import annotations

from pathlib import Path, PurePath

from experts.documents.reading import document_format, read_document
from experts.errors import SamError
from experts.formats import conll, docbin, jsonl, label_studio, plain, table
from experts.formats.base import FORMATS, MAX_LINE, Format, Options, Parsed, Record
from experts.formats.bundle import ReadFile, is_zip, read_bundle, read_folder, unpack
from experts.formats.encoding import Decoded, decode

__all__ = [
    "FORMATS",
    "MAX_LINE",
    "Decoded",
    "Format",
    "Options",
    "Parsed",
    "ReadFile",
    "Record",
    "decode",
    "detect_format",
    "read_file",
    "read_files",
    "refuse_unsupported",
]

_SNIFFED = (label_studio.FORMAT, jsonl.FORMAT, conll.FORMAT)
# Endings that say nothing, or too little, about what is inside.
_VAGUE = frozenset({"", ".txt", ".text", ".tsv", ".tab", ".dat", ".data", ".log", ".json"})
_BINARY = (docbin.FORMAT,)

_UNSUPPORTED = {
    ".doc": ("an old Word document", "Open it in Word and save it as .docx."),
    ".docm": ("a Word document with macros", "Open it in Word and save it as .docx."),
    ".odt": ("an OpenDocument text", "Save it as plain text (.txt, UTF-8), or paste its text."),
    ".rtf": ("a rich-text file", "Save it as plain text (.txt, UTF-8), or paste its text."),
    ".xlsx": ("a spreadsheet", "Save the sheet as CSV (UTF-8)."),
    ".xls": ("a spreadsheet", "Save the sheet as CSV (UTF-8)."),
    ".ods": ("a spreadsheet", "Save the sheet as CSV (UTF-8)."),
    ".zip": ("an archive", "Give it the ending .zip, or unpack it and add what is inside."),
    ".gz": ("an archive", "Unpack it and add the texts that are inside."),
}
_MAGIC = (
    (b"{\\rtf", ".rtf"),
    (b"PK\x03\x04", ".zip"),
    (b"\x1f\x8b", ".gz"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".doc"),
)


def refuse_unsupported(name: str, data: bytes) -> None:
    """Refuse documents and archives that SaM cannot read, by ending or by first bytes.

    Raises:
        SamError: naming the file, its kind and what to do instead.
    """
    kind = _UNSUPPORTED.get(PurePath(name).suffix.lower())
    if kind is None:
        ending = next((end for magic, end in _MAGIC if data.startswith(magic)), None)
        kind = _UNSUPPORTED[ending] if ending else None
    if kind is not None:
        raise SamError(f"{name} is {kind[0]}, which SaM cannot read yet.", kind[1])


def detect_format(name: str, text: str) -> Format:
    """The format of a decoded file: by ending, or by content where the ending says little."""
    suffix = PurePath(name).suffix.lower()
    by_ending = next((f for f in FORMATS.values() if suffix in f.extensions), None)
    if by_ending is not None and suffix not in _VAGUE:
        return by_ending
    sniffed = next((f for f in _SNIFFED if f.sniff(text)), None)
    return sniffed or by_ending or plain.FORMAT


def read_file(name: str, data: bytes, options: Options) -> ReadFile:
    """Decode and parse one file, or all files of a zip.

    Raises:
        SamError: the file is empty, not text, of an unsupported kind, has a line of more than
            ``MAX_LINE`` characters, or breaks its format's rules.
    """
    if is_zip(name, data):
        _refuse_column(name, options)
        return read_bundle(name, unpack(name, data), options, read_file)
    document = document_format(name, data)
    if document is not None:
        _refuse_column(name, options)
        pieces, notes = read_document(name, data, document)
        records = [Record(text, None, number, part) for number, part, text in pieces]
        return ReadFile(document.key, None, Parsed(records, notes))
    refuse_unsupported(name, data)
    suffix = PurePath(name).suffix.lower()
    binary = next((fmt for fmt in _BINARY if suffix in fmt.extensions), None)
    if binary is not None:
        _refuse_column(name, options)
        return ReadFile(binary.key, None, binary.parse(name, data, options))
    document_of_json = suffix == ".json" and data[:100].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["
    decoded = decode(name, data, any_length=document_of_json)
    fmt = detect_format(name, decoded.text)
    if fmt is not table.FORMAT:
        _refuse_column(name, options)
    return ReadFile(fmt.key, decoded.encoding, fmt.parse(name, decoded.text, options))


def read_files(folder: Path, options: Options) -> ReadFile:
    """Like :func:`read_file`, for the files in a folder.

    Raises:
        SamError: as there, and for files of several kinds.
    """
    _refuse_column(folder.name, options)
    return read_bundle(folder.name, read_folder(folder), options, read_file)


def _refuse_column(name: str, options: Options) -> None:
    if options.column is not None:
        raise SamError(
            f"{name} has no columns, so the column “{options.column}” cannot be chosen.",
            "Leave the column out; it is for CSV and TSV files.",
        )
