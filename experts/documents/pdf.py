"""Text of a PDF by pages. Runs in the child process; pypdf does the reading."""

from __future__ import annotations

import logging
import re
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

from experts.documents.pages import flow, page_list, without_running_lines
from experts.errors import SamError

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

__all__ = ["read_pdf"]

_LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ft", "ﬆ": "st"}
)
_JUNK = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufffd]|\\(cid:\\d+\\)")
_INLINE_IMAGE = re.compile(rb"\bBI\s.{1,2000}?\sID\s", re.DOTALL)
UNREADABLE = 0.2
"""A page with this share of characters that mean nothing has a font without a key to its letters."""
RECOGNISE = "Run text recognition (OCR) over it, for example with the scanner's own program"


def read_pdf(
    name: str, data: bytes, *, deadline: float, most: int
) -> tuple[list[tuple[int, str, str]], list[str]]:
    """Pieces (page, "page 4", text) and notes for the person.

    Args:
        deadline: as of `time.process_time`; no page is begun after it.
        most: characters after which no page is begun.

    Raises:
        SamError: damaged, locked, or no page has any text.
    """
    reader = _open(name, data)
    total = _count(name, reader)
    pages: list[tuple[int, list[str]]] = []
    scanned: list[int] = []
    garbled: list[int] = []
    characters, read = 0, 0
    for index in range(total):
        if time.process_time() > deadline or characters > most:
            break
        read += 1
        text, image = _page(reader, index)
        if text is None or len(_JUNK.findall(text)) > UNREADABLE * max(len(text), 1):
            garbled.append(index + 1)
        elif not text.strip():
            scanned += [index + 1] * image
        else:
            characters += len(text)
            lines = (_JUNK.sub("", line).rstrip() for line in text.split("\n"))
            pages.append((index + 1, [line for line in lines if line.strip()]))
    if not read:
        raise SamError(f"{name} took too long to open.", "Split it into smaller files.")
    if not pages:
        raise _no_text(name, total, scanned, garbled)
    notes = _notes(total, read, scanned, garbled)
    running = without_running_lines(pages)
    if running:
        notes.append(f"left out, as it repeats from page to page: {', '.join(running[:3])}")
    pieces = [(page, f"page {page}", text) for page, text in flow(pages)]
    return pieces, notes


def _open(name: str, data: bytes) -> PdfReader:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(BytesIO(data))
        locked = reader.is_encrypted and not reader.decrypt("")
    except (DependencyError, NotImplementedError):
        locked = True
    except MemoryError:
        raise
    except Exception as error:  # pypdf meets broken files with many kinds of exception
        raise _damaged(name) from error
    if locked:
        raise SamError(
            f"{name} is locked: it is encrypted.",
            "Open it with its password, save or print it as a PDF without one, and add that file.",
        )
    return reader


def _damaged(name: str) -> SamError:
    return SamError(
        f"{name} is damaged: its pages cannot be found.",
        "Open it to see whether it is whole, export it as PDF again, and add that file.",
    )


def _count(name: str, reader: PdfReader) -> int:
    try:
        total = len(reader.pages)
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(name) from error
    if not total:
        raise _damaged(name)
    return total


def _page(reader: PdfReader, index: int) -> tuple[str | None, bool]:
    """Text of a page, None if it cannot be read, and whether there is a picture on it."""
    try:
        page = reader.pages[index]
        text = page.extract_text().translate(_LIGATURES)
        return text, not text.strip() and _has_image(page)
    except MemoryError:
        raise
    except Exception:  # one broken page must not cost the others
        return None, False


def _has_image(page: PageObject) -> bool:
    contents = page.get_contents()
    if contents is not None and _INLINE_IMAGE.search(contents.get_data()):
        return True
    forms: list[Any] = [page]
    for form in forms[:100]:
        resources: Any = form.get("/Resources")
        objects: Any = resources and resources.get_object().get("/XObject")
        for found in objects.get_object().values() if objects else ():
            inner = found.get_object()
            if inner.get("/Subtype") == "/Image":
                return True
            forms.append(inner)
    return False


def _no_text(name: str, total: int, scanned: list[int], garbled: list[int]) -> SamError:
    many = f"all {total} pages" if total > 1 else "its only page"
    if garbled:
        return SamError(
            f"The text of {name} cannot be read: its letters are stored without their meaning.",
            f"{RECOGNISE}, or copy the text from the program that made it.",
        )
    if scanned:
        return SamError(
            f"{name} has no text: {many} {'are' if total > 1 else 'is'} probably scanned.",
            f"{RECOGNISE}, and add the result.",
        )
    return SamError(f"{name} has no text: {many} {'are' if total > 1 else 'is'} empty.",
                    "Choose a file with some sentences in it.")  # fmt: skip


def _notes(total: int, read: int, scanned: list[int], garbled: list[int]) -> list[str]:
    notes = [f"{total:,} pages" if total != 1 else "1 page"]
    if read < total:
        notes.append(
            f"only the first {read:,} of {total:,} pages were read: the file is too long; "
            "split it to add the rest"
        )
    if scanned:
        notes.append(f"no text on {page_list(scanned)}: probably scanned")
    if garbled:
        notes.append(f"{page_list(garbled)} could not be read")
    return notes
