"""The session's texts."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePath
from typing import TYPE_CHECKING

from db.records import NewDocument, NewSentence, UploadRecord
from experts.errors import SamError
from sam_ui.services.store import Store, clean_search, sentence_row
from sam_ui.services.views import CorpusCounts, FileInfo, FileReport, SentencePage

if TYPE_CHECKING:
    from experts.corpus import Corpus

__all__ = ["CorpusService"]

MAX_PAGE = 500


class CorpusService:
    """Texts of a session: added, listed, searched, removed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_files(
        self,
        session_id: str,
        files: Sequence[tuple[str, bytes]],
        *,
        column: str | None = None,
    ) -> list[FileReport]:
        """Read the files and add them: all of them, or none when one cannot be read.

        Args:
            files: (name, content) of each.
            column: of a csv or tsv file, the one with the texts.

        Raises:
            SamError: a file is too large or cannot be read, or the session would grow too large.
        """
        from experts.corpus import read_bytes

        self._store.session(session_id)
        if not files:
            raise SamError("No file was chosen.", "Choose a file with texts.")
        for name, data in files:
            self._check_size(name, len(data))
        read = [read_bytes(PurePath(name).name, data, column=column) for name, data in files]
        return self._add(session_id, read)

    def add_text(self, session_id: str, text: str) -> FileReport:
        """Add pasted text.

        Raises:
            SamError: it is empty or too large, or the session would grow too large.
        """
        from experts.corpus import read_text

        self._store.session(session_id)
        self._check_size("The text", len(text.encode(errors="replace")))
        pasted = sum(u.format == "pasted" for u in self._store.corpus.uploads(session_id))
        name = "Pasted text" if not pasted else f"Pasted text {pasted + 1}"
        return self._add(session_id, [read_text(text, name=name)])[0]

    def _check_size(self, name: str, size: int) -> None:
        most = self._store.settings.max_upload_mb
        if size > most * 1_000_000:
            raise SamError(
                f"{name} has {size / 1e6:.0f} MB, more than the {most} MB that fit.",
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
        """Remove a file with its sentences.

        Raises:
            SamError: the session has no such file.
        """
        self._store.session(session_id)
        if not self._store.corpus.remove_upload(session_id, file_id):
            raise SamError("This file was removed already.", "Reload the page.")

    def clear(self, session_id: str) -> None:
        """Remove all texts."""
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

    def counts(self, session_id: str) -> CorpusCounts:
        uploads = self._store.corpus.uploads(session_id)
        return CorpusCounts(
            files=len(uploads),
            documents=sum(upload.documents for upload in uploads),
            sentences=sum(upload.sentences for upload in uploads),
            duplicates=sum(upload.duplicates for upload in uploads),
            annotated=self._store.corpus.annotated(session_id),
        )

    def _add(self, session_id: str, read: Sequence[Corpus]) -> list[FileReport]:
        most = self._store.settings.max_sentences
        with self._store.changing:
            # Hidden duplicates count: else the same file again and again would fill the disk.
            total = self._store.corpus.stored(session_id) + sum(len(c.sentences) for c in read)
            if total > most:
                raise SamError(
                    f"The session would have {total:,} sentences (repeated ones included), more "
                    f"than the {most:,} that fit.",
                    "Use a part of the texts, or raise SAM_MAX_SENTENCES.",
                )
            return [self._add_one(session_id, corpus) for corpus in read]

    def _add_one(self, session_id: str, corpus: Corpus) -> FileReport:
        report = corpus.reports[0]
        upload_id = self._store.corpus.add_upload(
            session_id,
            name=report.name,
            format=report.format,
            encoding=report.encoding,
            duplicates=report.duplicates,
            notes=report.notes,
            documents=[NewDocument(d.name, d.text) for d in corpus.documents],
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
