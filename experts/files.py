"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from experts.errors import SamError

__all__ = ["read_whole", "written_whole"]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which takes its place at the end.

    Raises:
        SamError: the file cannot be written; what was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SamError(
            f"{path} cannot be written ({error.strerror}).", "Choose another folder."
        ) from None


def read_whole(path: Path, max_bytes: int) -> bytes:
    """What is in a file.

    Raises:
        SamError: it is missing, a folder, larger than `max_bytes`, or cannot be read.
    """
    if path.is_dir():
        raise SamError(f"{path} is a folder.", "Name the files in it instead.")
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise SamError(
                f"{path.name} has {size / 1e6:,.0f} MB; the largest file that SaM reads has "
                f"{max_bytes / 1e6:,.0f} MB.",
                "Split it into smaller files, or take a sample of it.",
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise SamError(f"There is no file {path}.", "Check the name and the folder.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SamError(f"{path} cannot be read: {reason}.", "Check its permissions.") from error
