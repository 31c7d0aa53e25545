"""The session's texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict
from hashlib import blake2b
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from db.records import NewDocument, NewSentence, UploadRecord
from experts.errors import SamError
from sam_ui.services.store import Store, clean_search, sentence_row
from sam_ui.services.text_views import Added, RefusedFile
from sam_ui.services.views import CorpusCounts, FileInfo, FileReport, SentencePage
from sam_ui.words import _, _n, figure

if TYPE_CHECKING:
    from experts.corpus import Corpus

__all__ = ["CorpusService"]

MAX_PAGE = 500
MAX_REMOVED = 5
"""Removed files of a session that can be brought back; older ones are deleted for good."""
KEPT_S = 24 * 3600.0
MAX_REFUSED = 50
REFUSED = "refused_files"


class CorpusService:
    """Texts of a session: added, listed, searched, removed and brought back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_files(
        self,
        session_id: str,
        files: Iterable[tuple[str, bytes]],
        *,
        column: str | None = None,
    ) -> Added:
        """Read the files and add them, each whole or not at all; one that cannot be read does not
        stop the others.

        Args:
            files: (name, content) of each; may be read as they are asked for.
            column: of a csv or tsv file, the one with the texts.

        Returns:
            What was added, and what was not and why (also kept, see `refused`).

        Raises:
            SamError: there is no such session, or no file.
        """
        self._store.session(session_id)
        reports: list[FileReport] = []
        refused: list[RefusedFile] = []
        for name, data in files:
            shown = PurePath(name).name
            try:
                reports.append(self._read_and_add(session_id, shown, data, column))
            except SamError as problem:
                refused.append(RefusedFile(shown, problem.what, problem.hint))
        if not reports and not refused:
            raise SamError("No file was chosen.", "Choose a file with texts.")
        self._keep_refused(session_id, refused, {report.name for report in reports})
        return Added(tuple(reports), tuple(refused))

    def _read_and_add(
        self, session_id: str, name: str, data: bytes, column: str | None
    ) -> FileReport:
        from experts.corpus import read_bytes

        self._check_size(name, len(data))
        return self._add(session_id, read_bytes(name, data, column=column))

    def refused(self, session_id: str) -> list[RefusedFile]:
        """The files that could not be added lately, until they are dismissed."""
        kept = self._store.session(session_id).settings.get(REFUSED) or []
        return [RefusedFile(**row) for row in kept]

    def refuse(self, session_id: str, file: RefusedFile) -> None:
        """Keep why a file could not be added."""
        self._keep_refused(session_id, [file], set())

    def _keep_refused(
        self, session_id: str, files: Sequence[RefusedFile], settled: Set[str]
    ) -> None:
        """Of files of one name the last word counts."""
        names = settled | {file.name for file in files}
        if not files and not self.refused(session_id):
            return

        def change(kept: Any) -> list[dict[str, str]]:
            others = [row for row in kept or [] if row["name"] not in names]
            return [*others, *map(asdict, files)][-MAX_REFUSED:]

        self._store.sessions.change_setting(session_id, REFUSED, change)

    def dismiss(self, session_id: str, name: str) -> None:
        """Forget why the file of this name could not be added; "" all of them."""

        def change(kept: Any) -> list[dict[str, str]]:
            return [row for row in kept or [] if name and row["name"] != name]

        self._store.sessions.change_setting(session_id, REFUSED, change)

    def add_text(self, session_id: str, text: str) -> FileReport:
        """Add pasted text.

        Raises:
            SamError: it is empty or too large, or the session would grow too large.
        """
        from experts.corpus import read_text

        self._store.session(session_id)
        self._check_size(_("The text"), len(text.encode(errors="replace")))
        uploads = self._store.corpus.uploads(session_id) + self._store.removal.list(session_id)
        pasted = sum(upload.format == "pasted" for upload in uploads)
        name = _("Pasted text")
        if pasted:
            name = _("Pasted text {number}", number=pasted + 1)
        return self._add(session_id, read_text(text, name=name))

    def _check_size(self, name: str, size: int) -> None:
        most = self._store.settings.max_upload_mb
        if size > most * 1_000_000:
            raise SamError(
                _(
                    "{name} has {size} MB, more than the {most} MB that fit.",
                    name=name,
                    size=f"{size / 1e6:.0f}",
                    most=most,
                ),
                "Split it, or raise SAM_MAX_UPLOAD_MB.",
            )

    def columns(self, name: str, data: bytes) -> list[str]:
        """The columns of a csv or tsv file, to choose from; [] for other files."""
        if PurePath(name).suffix.lower() not in (".csv", ".tsv"):
            return []
        from experts.corpus import list_columns

        return list_columns(name, data)

    def files(self, session_id: str) -> list[FileInfo]:
        """In the order in which they were added."""
        return [_file_info(upload) for upload in self._store.corpus.uploads(session_id)]

    def remove_file(self, session_id: str, file_id: int) -> None:
        """Remove a file with its sentences; `restore_file` takes it back for a day.

        Raises:
            SamError: the session has no such file.
        """
        self._store.session(session_id)
        if not self._store.removal.remove(session_id, file_id):
            raise SamError("This file was removed already.", "Reload the page.")
        self._store.removal.discard_but(session_id, MAX_REMOVED)
        self.forget_removed()

    def removed_files(self, session_id: str) -> list[FileInfo]:
        """What can be brought back, in the order in which it was added; all its sentences count."""
        return [_file_info(upload) for upload in self._store.removal.list(session_id)]

    def restore_file(self, session_id: str, file_id: int) -> None:
        """Bring a removed file back exactly as it was.

        Raises:
            SamError: it is gone for good, or the session would grow too large.
        """
        self._store.session(session_id)
        with self._store.changing:
            found = [u for u in self._store.removal.list(session_id) if u.id == file_id]
            if found:
                self._check_room(session_id, found[0].sentences)
            if not found or not self._store.removal.restore(session_id, file_id):
                raise SamError("These texts are deleted for good.", "Add the file again.")

    def discard_file(self, session_id: str, file_id: int) -> None:
        """Delete a removed file for good; nothing happens when it is gone."""
        self._store.session(session_id)
        self._store.removal.discard(session_id, file_id)

    def forget_removed(self) -> int:
        """Delete for good, in all sessions, what was removed a day ago; returns how many files."""
        return self._store.removal.forget(older_than_s=KEPT_S)

    def clear(self, session_id: str) -> None:
        """Remove all texts, for good."""
        self._store.session(session_id)
        self._store.corpus.clear(session_id)

    def sentences(
        self, session_id: str, *, offset: int = 0, limit: int = 50, search: str = ""
    ) -> SentencePage:
        """A page of sentences that contain `search`, upper and lower case alike."""
        offset, limit = max(0, offset), min(max(1, limit), MAX_PAGE)
        found = clean_search(search)
        rows = self._store.corpus.sentences(session_id, offset=offset, limit=limit, search=found)
        return SentencePage(
            rows=tuple(sentence_row(row) for row in rows),
            total=self._store.corpus.count(session_id, found),
            offset=offset,
            limit=limit,
        )

    def count(self, session_id: str) -> int:
        """Sentences, duplicates left out."""
        return self._store.corpus.count(session_id)

    def counts(self, session_id: str) -> CorpusCounts:
        uploads = self._store.corpus.uploads(session_id)
        return CorpusCounts(
            files=len(uploads),
            documents=sum(upload.documents for upload in uploads),
            sentences=sum(upload.sentences for upload in uploads),
            duplicates=sum(upload.duplicates for upload in uploads),
            annotated=self._store.corpus.annotated(session_id),
        )

    def _add(self, session_id: str, read: Corpus) -> FileReport:
        with self._store.changing:
            # Hidden duplicates count: else the same file again and again would fill the disk.
            self._check_room(session_id, len(read.sentences))
            return self._add_one(session_id, read)

    def _check_room(self, session_id: str, sentences: int) -> None:
        most = self._store.settings.max_sentences
        total = self._store.corpus.stored(session_id) + sentences
        if total > most:
            raise SamError(
                _n(
                    "The session would have {n} sentence (repeated ones included), more than the "
                    "{most} that fit.",
                    "The session would have {n} sentences (repeated ones included), more than the "
                    "{most} that fit.",
                    total,
                    most=figure(most),
                ),
                "Use a part of the texts, or raise SAM_MAX_SENTENCES.",
            )

    def _add_one(self, session_id: str, corpus: Corpus) -> FileReport:
        report = corpus.reports[0]
        upload_id = self._store.corpus.add_upload(
            session_id,
            name=report.name,
            format=report.format,
            encoding=report.encoding,
            duplicates=report.duplicates,
            notes=report.notes,
            documents=[NewDocument(d.label, d.text) for d in corpus.documents],
            sentences=[
                NewSentence(
                    document=sentence.document,
                    start=sentence.start,
                    end=sentence.end,
                    text=sentence.text,
                    key=_key(sentence.text),
                    gold=None if gold is None else [[s.start, s.end, s.label] for s in gold],
                )
                for sentence, gold in zip(corpus.sentences, corpus.gold, strict=True)
            ],
        )
        stored = next(u for u in self._store.corpus.uploads(session_id) if u.id == upload_id)
        return FileReport(
            name=stored.name,
            format=stored.format,
            encoding=stored.encoding,
            documents=stored.documents,
            sentences=stored.sentences,
            duplicates=stored.duplicates,
            notes=stored.notes,
        )


def _key(text: str) -> str:
    from experts.corpus import duplicate_key

    return blake2b(duplicate_key(text).encode(errors="replace"), digest_size=16).hexdigest()


def _file_info(upload: UploadRecord) -> FileInfo:
    return FileInfo(
        id=upload.id,
        name=upload.name,
        format=upload.format,
        encoding=upload.encoding,
        documents=upload.documents,
        sentences=upload.sentences,
        duplicates=upload.duplicates,
        notes=upload.notes,
    )
