"""The tables. What belongs to a session goes with it (cascade); the pool's cache and the probe's
answers, which hold no texts, are everybody's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, UtcDateTime, now

__all__ = [
    "Annotation",
    "Base",
    "Correction",
    "Document",
    "EntityType",
    "Event",
    "Expert",
    "Job",
    "Link",
    "Merge",
    "Prediction",
    "ProbeAnswer",
    "Review",
    "Run",
    "Score",
    "Sentence",
    "Upload",
    "UtcDateTime",
    "WorkSession",
    "now",
]


def _session_key(*, index: bool = False) -> Mapped[str]:
    return mapped_column(
        String(32), ForeignKey("sessions.id", ondelete="CASCADE"), index=index, nullable=False
    )


class WorkSession(Base):
    """One person's piece of work. The revisions count changes of texts and of types: results
    remember those that they were made from, so it is known when they are out of date.
    """

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    corpus_revision: Mapped[int] = mapped_column(default=0)
    types_revision: Mapped[int] = mapped_column(default=0)
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    deleted_at: Mapped[datetime | None]
    """Deleted, and gone for everybody; kept for a while in case the person thinks better of it."""


class Link(Base):
    """A way into a session: whoever has its token may look at it (`kind` "view") or change it
    ("edit"). Of the token only the hash is kept.
    """

    __tablename__ = "links"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    kind: Mapped[str] = mapped_column(String(4))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Upload(Base):
    """A file as it was handed in; a csv or jsonl file holds many documents.

    A removed one is kept for a while, its sentences hidden, with the session's corpus revision of
    before.
    """

    __tablename__ = "uploads"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    name: Mapped[str]
    format: Mapped[str]
    encoding: Mapped[str | None]
    duplicates: Mapped[int] = mapped_column(default=0)
    notes: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now)
    removed_at: Mapped[datetime | None]
    removed_revision: Mapped[int | None]


class Document(Base):
    """One text of an upload."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    upload_id: Mapped[int] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    name: Mapped[str]
    text: Mapped[str]


