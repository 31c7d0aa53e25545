"""Where adapters lie for a server to read, and the names they get there."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import torch

from experts.merging.adapters import WEIGHTS_NAME, Adapter, content_hash, load_adapter, save_adapter

__all__ = ["AdapterFolders"]


class AdapterFolders:
    """Names adapters by what they do, so that a server loads none twice.

    Adapters that are in no folder are written to a temporary one, which lasts as long as this
    object: a server may read it again after it has put the adapter out of its memory.
    """

    def __init__(self, base_model: str) -> None:
        self._base_model = base_model
        self._digests: dict[tuple[Path, int, int], str] = {}
        self._scratch: Path | None = None

    def place(self, adapter: Path | Adapter) -> tuple[str, Path]:
        """An adapter's name on a server, and its folder.

        Raises:
            SamError: for a folder that is no usable adapter.
        """
        if isinstance(adapter, Path):
            folder = adapter.absolute()
            return _name(self._digest(folder)), folder
        digest = content_hash(adapter)
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="sam-adapters-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        folder = self._scratch / digest
        if not folder.exists():
            base = adapter.base_model or self._base_model
            save_adapter(adapter, folder, dtype=torch.float32, base_model=base)
        return _name(digest), folder

    def _digest(self, folder: Path) -> str:
        try:
            facts = (folder / WEIGHTS_NAME).stat()
        except OSError:
            return content_hash(load_adapter(folder))  # which says what is missing
        key = (folder, facts.st_mtime_ns, facts.st_size)
        if key not in self._digests:
            self._digests[key] = content_hash(load_adapter(folder))
        return self._digests[key]


def _name(digest: str) -> str:
    return f"sam-{digest[:32]}"
