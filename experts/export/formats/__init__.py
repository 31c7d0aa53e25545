"""Annotations in the formats of other tools: one module a format, declared in an `ExportFormat`.

The interface, the command line and the documentation ask this registry and know no format by name.
To add one, write a module with an ``ExportFormat`` and list it in `_FORMATS`.

Example:
    >>> from experts.spans import Span
    >>> row = Row("Ada met Bo.", (Span(0, 3, "person"),))
    >>> print(dict(get("conll").build([row]))["annotations.conll"].decode().split("\\n")[2])
    Ada -X- _ B-person
"""

from __future__ import annotations

import io
import shutil
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePath

from experts.errors import SamError
from experts.export.formats.base import Entry, ExportFormat, Losses, Row
from experts.export.formats.brat import BRAT
from experts.export.formats.conll2003 import CONLL
from experts.export.formats.docbin import DOCBIN
from experts.export.formats.hub import HUB
from experts.export.formats.label_studio import LABEL_STUDIO
from experts.export.formats.lines import DOCCANO, JSONL
from experts.export.formats.table import CSV
from experts.files import written_whole

__all__ = ["ExportFormat", "Losses", "Row", "check", "formats", "get", "write"]

_FORMATS = (JSONL, DOCCANO, LABEL_STUDIO, CONLL, DOCBIN, HUB, BRAT, CSV)
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of all entries in a zip: equal rows give equal bytes


def formats() -> tuple[ExportFormat, ...]:
    """All formats, in the order in which to show them."""
    return _FORMATS


def get(key: str) -> ExportFormat:
    """The format of this key.

    Raises:
        SamError: there is none; the hint lists them.
    """
    for fmt in _FORMATS:
        if fmt.key == key:
            return fmt
    raise SamError(
        f"There is no format “{key}”.", "Choose one of: " + ", ".join(f.key for f in _FORMATS) + "."
    )


def check(fmt: str, rows: Sequence[Row]) -> Losses:
    """What the format cannot hold of these rows; empty: everything comes back as it was.

    Raises:
        SamError: there is no such format.
    """
    return get(fmt).check(rows)


def write(fmt: str, rows: Sequence[Row], path: Path) -> None:
    """Write rows in a format; what `check` counts is left out without further words.

    A format of several files becomes a zip where `path` ends in ``.zip``, a folder elsewhere; where
    `path` ends as its main file does (``tasks.json`` of Label Studio), that file alone. What
    appears, appears whole.

    Raises:
        SamError: there is no such format, its extra is not installed, there are no rows, or the
            place cannot be written to (a folder must be new or empty).
    """
    chosen = get(fmt)
    if not rows:
        raise SamError("There are no texts to export.", "Add some texts first.")
    entries = list(chosen.build(rows))
    suffix = path.suffix.lower()
    alone = chosen.main and suffix == PurePath(chosen.main).suffix
    if suffix == ".zip":
        _write_file(path, _zipped(entries))
    elif alone or chosen.ending != ".zip":
        _write_file(path, entries[0][1])
    else:
        _write_folder(path, entries)


def _zipped(entries: Sequence[Entry]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _write_file(path: Path, data: bytes) -> None:
    if path.is_dir():
        raise SamError(f"{path} is a folder.", "Name a file in it.")
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def _write_folder(path: Path, entries: Sequence[Entry]) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SamError(f"{path} exists already and is not empty.", "Name a new folder, or a zip.")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        for name, data in entries:
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise SamError(
            f"{path} cannot be written ({error.strerror}).", "Choose another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
