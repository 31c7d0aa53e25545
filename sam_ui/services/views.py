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
    """One person's piece of work. `token` opens it (URL ``?session=TOKEN``): it is a secret."""

    id: str
    token: str
    name: str
    created_at: datetime
    updated_at: datetime
    sentences: int = 0
    types: int = 0


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
    training: str
    """How it was trained, one plain sentence."""
    bundled: bool


@dataclass(frozen=True, slots=True)
class ExpertScore:
    """A row of "Which experts fit your texts?".

    Attributes:
        similarity: cosine in [-1, 1] of the mean sentence embeddings.
        f1, low, high: probe micro F1 and its 95 % interval; None where nothing could be scored.
        support: spans that the F1 rests on.
        enough: False means "too few spans to tell": do not show the number.
        per_type: F1 by type, None where the type never occurred.
        weight: recommended weight in the single merge, 0 when not recommended.
        by_similarity, by_probe: among the top k of that criterion.
        nearest: the expert's own training sentences nearest to the session's texts.
        probe_state: whether it read all probe sentences ("done"), was stopped early among the
            worse half of a large pool ("stopped"; the scores are those of the sentences that it
            read), or was not probed ("none").
        note: why the probe is not complete, in plain words ("stopped after 4 of 10 sentences").
    """

    name: str
    title: str
    domain: str
    similarity: float
    f1: float | None
    low: float | None
    high: float | None
    support: int
    enough: bool
    per_type: Mapping[str, float | None]
    weight: float
    by_similarity: bool
    by_probe: bool
    nearest: tuple[str, ...] = ()
    info: ExpertInfo | None = None
    """None when the expert has left the pool since."""
    probe_state: Literal["done", "stopped", "none"] = "done"
    note: str = ""

    @property
    def recommended(self) -> bool:
        return self.weight > 0


@dataclass(frozen=True, slots=True)
class MapExpert:
    """An expert's exemplars on the map."""

    name: str
    title: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class MapView:
    """The map "Where do your texts lie?": 2-D points (same axes) of the session's sentences and of
    each expert's exemplars. `texts` is parallel to `points`.
    """

    points: tuple[tuple[float, float], ...]
    texts: tuple[str, ...]
    experts: tuple[MapExpert, ...]


@dataclass(frozen=True, slots=True)
class ProbeSentence:
    """A sampled sentence and what each expert that read it found (`answers`: name -> spans)."""

    sentence_id: int | None
    text: str
    answers: Mapping[str, tuple[Span, ...]]
    gold: tuple[Span, ...] | None = None


@dataclass(frozen=True, slots=True)
class MatchView:
    """The result of a match run. `experts` is sorted: recommended first, then those that were
    probed, each by similarity.

    Attributes:
        stale: texts, types or the experts of the pool have changed since.
        summary: the plain sentence above the screen; expert titles stand between asterisks
            (Markdown emphasis).
        single, by_similarity, by_probe: expert name -> weight; each sums to 1.
        types: the type names that were asked.
    """

    run_id: str
    created_at: datetime
    stale: bool
    samples: int
    k: int
    seed: int
    types: tuple[str, ...]
    experts: tuple[ExpertScore, ...]
    probe: tuple[ProbeSentence, ...]
    map: MapView
    single: Mapping[str, float]
    by_similarity: Mapping[str, float]
    by_probe: Mapping[str, float]
    summary: str


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
    """Long work. `kind`: "match" | "merge" | "predict" | "merge_and_predict".

    Attributes:
        progress: 0..1.
        message: what it is doing, as shown in the job strip ("Probing expert 4 of 12").
        eta_s: seconds left, None while unknown.
        what, hint: why it failed and what to do next (state "failed" only).
        result: ids of what it made: {"run_id"} or {"merge_id", ...}.
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

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def line(self) -> str:
        """The job strip: "Probing expert 4 of 12 · about 20 s left"."""
        if self.state == "queued":
            return self.message or "Waiting for its turn"
        if self.eta_s is None or self.state != "running":
            return self.message
        if self.eta_s >= 90:
            return f"{self.message} · about {round(self.eta_s / 60)} min left"
        return f"{self.message} · about {max(1, round(self.eta_s))} s left"


@dataclass(frozen=True, slots=True)
class BaseInfo:
    """The base model's name, and the notice to show beside it ("" when none is needed)."""

    name: str
    notice: str
