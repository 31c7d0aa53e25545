"""Text formats: one module a format, chosen by file ending and content.

To add a format, write a module that calls :func:`~experts.formats.base.register` and import it
here.
"""

from __future__ import annotations

from pathlib import PurePath

from experts.errors import SamError
from experts.formats import conll, jsonl, plain, table
from experts.formats.base import FORMATS, MAX_LINE, Format, Options, Parsed, Record
from experts.formats.encoding import Decoded, decode

__all__ = [
    "FORMATS",
    "MAX_LINE",
    "Decoded",
    "Format",
    "Options",
    "Parsed",
    "Record",
    "decode",
    "detect_format",
    "read_file",
    "refuse_unsupported",
]

_SNIFFED = (jsonl.FORMAT, conll.FORMAT)
# Endings that say nothing, or too little, about what is inside.
_VAGUE = frozenset({"", ".txt", ".text", ".tsv", ".tab", ".dat", ".data", ".log"})

_UNSUPPORTED = {
    ".pdf": ("a PDF", "Copy its text and paste it, or save it as a .txt file."),
    ".docx": ("a Word document", "Save it as plain text (.txt, UTF-8), or paste its text."),
    ".doc": ("a Word document", "Save it as plain text (.txt, UTF-8), or paste its text."),
    ".odt": ("an OpenDocument text", "Save it as plain text (.txt, UTF-8), or paste its text."),
    ".rtf": ("a rich-text file", "Save it as plain text (.txt, UTF-8), or paste its text."),
    ".xlsx": ("a spreadsheet", "Save the sheet as CSV (UTF-8)."),
    ".xls": ("a spreadsheet", "Save the sheet as CSV (UTF-8)."),
    ".ods": ("a spreadsheet", "Save the sheet as CSV (UTF-8)."),
    ".zip": ("an archive", "Unpack it and add the texts that are inside."),
    ".gz": ("an archive", "Unpack it and add the texts that are inside."),
}
_MAGIC = (
    (b"%PDF-", ".pdf"),
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


def read_file(name: str, data: bytes, options: Options) -> tuple[Format, Decoded, Parsed]:
    """Decode and parse one file.

    Raises:
        SamError: the file is empty, not text, of an unsupported kind, has a line of more than
            ``MAX_LINE`` characters, or breaks its format's rules.
    """
    refuse_unsupported(name, data)
    decoded = decode(name, data)
    fmt = detect_format(name, decoded.text)
    if options.column is not None and fmt is not table.FORMAT:
        raise SamError(
            f"{name} has no columns, so the column “{options.column}” cannot be chosen.",
            "Leave the column out; it is for CSV and TSV files.",
        )
    return fmt, decoded, fmt.parse(name, decoded.text, options)