class Sentence(Base):
    """`documents.text[start:end] == text`. A `duplicate` has the `key` of an earlier sentence,
    of another file, or its own file is removed: it is kept, hidden, in case that changes.
    """

    __tablename__ = "sentences"
    __table_args__ = (Index("ix_sentences_session_position", "session_id", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key()
    document_id: Mapped[int] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    text: Mapped[str]
    key: Mapped[str] = mapped_column(String(64))
    gold: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    duplicate: Mapped[bool] = mapped_column(default=False)


class EntityType(Base):
    """A type that the person has named."""

    __tablename__ = "entity_types"
    __table_args__ = (UniqueConstraint("session_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key()
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(200))
    definition: Mapped[str] = mapped_column(default="")
    color: Mapped[str] = mapped_column(String(7))


class Expert(Base):
    """A cache of the pool: what a result's expert was, even after it has left the pool."""

    __tablename__ = "experts"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    hash: Mapped[str] = mapped_column(default="")
    title: Mapped[str] = mapped_column(default="")
    card: Mapped[dict[str, Any]] = mapped_column(default=dict)
    added_at: Mapped[datetime] = mapped_column(default=now)


class Merge(Base):
    """A finished merge; `paths` of its adapters are relative to the data folder."""

    __tablename__ = "merges"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    label: Mapped[str] = mapped_column(default="")
    recipes: Mapped[list[Any]]
    paths: Mapped[list[Any]]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    retained_energy: Mapped[float]
    corpus_revision: Mapped[int]
    types_revision: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Run(Base):
    """One finished match, prediction or export, with the revisions that it was made from."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_session_kind", "session_id", "kind"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    session_id: Mapped[str] = _session_key()
    kind: Mapped[str] = mapped_column(String(20))
    merge_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("merges.id", ondelete="CASCADE"), index=True
    )
    corpus_revision: Mapped[int]
    types_revision: Mapped[int]
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Score(Base):
    """An expert's similarity or probe score in a match run."""

    __tablename__ = "scores"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    run_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("runs.id", ondelete="CASCADE"), index=True
    )
    expert: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    support: Mapped[int] = mapped_column(default=0)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Prediction(Base):
    """A span that a merge predicts; offsets relative to the sentence."""

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_merge_sentence", "merge_id", "sentence_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    merge_id: Mapped[str] = mapped_column(String(32), ForeignKey("merges.id", ondelete="CASCADE"))
    sentence_id: Mapped[int] = mapped_column(
        ForeignKey("sentences.id", ondelete="CASCADE"), index=True
    )
    start: Mapped[int]
    end: Mapped[int]
    label: Mapped[str] = mapped_column(String(200))
    score: Mapped[float | None]


class Correction(Base):
    """What a person says of a sentence: its `spans`, ``[[start, end, type], …]`` with offsets in
    code points relative to it, as far as `types` go.
    """

    __tablename__ = "corrections"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    sentence_id: Mapped[int] = mapped_column(
        ForeignKey("sentences.id", ondelete="CASCADE"), unique=True
    )
    spans: Mapped[list[Any]]
    types: Mapped[list[Any]]
    who: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Review(Base):
    """How far a sentence has been looked at: "open", "accepted", "changed" or "skipped". Only the
    accepted and the changed ones have a correction. Sentences without a row are open.

    `revision` is that of the last event. `unread`: it was accepted or changed with others at once.
    `picked`: the order in which the person went through the sentences, "" where it is not known.
    """

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    sentence_id: Mapped[int] = mapped_column(
        ForeignKey("sentences.id", ondelete="CASCADE"), unique=True
    )
    status: Mapped[str] = mapped_column(String(8))
    revision: Mapped[int]
    who: Mapped[str] = mapped_column(default="")
    unread: Mapped[bool] = mapped_column(default=False)
    picked: Mapped[str] = mapped_column(String(10), default="")
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Annotation(Base):
    """What one of several annotators says of a sentence; `spans` and `types` as in `Correction`."""

    __tablename__ = "annotations"
    __table_args__ = (UniqueConstraint("sentence_id", "who"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    sentence_id: Mapped[int] = mapped_column(ForeignKey("sentences.id", ondelete="CASCADE"))
    who: Mapped[str] = mapped_column(String(80))
    spans: Mapped[list[Any]]
    types: Mapped[list[Any]]
    revision: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Event(Base):
    """One action on a sentence, never changed, and gone only with the sentence itself.

    `annotator`: whose annotation it changed, "" for the session's own review. Each of these counts
    its revisions from 1. `before` and `after`: ``{"status", "spans", "types", …}``. `bulk`: the same
    for all events of one action on many sentences.
    """

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("sentence_id", "annotator", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = _session_key(index=True)
    sentence_id: Mapped[int] = mapped_column(ForeignKey("sentences.id", ondelete="CASCADE"))
    annotator: Mapped[str] = mapped_column(String(80), default="")
    revision: Mapped[int]
    who: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(default=now)
    action: Mapped[str] = mapped_column(String(12))
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    bulk: Mapped[str | None] = mapped_column(String(32), index=True)


class ProbeAnswer(Base):
    """What an expert finds in one text: ``[[start, end, type, score], …]``.

    Text and asked types are known by their hashes alone. `version` stands for all else that the
    answer depends on.
    """

    __tablename__ = "probe_answers"

    expert_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    text_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    types_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    spans: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime] = mapped_column(default=now, index=True)


class Job(Base):
    """Long work, waiting, running or ended."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_created", "state", "created_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    session_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("sessions.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(12), default="queued")
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    eta_s: Mapped[float | None]
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)
    what: Mapped[str] = mapped_column(default="")
    hint: Mapped[str] = mapped_column(default="")
    attempts: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    worker: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
