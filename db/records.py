"""What the repositories return: frozen copies of rows. Times are timezone-aware UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = [
    "AnnotationRecord",
    "CorrectionRecord",
    "EventRecord",
    "ExpertRecord",
    "JobRecord",
    "LinkRecord",
    "MergeRecord",
    "NewDocument",
    "NewReview",
    "NewSentence",
    "NewSpan",
    "ReadSentence",
    "RunRecord",
    "ScoreRecord",
    "SentenceRecord",
    "SessionRecord",
    "SpanRecord",
    "StoredReview",
    "TypeRecord",
    "UploadRecord",
]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session that has not been deleted."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    corpus_revision: int
    types_revision: int
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A link into a session, without its token; `kind`: "edit" or "view"."""

    id: str
    session_id: str
    kind: str
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """`sentences` and `duplicates` count as they are now: duplicates of other files included."""

    id: int
    name: str
    format: str
    encoding: str | None
    documents: int
    sentences: int
    duplicates: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to store."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class NewSentence:
    """`document` is an index into the documents added with it; `gold`: [[start, end, label], …]
    relative to the sentence, None when nothing is known; sentences with the same `key` repeat each
    other.
    """

    document: int
    start: int
    end: int
    text: str
    key: str
    gold: list[list[Any]] | None = None


@dataclass(frozen=True, slots=True)
class SentenceRecord:
    """A visible sentence; `document` is the name of its document, `gold` as in `NewSentence`."""

    id: int
    position: int
    text: str
    document: str
    gold: list[list[Any]] | None


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """A person's correction of a sentence. `spans`: [[start, end, label], …] relative to it;
    `types`: those that were looked for; `unread`: made in bulk, nobody has read the sentence.
    """

    sentence_id: int
    spans: list[list[Any]]
    types: list[str]
    who: str
    created_at: datetime
    updated_at: datetime
    unread: bool


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """A corrected sentence that somebody has read; see `CorrectionRecord` and `models.Review`."""

    id: int
    position: int
    text: str
    spans: list[list[Any]]
    types: list[str]
    picked: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An action; the attributes are those of `models.Event`."""

    sentence_id: int
    annotator: str
    revision: int
    who: str
    at: datetime
    action: str
    before: dict[str, Any]
    after: dict[str, Any]
    bulk: str | None


@dataclass(frozen=True, slots=True)
class StoredReview:
    """All that is known of a sentence's review; `spans` and `types` are those of its correction,
    None and none without one, `events` the latest first (as far as they were asked for).
    """

    sentence_id: int
    text: str
    status: str = "open"
    revision: int = 0
    who: str = ""
    unread: bool = False
    picked: str = ""
    updated_at: datetime | None = None
    spans: list[list[Any]] | None = None
    types: list[str] = field(default_factory=list)
    events: tuple[EventRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class NewReview:
    """What becomes of a sentence: an event and the new state.

    Attributes:
        spans: of an open or skipped sentence those that it shows.
        before: the spans that it had or showed.
        who: whose action it is.
        author: who says what the sentence says now, None for `who`.
    """

    sentence_id: int
    status: str
    spans: list[list[Any]]
    types: list[str]
    before: list[list[Any]]
    action: str
    who: str = ""
    unread: bool = False
    picked: str = ""
    bulk: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """What one annotator says of a sentence, as `CorrectionRecord` has it."""

    sentence_id: int
    who: str
    spans: list[list[Any]]
    types: list[str]
    revision: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TypeRecord:
    """An entity type of a session."""

    name: str
    definition: str
    color: str


@dataclass(frozen=True, slots=True)
class ExpertRecord:
    """An expert as it was when last seen in the pool."""

    name: str
    hash: str
    title: str
    card: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """`kind`: "similarity" or "probe". `value` None: could not be computed."""

    expert: str
    kind: str
    value: float | None
    low: float | None = None
    high: float | None = None
    support: int = 0
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """`kind`: "match", "predict" or "export"."""

    id: str
    kind: str
    merge_id: str | None
    corpus_revision: int
    types_revision: int
    params: dict[str, Any]
    details: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """A finished merge; `paths` are relative to the data folder."""

    id: str
    session_id: str
    label: str
    recipes: list[dict[str, Any]]
    paths: list[str]
    details: dict[str, Any]
    retained_energy: float
    corpus_revision: int
    types_revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewSpan:
    """A predicted span of a sentence, offsets relative to it."""

    sentence_id: int
    start: int
    end: int
    label: str
    score: float | None


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A predicted span, offsets relative to its sentence."""

    start: int
    end: int
    label: str
    score: float | None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """`state`: queued, running, done, failed or cancelled."""

    id: str
    session_id: str | None
    kind: str
    payload: dict[str, Any]
    state: str
    progress: float
    message: str
    eta_s: float | None
    result: dict[str, Any]
    what: str
    hint: str
    attempts: int
    cancel_requested: bool
    worker: str | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
