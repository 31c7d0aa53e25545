"""Several files that belong together: a folder, or the same in a zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from experts.errors import SamError
from experts.formats.base import Options, Parsed
from experts.formats.brat import is_brat, read_brat

__all__ = ["MAX_BUNDLE", "MAX_FILES", "ReadFile", "is_zip", "read_bundle", "read_folder", "unpack"]

MAX_BUNDLE = 200_000_000
"""Bytes of all files together, unpacked."""
MAX_FILES = 100_000
# What stands beside the data and holds none.
_BESIDE = frozenset({".conf", ".xml", ".yaml", ".yml", ".toml", ".py", ".lock", ".gitattributes"})
_NOTES = ("readme", "licence", "license", "notice", "dataset_info")


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What was read: the format's key, the encoding (None: the file is no text), the records."""

    key: str
    encoding: str | None
    parsed: Parsed


def is_zip(name: str, data: bytes) -> bool:
    """Whether a file is an archive that :func:`unpack` takes; other programs' files are zips too."""
    suffix = PurePath(name).suffix.lower()
    bare = suffix == "" and data.startswith(b"PK\x03\x04") and b"word/document.xml" not in data
    return suffix == ".zip" or bare


def unpack(name: str, data: bytes) -> dict[str, bytes]:
    """The files of a zip by their path in it.

    Raises:
        SamError: it is damaged, locked, or holds too much.
    """
    files: dict[str, bytes] = {}
    room = MAX_BUNDLE
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.is_dir() or _hidden(info.filename):
                    continue
                with archive.open(info) as file:
                    content = file.read(room + 1)
                room -= len(content)
                _check_room(name, room, len(files))
                files[info.filename] = content
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise SamError(
            f"{name} is an archive that is damaged or locked with a password.",
            "Unpack it and add the files that are inside.",
        ) from error
    return files


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files in a folder and below by their path in it.

    Raises:
        SamError: a file cannot be read, or they are too many or too large.
    """
    files: dict[str, bytes] = {}
    room = MAX_BUNDLE
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _hidden(name) or not path.is_file():
            continue
        try:
            room -= path.stat().st_size
            _check_room(str(folder), room, len(files))
            files[name] = path.read_bytes()
        except OSError as error:
            raise SamError(
                f"{path} cannot be read: {error.strerror}.", "Check its permissions."
            ) from error
    return files


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePath(name).parts)


def _check_room(name: str, room: int, count: int) -> None:
    if room < 0 or count >= MAX_FILES:
        raise SamError(
            f"{name} holds more than {MAX_BUNDLE / 1e6:,.0f} MB or {MAX_FILES:,} files.",
            "Split it, or take a sample of it.",
        )


def read_bundle(
    name: str,
    files: Mapping[str, bytes],
    options: Options,
    read_one: Callable[[str, bytes, Options], ReadFile],
) -> ReadFile:
    """The records of all files: a brat folder, or files of one format in the order of their names.

    Raises:
        SamError: there is nothing to read, the formats differ, or a file is refused by its reader.
    """
    if is_brat(files):
        return ReadFile("brat", "utf-8", read_brat(files, options))
    inside = {path: data for path, data in sorted(files.items()) if not _beside(path)}
    if not inside:
        raise SamError(f"{name} has no texts in it.", "Choose one with texts, or with data files.")
    read = {}
    for path, data in inside.items():
        if is_zip(path, data):
            raise SamError(f"{path} in {name} is an archive.", "Unpack it first.")
        read[path] = read_one(path, data, options)
    kinds = sorted({one.key for one in read.values()})
    if len(kinds) > 1:
        raise SamError(
            f"{name} holds files of several kinds ({', '.join(kinds)}).",
            "Unpack it and add the files one by one.",
        )
    records = [
        replace(record, part=_part(path, record.part) if len(read) > 1 else record.part)
        for path, one in read.items()
        for record in one.parsed.records
    ]
    notes = [note for one in read.values() for note in one.parsed.notes]
    encodings = {one.encoding for one in read.values()}
    encoding = encodings.pop() if len(encodings) == 1 else "utf-8"
    return ReadFile(kinds[0], encoding, Parsed(records, list(dict.fromkeys(notes))))


def _part(path: str, part: str) -> str:
    return f"{path}, {part}" if part else path


def _beside(path: str) -> bool:
    name = PurePath(path).name.lower()
    return PurePath(name).suffix in _BESIDE or name.startswith(_NOTES)
