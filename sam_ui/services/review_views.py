"""What the interface reads of a review: plain frozen dataclasses.

Offsets of every `Span` are code points relative to the text of its sentence, half-open. Times are
timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from experts.evaluate import Score
from experts.scoring import Categories
from experts.spans import Span
from sam_ui.services.views import SentenceRow

__all__ = [
    "REVIEWED",
    "AcceptPreview",
    "Action",
    "BulkChange",
    "Conflict",
    "ErrorKind",
    "Estimate",
    "EventInfo",
    "IdenticalMention",
    "Order",
    "ReviewError",
    "ReviewQueue",
    "ReviewScores",
    "ReviewSentence",
    "Saved",
    "Status",
    "StatusFilter",
]

Status = Literal["open", "accepted", "changed", "skipped"]
StatusFilter = Literal["open", "reviewed", "skipped", "accepted", "changed", "again"]
Order = Literal["doubt", "position", "random", "diverse"]
Action = Literal["edit", "accept", "skip", "undo", "redo", "apply_all"]
ErrorKind = Literal["missed", "wrong", "type", "boundary"]

REVIEWED = ("accepted", "changed")
"""The statuses of sentences that have a correction."""


@dataclass(frozen=True, slots=True)
class ReviewSentence:
    """A sentence in the editor.

    Attributes:
        spans: those of the correction when there is one, else those predicted. A span that was
            predicted has the model's score, one that a person has added has none.
        predicted: what the model has found, of the session's types.
        revision: the number of the sentence's last event, 0 without any; goes back with `put`.
        who: whose event that was, "" where it is not known.
        doubt: in [0, 1], the higher the sooner it should be looked at.
        why: where that comes from, in plain words: "least sure: “Bled” as place, 41 %".
        voters: "start:end:type" -> titles of the experts that found it in the probe; empty where
            the sentence was not probed.
        bulk: accepted or changed together with others; nobody has read it.
        unasked: types that were added after it was reviewed: of these it says nothing until it is
            looked at again.
    """

    sentence: SentenceRow
    spans: tuple[Span, ...]
    predicted: tuple[Span, ...]
    status: Status
    revision: int
    who: str
    updated_at: datetime | None
    doubt: float
    why: str
    voters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bulk: bool = False
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewQueue:
    """Sentences to be looked at.

    Attributes:
        ids: of the sentences, in order, 5,000 at most.
        total: how many pass the filters.
        reviewed, skipped, sentences: of the whole session, whatever the filters.
    """

    ids: tuple[int, ...]
    total: int
    reviewed: int
    skipped: int
    sentences: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """What somebody else has said of the sentence meanwhile."""

    who: str
    at: datetime
    spans: tuple[Span, ...]
    revision: int
    status: Status = "changed"


@dataclass(frozen=True, slots=True)
class Saved:
    """An action that was kept; with a `conflict` it was not, and `revision` and `status` are those
    of what somebody else has said.
    """

    revision: int
    status: Status
    conflict: Conflict | None = None


@dataclass(frozen=True, slots=True)
class EventInfo:
    """One action in the history of a sentence. The statuses tell what the spans were: of an open
    sentence those predicted.
    """

    who: str
    at: datetime
    action: str
    before: tuple[Span, ...]
    after: tuple[Span, ...]
    revision: int
    status_before: Status
    status_after: Status


@dataclass(frozen=True, slots=True)
class IdenticalMention:
    """The same words in the texts; `has`: the type of a span that is there now, None without."""

    sentence_id: int
    position: int
    text: str
    start: int
    end: int
    has: str | None


@dataclass(frozen=True, slots=True)
class BulkChange:
    """Sentences changed at once. `id`: what `undo_bulk` takes, "" where nothing was changed;
    `skipped`: those that were left as they are.
    """

    id: str
    changed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class AcceptPreview:
    """What accepting above a threshold would accept; `examples`: the least sure of them."""

    sentences: int
    spans: int
    examples: tuple[ReviewSentence, ...]


@dataclass(frozen=True, slots=True)
class ReviewError:
    """A difference between what a merge found and what is right.

    Attributes:
        kind: "missed" and "wrong" have one span only; "type": there is an entity, of another type;
            "boundary": the type is right, where it begins or ends is not.
        text: of the sentence.
    """

    sentence_id: int
    position: int
    kind: ErrorKind
    true: Span | None
    found: Span | None
    text: str


@dataclass(frozen=True, slots=True)
class ReviewScores:
    """What a merge had found in the sentences that somebody has read, against what is right there.

    Attributes:
        merge_id: None where nothing has been predicted: all scores are empty then.
        sentences: that were read and are compared.
        bulk: sentences accepted or changed in bulk, which are left out: nobody has read them.
        learned: sentences that the merge has learned from, which are left out: it knows the answers.
        strict: offsets and type are right.
        boundary: the offsets are right, whatever the type.
        type_only: the type is right and the spans share a character.
        partial: as `boundary`, and a span that only overlaps counts half.
        standard: of whole words, as CoNLL counts (seqeval).
        per_type: strict, by type, in the session's order.
        confusion: (true type, found type) -> number; "" stands for nothing.
        errors: in the order of the texts.
    """

    merge_id: str | None
    sentences: int
    bulk: int
    learned: int
    strict: Score
    boundary: Categories
    type_only: Categories
    partial: Categories
    standard: Score
    per_type: Mapping[str, Score]
    confusion: Mapping[tuple[str, str], int]
    errors: tuple[ReviewError, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """F1 to be expected on the sentences that nobody has read.

    Attributes:
        f1, low, high: in [0, 1], with the 95 % interval; nothing to show unless `enough`.
        sentences_reviewed, spans: read sentences and true spans that it rests on.
        enough: whether these are enough to say anything.
        biased: they were not chosen at random: read the doubtful ones first, and the rest is likely
            to be better.
        bulk, learned: sentences accepted in bulk, and those that the merge has learned from; both
            prove nothing and are left out.
    """

    f1: float
    low: float
    high: float
    sentences_reviewed: int
    spans: int
    enough: bool
    biased: bool = False
    bulk: int = 0
    learned: int = 0
