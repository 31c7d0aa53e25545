"""Files that are being read: in the background, so that a long PDF holds nobody up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from pathlib import Path

from experts.errors import SamError
from sam_ui.services.corpus import CorpusService
from sam_ui.services.text_views import RefusedFile
from sam_ui.words import _, mark

__all__ = ["Incoming"]

log = logging.getLogger(__name__)


class Incoming:
    """Reads files one after the other on a thread for each hand-in; one for the whole process.

    What has been read is kept whatever happens to the rest, and whether or not anybody waits.
    """

    def __init__(self, corpus: CorpusService) -> None:
        self._corpus = corpus
        self._waiting: dict[str, list[str]] = {}
        self._changed = threading.Condition()

    def start(self, session_id: str, paths: Sequence[Path], *, column: str | None = None) -> None:
        """Begin to read the files and return at once; see `names` and `wait`."""
        if not paths:
            return
        with self._changed:
            self._waiting.setdefault(session_id, []).extend(path.name for path in paths)
        work = (self._read, session_id, list(paths), column)
        run = copy_context().run  # in the language of whoever asks
        threading.Thread(target=run, args=work, daemon=True, name="incoming").start()

    def names(self, session_id: str) -> list[str]:
        """The files that are not read yet, in their order."""
        with self._changed:
            return list(self._waiting.get(session_id, ()))

    def wait(self, session_id: str, seconds: float) -> bool:
        """Whether everything was read within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: session_id not in self._waiting, seconds)

    def _read(self, session_id: str, paths: Sequence[Path], column: str | None) -> None:
        for path in paths:
            try:
                self._corpus.add_files(session_id, self._content(path), column=column)
            except SamError as problem:  # the session was deleted meanwhile
                log.info("A file came too late: %s", problem.what)
            except Exception:
                log.exception("A file could not be added")
                self._corpus.refuse(session_id, _broken(path.name))
            finally:
                self._done(session_id, path.name)

    def _content(self, path: Path) -> Iterator[tuple[str, bytes]]:
        try:
            yield path.name, path.read_bytes()
        except OSError:
            yield path.name, b""

    def _done(self, session_id: str, name: str) -> None:
        with self._changed:
            left = self._waiting[session_id]
            left.remove(name)
            if not left:
                del self._waiting[session_id]
            self._changed.notify_all()


def _broken(name: str) -> RefusedFile:
    return RefusedFile(
        name,
        _("{name} could not be added: something went wrong inside SaM.", name=name),
        mark("Try again."),
    )
