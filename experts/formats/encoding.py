"""From bytes to text: which encoding, and plain words when there is none."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from experts.errors import SamError
from experts.formats.base import MAX_LINE

__all__ = ["Decoded", "check_lines", "decode"]

_SAVE_UTF8 = "Open it in the program that made it and save it as UTF-8 text."
_SAMPLE = 64_000  # bytes of non-ASCII lines that are enough to tell an encoding
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Encodings that people's files are really in, likeliest first. On a short text charset-normalizer
# finds many codecs equally good; among equals the earlier one wins.
_CANDIDATES = (
    *("cp1252", "cp1250", "cp1251", "gb18030", "cp932", "cp949", "big5", "euc_jp", "koi8_r"),
    *("cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "mac_roman"),
)
_HIGH_LINE = re.compile(rb"[^\r\n]*[\x80-\xff][^\r\n]*[\r\n]*")
_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_HIGH = re.compile(rb"[\x80-\xff]")
_LINE = re.compile(r"[^\r\n]+")
# C0 and C1 controls (tab, line breaks, form feed and NEL excepted), private use, non-characters.
_JUNK = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ue000-\uf8ff\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)
# What a wrong codec leaves behind: a sign inside a word ("by³a" for "była"), half-width katakana
# among Latin letters, a word of two alphabets.
_ODD = re.compile(
    "(?<=[^\\W\\d_])[\u00a1-\u00bf\u00d7\u00f7](?=[^\\W\\d_])|[\uff61-\uff9f]"
    "|[A-Za-z][\u0370-\u06ff\u0e00-\u0e7f]|[\u0370-\u06ff\u0e00-\u0e7f][A-Za-z]"
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text without its byte order mark, and the encoding it was in."""

    text: str
    encoding: str


def decode(name: str, data: bytes, *, any_length: bool = False) -> Decoded:
    """Decode a file: byte order mark, then UTF-8, then what charset-normalizer finds.

    Args:
        any_length: lines may be of any length, as in a JSON document.

    Raises:
        SamError: empty, binary, damaged UTF-8, no known encoding, or a line longer than
            ``MAX_LINE`` characters; always naming the file and the next step.
    """
    if not data.strip():
        raise SamError(f"{name} is empty.", "Choose a file with some text in it.")
    bom = next((codec for mark, codec in _BOMS if data.startswith(mark)), None)
    if bom is None and b"\0" in data:
        raise SamError(f"{name} is not a text file: it holds binary data.", _SAVE_UTF8)
    try:
        encoding = bom or "utf-8"
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if bom is not None:
            raise SamError(
                f"{name} begins like {bom.upper()} text but is not.", _SAVE_UTF8
            ) from error
        _refuse_damaged_utf8(name, data, error.start)
        encoding, text = _guess(name, data)
    _check_text(name, text)
    if not any_length:
        check_lines(name, text)
    return Decoded(text, encoding)


def _check_text(name: str, text: str) -> None:
    if not text.strip():
        raise SamError(f"{name} is empty.", "Choose a file with some text in it.")
    if len(_JUNK.findall(text[:1_000_000])) > 0.05 * len(text[:1_000_000]):
        raise SamError(f"{name} is not a text file: it holds binary data.", _SAVE_UTF8)


def check_lines(name: str, text: str) -> None:
    """Refuse a text with a line of more than ``MAX_LINE`` characters.

    Raises:
        SamError: naming the line.
    """
    for match in _LINE.finditer(text):
        length = match.end() - match.start()
        if length > MAX_LINE:
            line = len(re.findall(r"\r\n|\r|\n", text[: match.start()])) + 1
            raise SamError(
                f"Line {line} of {name} is {length:,} characters long; "
                f"the longest that SaM reads is {MAX_LINE:,}.",
                "Break the text into lines or paragraphs and try again.",
            )


def _refuse_damaged_utf8(name: str, data: bytes, where: int) -> None:
    """Tell a UTF-8 file with a few bad bytes from a file in another encoding."""
    good = sum(len(m) for m in _MULTIBYTE.findall(data))
    bad = len(_HIGH.findall(data)) - good
    # In a legacy encoding a high byte is rarely followed by just the right number of others.
    if good > 3 * max(bad, 1):
        line = data.count(b"\n", 0, where) + 1
        raise SamError(
            f"{name} is UTF-8 text with a damaged character in line {line} (byte {where}).",
            "Correct that line and save the file as UTF-8 again.",
        )


def _guess(name: str, data: bytes) -> tuple[str, str]:
    """Encoding and text of a file that is not UTF-8."""
    from charset_normalizer import from_bytes

    sample = bytearray()
    for match in _HIGH_LINE.finditer(data):
        sample += match.group()[: _SAMPLE - len(sample)]
        if len(sample) >= _SAMPLE:
            break
    found: list[tuple[int, float, float, int, str]] = []
    for match_ in from_bytes(bytes(sample), cp_isolation=list(_CANDIDATES)):
        # Codecs that give the same text for the sample are folded into one match.
        same = [c for c in match_.could_be_from_charset if c in _CANDIDATES]
        for codec in same or [match_.encoding]:
            rank = _CANDIDATES.index(codec) if codec in _CANDIDATES else len(_CANDIDATES)
            odd = len(_ODD.findall(sample.decode(codec, "replace")))
            found.append((odd, round(match_.chaos, 2), -round(match_.coherence, 1), rank, codec))
    for *_, codec in sorted(found):
        try:
            return codec, data.decode(codec)
        except UnicodeDecodeError:
            continue
    raise SamError(f"{name} is not text in any encoding that SaM knows.", _SAVE_UTF8)
