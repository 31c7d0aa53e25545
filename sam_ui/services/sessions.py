"""Sessions: created, opened by their token, renamed, deleted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from db.records import SessionRecord
from experts.corpus import EntityType, read_bytes
from experts.errors import SamError
from sam_ui.services.corpus import CorpusService
from sam_ui.services.store import Store
from sam_ui.services.types import TypeService
from sam_ui.services.views import SessionInfo

__all__ = ["SessionService"]

MAX_NAME = 100
UNNAMED = "New session"


class SessionService:
    """Sessions and the samples to start one with."""

    def __init__(self, store: Store, corpus: CorpusService, types: TypeService) -> None:
        self._store = store
        self._corpus = corpus
        self._types = types

    def create(self, name: str | None = None) -> SessionInfo:
        """A new, empty session."""
        return self._info(self._store.sessions.create(_clean(name or UNNAMED)))

    def by_token(self, token: str | None) -> SessionInfo | None:
        """The session that a token opens; None for no token or one that opens nothing."""
        if not isinstance(token, str) or not 0 < len(token) <= 64:
            return None
        record = self._store.sessions.by_token(token)
        return self._info(record) if record else None

    def get(self, session_id: str) -> SessionInfo:
        """Raises `SamError` when the session is gone."""
        return self._info(self._store.session(session_id))

    def exists(self, session_id: str) -> bool:
        return self._store.sessions.get(session_id) is not None

    def recent(self, tokens: Sequence[str]) -> list[SessionInfo]:
        """The sessions that the tokens open and that still exist, last changed first."""
        wanted = [token for token in tokens if isinstance(token, str)][:200]
        return [self._info(record) for record in self._store.sessions.by_tokens(wanted)]

    def rename(self, session_id: str, name: str) -> SessionInfo:
        """Raises `SamError` for a name without characters."""
        self._store.session(session_id)
        self._store.sessions.rename(session_id, _clean(name))
        return self.get(session_id)

    def delete(self, session_id: str) -> None:
        """Delete the session with its texts, results and files; its jobs are stopped."""
        for job in self._store.queue.active(session_id):
            self._store.queue.cancel(job.id)
        self._store.sessions.delete(session_id)
        shutil.rmtree(self._store.settings.session_dir(session_id), ignore_errors=True)

    def samples(self) -> list[str]:
        """Names of the sample corpora, for `try_sample`."""
        return sorted(path.stem for path in self._sample_files())

    def try_sample(self, name: str | None = None) -> SessionInfo:
        """A new session with sample texts and their types; None takes the first sample.

        Raises:
            SamError: there is no such sample.
        """
        files = {path.stem: path for path in self._sample_files()}
        chosen = name or next(iter(sorted(files)), None)
        if chosen is None or chosen not in files:
            raise SamError(
                f"There are no sample texts called {name or 'anything'}.",
                "Upload or paste texts of your own.",
            )
        path = files[chosen]
        types = _sample_types(path)
        session = self.create(chosen.replace("_", " ").replace("-", " ").capitalize())
        self._corpus.add_files(session.id, [(path.name, path.read_bytes())])
        self._types.set(session.id, types)
        return self.get(session.id)

    def _sample_files(self) -> list[Path]:
        return list(self._store.settings.samples_dir.glob("*.txt"))

    def _info(self, record: SessionRecord) -> SessionInfo:
        return SessionInfo(
            id=record.id,
            token=record.token,
            name=record.name,
            created_at=record.created_at,
            updated_at=record.updated_at,
            sentences=self._store.corpus.count(record.id),
            types=len(self._store.types.list(record.id)),
        )


def _clean(name: str) -> str:
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:MAX_NAME]
    if not shown:
        raise SamError("A session needs a name.", "Type at least one character.")
    return shown


def _sample_types(path: Path) -> list[EntityType]:
    """The labels in the annotated form of a sample, "<stem>.jsonl" beside it."""
    annotated = path.with_suffix(".jsonl")
    names: dict[str, None] = {}
    for spans in read_bytes(annotated.name, annotated.read_bytes()).gold:
        names.update((span.label, None) for span in spans or ())
    return [EntityType(name) for name in names]
