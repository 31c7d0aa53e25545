"""Sessions: created, opened by a link, renamed, copied, deleted and brought back."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from db.records import LinkRecord, SessionRecord
from db.repositories import SessionCopy, new_token
from experts.corpus import EntityType, read_bytes
from experts.errors import SamError
from sam_ui.services.corpus import CorpusService
from sam_ui.services.merge_compare import KEY as COMPARED
from sam_ui.services.preview import KEY as PREVIEW
from sam_ui.services.store import Store, session_gone
from sam_ui.services.types import TypeService
from sam_ui.services.views import SessionInfo
from sam_ui.words import _

__all__ = ["KEPT_S", "SessionService"]

MAX_NAME = 100
COPY = " (copy)"
KEPT_S = 24 * 3600.0
"""How long a deleted session can be brought back."""


class SessionService:
    """Sessions and the samples to start one with."""

    def __init__(self, store: Store, corpus: CorpusService, types: TypeService) -> None:
        self._store = store
        self._corpus = corpus
        self._types = types

    def create(self, name: str | None = None) -> SessionInfo:
        """A new, empty session, opened by its first link."""
        token = new_token()
        self._store.sessions.create(_clean(name or _("New session")), token=token)
        return self._opened(token)

    def by_token(self, token: str | None) -> SessionInfo | None:
        """The session that a token opens; None for no token or one that opens nothing."""
        return next(iter(self._open([token])), None)

    def get(self, session_id: str) -> SessionInfo:
        """Raises `SamError` when the session is gone."""
        record = self._store.session(session_id)
        return _info(record, self._store.sessions.sizes([session_id])[session_id])

    def exists(self, session_id: str) -> bool:
        """Whether it is there, be it deleted: its files are needed until it is gone for good."""
        return self._store.sessions.known(session_id)

    def recent(self, tokens: Sequence[str]) -> list[SessionInfo]:
        """The sessions that the tokens open, last changed first; of several links to one session
        the one that lets most be done.
        """
        found: dict[str, SessionInfo] = {}
        for info in self._open(list(tokens)[:200]):
            if info.id not in found or found[info.id].view_only > info.view_only:
                found[info.id] = info
        return sorted(found.values(), key=lambda info: info.updated_at, reverse=True)

    def rename(self, session_id: str, name: str) -> SessionInfo:
        """Raises `SamError` for a name without characters."""
        self._store.session(session_id)
        self._store.sessions.rename(session_id, _clean(name))
        return self.get(session_id)

    def duplicate(self, session_id: str) -> SessionInfo:
        """A session of its own with the same texts, types, choices, results and merged adapters,
        opened by a new link. Links and jobs are not copied.

        Raises:
            SamError: the session is gone, or its files cannot be copied.
        """
        name = self._store.session(session_id).name
        name = name[: MAX_NAME - len(COPY)].rstrip() + COPY
        copied = self._store.copies.copy(session_id, name, adapt=_adapt)
        if copied is None:
            raise session_gone()
        try:
            self._copy_files(session_id, copied)
        except OSError:
            self._remove(copied.id)
            raise SamError(
                _("“{name}” could not be copied.", name=name.removesuffix(COPY)),
                "Check that there is room on the disk, then try again.",
            ) from None
        token = new_token()
        self._store.links.add(copied.id, "edit", token)
        self._store.sessions.restore(copied.id)
        return self._opened(token)

    def _copy_files(self, session_id: str, copied: SessionCopy) -> None:
        data = self._store.settings.data_dir
        for merge in self._store.merges.list(session_id):
            if merge.id not in copied.ids:  # stored after the rows were copied
                continue
            for path in merge.paths:
                if (data / path).is_dir():  # else the merge says so when it is used
                    shutil.copytree(data / path, data / copied.renamed(path))

    def delete(self, session_id: str) -> None:
        """Delete the session: nobody can open it any more. It can be brought back for a day."""
        for job in self._store.queue.active(session_id):
            self._store.queue.cancel(job.id)
        self._store.sessions.hide(session_id)

    def restore(self, token: str) -> SessionInfo:
        """Bring back a deleted session.

        Args:
            token: of a link that lets it be changed.

        Raises:
            SamError: it is gone for good, or the link does not allow it.
        """
        link = self._store.links.find(token)
        if link is not None and link.kind == "edit" and link.revoked_at is None:
            self._store.sessions.restore(link.session_id)
        info = self.by_token(token)
        if info is None or info.view_only:
            raise SamError("This session is gone for good.", "Start a new session.")
        return info

    def purge(self, *, deleted_for_s: float = KEPT_S) -> int:
        """Remove for good, with texts, results and files, what was deleted so many seconds ago;
        returns how many sessions these were.
        """
        gone = self._store.sessions.hidden(longer_than_s=deleted_for_s)
        for session_id in gone:
            self._remove(session_id)
        return len(gone)

    def _remove(self, session_id: str) -> None:
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
                _("There are no sample texts called {name}.", name=name or "anything"),
                "Upload or paste texts of your own.",
            )
        path = files[chosen]
        types = _sample_types(path)
        session = self.create(chosen.replace("_", " ").replace("-", " ").capitalize())
        self._corpus.add_files(session.id, [(path.name, path.read_bytes())])
        self._types.set(session.id, types)
        return self._opened(session.token)

    def _sample_files(self) -> list[Path]:
        return list(self._store.settings.samples_dir.glob("*.txt"))

    def _opened(self, token: str) -> SessionInfo:
        info = self.by_token(token)
        assert info is not None  # the link was made a moment ago
        return info

    def _open(self, tokens: Sequence[str | None]) -> list[SessionInfo]:
        """In the order of the tokens, which may be anything: they come from browsers."""
        wanted = [t for t in tokens if isinstance(t, str) and 0 < len(t) <= 64]
        found = self._store.links.open(wanted)
        sizes = self._store.sessions.sizes(list({record.id for record, _ in found.values()}))
        return [
            _info(record, sizes[record.id], link, token=token)
            for token in wanted
            if token in found
            for record, link in [found[token]]
        ]


def _info(
    record: SessionRecord,
    size: tuple[int, int],
    link: LinkRecord | None = None,
    *,
    token: str = "",
) -> SessionInfo:
    return SessionInfo(
        id=record.id,
        token=token,
        name=record.name,
        created_at=record.created_at,
        updated_at=record.updated_at,
        sentences=size[0],
        types=size[1],
        view_only=link is not None and link.kind != "edit",
        link_id=link.id if link is not None else "",
    )


def _clean(name: str) -> str:
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:MAX_NAME]
    if not shown:
        raise SamError("A session needs a name.", "Type at least one character.")
    return shown


def _adapt(table: str, row: dict[str, Any], sentences: Mapping[int, int]) -> None:
    """Sentences by their numbers, where JSON names them."""
    if table == "runs":
        for probed in row["details"].get("probe", ()):
            probed[0] = sentences.get(probed[0], probed[0])
    elif table == "sessions":
        for made_again_when_asked_for in (PREVIEW, COMPARED):
            row["settings"].pop(made_again_when_asked_for, None)


def _sample_types(path: Path) -> list[EntityType]:
    """The labels in the annotated form of a sample, "<stem>.jsonl" beside it."""
    annotated = path.with_suffix(".jsonl")
    names: dict[str, None] = {}
    for spans in read_bytes(annotated.name, annotated.read_bytes()).gold:
        names.update((span.label, None) for span in spans or ())
    return [EntityType(name) for name in names]
