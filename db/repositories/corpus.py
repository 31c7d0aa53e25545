"""A session's texts (uploads, documents, sentences) and its entity types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Integer, Select, delete, func, insert, select
from sqlalchemy.orm import Session

from db.engine import Database
from db.models import Document, EntityType, Sentence, Upload
from db.records import NewDocument, NewSentence, SentenceRecord, TypeRecord, UploadRecord
from db.repositories.common import to_record
from db.repositories.sessions import touch

__all__ = ["CorpusRepository", "TypeRepository", "sentence_query", "sentence_record"]


def sentence_query(session_id: str, search: str = "") -> Select[Sentence, str]:
    """Rows of (Sentence, name of its document), hidden duplicates left out, in no order yet."""
    query = (
        select(Sentence, Document.name)
        .join(Document, Document.id == Sentence.document_id)
        .where(Sentence.session_id == session_id, Sentence.duplicate.is_(False))
    )
    if search:
        query = query.where(Sentence.text.icontains(search, autoescape=True))
    return query


def sentence_record(row: Any) -> SentenceRecord:
    """From a row of `sentence_query`."""
    return to_record(SentenceRecord, row[0], document=row[1])


class CorpusRepository:
    """Uploads with their documents and sentences."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_upload(
        self,
        session_id: str,
        *,
        name: str,
        format: str,
        encoding: str | None,
        duplicates: int,
        notes: Sequence[str],
        documents: Sequence[NewDocument],
        sentences: Sequence[NewSentence],
    ) -> int:
        """Store a file with its documents and sentences.

        Sentences whose key another file of the session already has are stored hidden.

        Args:
            duplicates: repetitions inside the file, which are not among `sentences`.

        Returns:
            The id of the upload.
        """
        with self._db.write() as session:
            upload = Upload(
                session_id=session_id,
                name=name,
                format=format,
                encoding=encoding,
                duplicates=duplicates,
                notes=list(notes),
            )
            session.add(upload)
            session.flush()
            rows = [
                Document(
                    session_id=session_id,
                    upload_id=upload.id,
                    position=position,
                    name=document.name,
                    text=document.text,
                )
                for position, document in enumerate(documents)
            ]
            session.add_all(rows)
            session.flush()
            ids = [row.id for row in rows]
            self._add_sentences(session, session_id, ids, sentences)
            touch(session, session_id, corpus=True)
            return upload.id

    def _add_sentences(
        self,
        session: Session,
        session_id: str,
        documents: Sequence[int],
        sentences: Sequence[NewSentence],
    ) -> None:
        mine = Sentence.session_id == session_id
        present = (Document.id == Sentence.document_id, Upload.id == Document.upload_id)
        keys = select(Sentence.key).join(Document, present[0]).join(Upload, present[1])
        known = set(session.scalars(keys.where(mine, Upload.removed_at.is_(None))))
        last = session.scalar(select(func.max(Sentence.position)).where(mine))
        first = 0 if last is None else last + 1
        rows = [
            {
                "session_id": session_id,
                "document_id": documents[new.document],
                "position": first + index,
                "start": new.start,
                "end": new.end,
                "text": new.text,
                "key": new.key,
                "gold": new.gold,
                "duplicate": new.key in known,
            }
            for index, new in enumerate(sentences)
        ]
        if rows:
            session.execute(insert(Sentence), rows)

    def uploads(self, session_id: str) -> list[UploadRecord]:
        """In the order in which they were added; removed ones are left out."""
        hidden = func.sum(Sentence.duplicate.cast(Integer))
        counts = (
            select(
                Document.upload_id,
                func.count(func.distinct(Document.id)).label("documents"),
                func.count(Sentence.id).label("sentences"),
                func.coalesce(hidden, 0).label("hidden"),
            )
            .outerjoin(Sentence, Sentence.document_id == Document.id)
            .where(Document.session_id == session_id)
            .group_by(Document.upload_id)
            .subquery()
        )
        query = (
            select(Upload, counts.c.documents, counts.c.sentences, counts.c.hidden)
            .outerjoin(counts, counts.c.upload_id == Upload.id)
            .where(Upload.session_id == session_id, Upload.removed_at.is_(None))
            .order_by(Upload.id)
        )
        with self._db.read() as session:
            return [
                to_record(
                    UploadRecord,
                    upload,
                    documents=documents or 0,
                    sentences=(sentences or 0) - (repeated or 0),
                    duplicates=upload.duplicates + (repeated or 0),
                    notes=tuple(upload.notes),
                )
                for upload, documents, sentences, repeated in session.execute(query)
            ]

    def clear(self, session_id: str) -> None:
        """Remove all texts of the session."""
        with self._db.write() as session:
            session.execute(delete(Upload).where(Upload.session_id == session_id))
            touch(session, session_id, corpus=True)

    def count(self, session_id: str, search: str = "") -> int:
        """Sentences that match, duplicates left out."""
        query = select(func.count()).select_from(sentence_query(session_id, search).subquery())
        with self._db.read() as session:
            return session.scalar(query) or 0

    def stored(self, session_id: str) -> int:
        """All sentences, hidden duplicates included, those of removed files not."""
        query = (
            select(func.count(Sentence.id))
            .join(Document, Document.id == Sentence.document_id)
            .join(Upload, Upload.id == Document.upload_id)
            .where(Sentence.session_id == session_id, Upload.removed_at.is_(None))
        )
        with self._db.read() as session:
            return session.scalar(query) or 0

    def annotated(self, session_id: str) -> int:
        """Sentences that came with entities, be it none."""
        query = sentence_query(session_id).where(Sentence.gold.is_not(None))
        with self._db.read() as session:
            return session.scalar(select(func.count()).select_from(query.subquery())) or 0

    def sentences(
        self, session_id: str, *, offset: int = 0, limit: int | None = None, search: str = ""
    ) -> list[SentenceRecord]:
        query = sentence_query(session_id, search).order_by(Sentence.position)
        query = query.offset(offset)
        if limit is not None:
            query = query.limit(limit)
        with self._db.read() as session:
            return [sentence_record(row) for row in session.execute(query)]


class TypeRepository:
    """Entity types in their order."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def list(self, session_id: str) -> list[TypeRecord]:
        query = select(EntityType).where(EntityType.session_id == session_id)
        with self._db.read() as session:
            rows = session.scalars(query.order_by(EntityType.position))
            return [to_record(TypeRecord, row) for row in rows]

    def replace(self, session_id: str, types: Sequence[TypeRecord]) -> None:
        """Make `types`, in this order, the types of the session.

        The revision goes up only when the set of names has changed: results depend on nothing else.
        """
        with self._db.write() as session:
            mine = EntityType.session_id == session_id
            before = set(session.scalars(select(EntityType.name).where(mine)))
            session.execute(delete(EntityType).where(mine))
            session.add_all(
                EntityType(
                    session_id=session_id,
                    position=position,
                    name=kind.name,
                    definition=kind.definition,
                    color=kind.color,
                )
                for position, kind in enumerate(types)
            )
            touch(session, session_id, types=before != {kind.name for kind in types})
