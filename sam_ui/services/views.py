"""What the interface reads: plain frozen dataclasses, no database rows, no model objects.

Offsets of every `Span` here are code points relative to the text of its sentence, half-open.
Times are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from experts.corpus import EntityType, FileReport
from experts.spans import Span
from sam_ui.services.match_views import (
    ExpertScore,
    MapExpert,
    MapView,
    MatchView,
    NearPair,
    ProbeSentence,
)
from sam_ui.words import Later, _

__all__ = [
    "STEPS",
    "BaseInfo",
    "CorpusCounts",
    "EntityType",
    "ExpertInfo",
    "ExpertScore",
    "FileInfo",
    "FileReport",
    "JobState",
    "JobView",
    "MapExpert",
    "MapView",
    "MatchView",
    "MergeInfo",
    "NearPair",
    "PredictionPage",
    "PredictionRow",
    "ProbeSentence",
    "SentencePage",
    "SentenceRow",
    "SessionInfo",
    "Span",
    "StepState",
    "TypeInfo",
    "TypeSuggestion",
]

StepState = Literal["todo", "running", "done", "stale"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]

STEPS = ("upload", "match", "merge", "review", "share")
"""The steps in their order; the keys of `Services.state`."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One person's piece of work, as the link shows it that opened it.

    Attributes:
        token: of that link (URL ``?s=TOKEN``), a secret; "" when it was found by its id.
        view_only: the link is for looking.
        link_id: of that link.
    """

    id: str
    token: str
    name: str
    created_at: datetime
    updated_at: datetime
    sentences: int = 0
    types: int = 0
    view_only: bool = False
    link_id: str = ""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One uploaded file or pasted text, as listed below the drop zone.

    Attributes:
        sentences: sentences kept, `duplicates` not among them.
        duplicates: repeated sentences left out, within the file and of other files.
        notes: plain sentences about what was odd in it ("2 rows without text were left out").
    """

    id: int
    name: str
    format: str
    encoding: str | None
    documents: int
    sentences: int
    duplicates: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SentenceRow:
    """A sentence of the session. `gold` is what an annotated file said of it, None when nothing."""

    id: int
    position: int
    text: str
    document: str
    gold: tuple[Span, ...] | None = None


@dataclass(frozen=True, slots=True)
class SentencePage:
    """`total` counts all rows that match the search, not only those on this page."""

    rows: tuple[SentenceRow, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class CorpusCounts:
    """How much a session holds."""

    files: int
    documents: int
    sentences: int
    duplicates: int
    annotated: int
    """Sentences that came with entities (`SentenceRow.gold`)."""


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """An entity type of the session with its fixed palette colour (``#rrggbb``, for a background
    behind dark text).
    """

    name: str
    definition: str
    color: str


@dataclass(frozen=True, slots=True)
class TypeSuggestion:
    """A type that experts of the pool know and the session does not have yet."""

    name: str
    definition: str
    experts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpertInfo:
    """An expert of the pool, from its card."""

    name: str
    title: str
    domain: str
    description: str
    types: tuple[str, ...]
    licence: str
    data: tuple[str, ...]
    """One line a corpus: "WikiGold (CC-BY-4.0), 1,500 sentences"."""
    base_model: str
    rank: int
    dev_f1: float | None
    training: str | Later
    """How it was trained, one plain sentence."""
    bundled: bool
    corpora: tuple[Later, ...] = ()
    """`data` to be shown, in the language of whoever reads it."""


@dataclass(frozen=True, slots=True)
class MergeInfo:
    """A line of the history of merges.

    Attributes:
        recipes: one recipe (single) or two (dual: similarity, probe), as JSON-ready dicts.
        weights: expert name -> weight as the person set them.
        retained_energy: share in [0, 1] of the merged update kept at the rank (the lowest of
            the adapters when dual).
        stale: texts, types or match have changed since.
        predicted: predictions of it over the corpus exist.
        found: for each recipe the weights that its result is made with, which a method may have
            settled itself; empty where the method does not weigh whole experts.
        layerwise: these are means, the weights differ between layers.
        note: what a method that learns says of its result.
    """

    id: str
    label: str
    created_at: datetime
    method: str
    parameters: Mapping[str, Any]
    rank: int | None
    dual: bool
    weights: Mapping[str, float]
    recipes: tuple[Mapping[str, Any], ...]
    retained_energy: float
    seconds: float
    stale: bool
    predicted: bool
    found: tuple[Mapping[str, float], ...] = ()
    layerwise: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """A sentence with what was found in it."""

    sentence: SentenceRow
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class PredictionPage:
    """`total` counts the rows that pass the filters; `counts` spans by type over the whole corpus
    (types with none included, in palette order).
    """

    merge_id: str
    rows: tuple[PredictionRow, ...]
    total: int
    offset: int
    limit: int
    counts: Mapping[str, int]
    stale: bool


@dataclass(frozen=True, slots=True)
class JobView:
    """Long work. `kind`: one of `sam_ui.jobs.handlers.HANDLERS`.

    Attributes:
        progress: 0..1.
        message: what it is doing, as shown in the job strip ("Probing expert 4 of 12").
        eta_s: seconds left, None while unknown.
        what, hint: why it failed and what to do next (state "failed" only).
        result: ids of what it made: {"run_id"} or {"merge_id", ...}.
        stopping: asked to stop, and about to.
        interrupted: its worker stopped in the middle of it; it goes on from there.
        ahead: longer jobs that come before it, while it is queued.
        wait_s: seconds that these are likely to take, None while unknown.
    """

    id: str
    kind: str
    state: JobState
    progress: float
    message: str
    eta_s: float | None
    what: str
    hint: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    stopping: bool = False
    interrupted: bool = False
    ahead: int = 0
    wait_s: float | None = None

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def line(self) -> str:
        """The job strip: "Probing expert 4 of 12 · about 20 s left"."""
        if self.state == "queued":
            return self.message or _("Waiting for its turn")
        if self.eta_s is None or self.state != "running":
            return self.message
        doing = self.message
        if self.eta_s >= 90:
            return _("{doing} · about {n} min left", doing=doing, n=round(self.eta_s / 60))
        return _("{doing} · about {n} s left", doing=doing, n=max(1, round(self.eta_s)))


@dataclass(frozen=True, slots=True)
class BaseInfo:
    """The base model's name, and the notice to show beside it ("" when none is needed)."""

    name: str
    notice: str
