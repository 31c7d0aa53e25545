"""Deleted merges, kept for a while so that deleting can be undone."""

from __future__ import annotations

import builtins
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from experts.errors import SamError
from sam_ui.services.store import Store, merge_gone

__all__ = ["DeletedMerge", "MergeBin"]

KEPT = 3
"""Deleted merges of a session whose files are kept, the newest ones."""
OFFERED = timedelta(minutes=30)
"""How long undoing is offered."""


@dataclass(frozen=True, slots=True)
class DeletedMerge:
    """A merge that can be put back."""

    id: str
    label: str
    deleted_at: datetime


class MergeBin:
    """The bin of each session: a folder with the merge's rows as JSON, its adapters and exports."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def delete(self, session_id: str, merge_id: str) -> None:
        """Delete a merge with its predictions and files; `restore` undoes it for a while.

        Raises:
            SamError: the session has no such merge.
        """
        taken = self._store.history.take_out(session_id, merge_id)
        if taken is None:
            raise merge_gone()
        folder = self._folder(session_id) / merge_id
        folder.mkdir(parents=True)
        kept = {"deleted_at": datetime.now(UTC).isoformat(), "rows": taken}
        (folder / "merge.json").write_text(json.dumps(kept), encoding="utf-8")
        for name, place in self._places(session_id, merge_id).items():
            if place.exists():
                shutil.move(place, folder / name)
        for old in self._newest(session_id)[KEPT:]:
            shutil.rmtree(self._folder(session_id) / old.id, ignore_errors=True)

    def restore(self, session_id: str, merge_id: str) -> str:
        """Put a deleted merge back; returns its name.

        Raises:
            SamError: it is not there any more.
        """
        entry = next((each for each in self._newest(session_id) if each.id == merge_id), None)
        if entry is None:
            raise SamError("This merge cannot be brought back any more.", "Merge again.")
        folder = self._folder(session_id) / entry.id
        for name, place in self._places(session_id, entry.id).items():
            if (folder / name).exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(folder / name, place)
        rows = json.loads((folder / "merge.json").read_text(encoding="utf-8"))["rows"]
        self._store.history.put_back(session_id, rows)
        shutil.rmtree(folder, ignore_errors=True)
        return entry.label

    def list(self, session_id: str) -> builtins.list[DeletedMerge]:
        """Those that can be put back, deleted lately, newest first."""
        since = datetime.now(UTC) - OFFERED
        return [entry for entry in self._newest(session_id) if entry.deleted_at >= since]

    def empty_old(self) -> None:
        """Delete what nobody is offered any more, of all sessions."""
        since = datetime.now(UTC) - OFFERED
        for folder in self._store.settings.data_dir.glob("sessions/*/deleted-merges/*"):
            entry = _read(folder)
            if entry is None or entry.deleted_at < since:
                shutil.rmtree(folder, ignore_errors=True)

    def _newest(self, session_id: str) -> builtins.list[DeletedMerge]:
        entries = [_read(folder) for folder in self._folder(session_id).glob("*")]
        there = [entry for entry in entries if entry is not None]
        return sorted(there, key=lambda entry: entry.deleted_at, reverse=True)

    def _folder(self, session_id: str) -> Path:
        return self._store.settings.session_dir(session_id) / "deleted-merges"

    def _places(self, session_id: str, merge_id: str) -> dict[str, Path]:
        return {
            "adapters": self._store.merge_folder(session_id, merge_id),
            "exports": self._store.export_folder(session_id, merge_id),
        }


def _read(folder: Path) -> DeletedMerge | None:
    try:
        kept = json.loads((folder / "merge.json").read_text(encoding="utf-8"))
        label = kept["rows"]["merges"][0]["label"]
        return DeletedMerge(folder.name, label, datetime.fromisoformat(kept["deleted_at"]))
    except (OSError, ValueError, KeyError):
        return None  # it was cut off while it was deleted
