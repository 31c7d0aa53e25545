"""What the interface reads of a match; `sam_ui.services.views` gives it with the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from experts.spans import Span

if TYPE_CHECKING:
    from sam_ui.services.views import ExpertInfo

__all__ = ["ExpertScore", "MapExpert", "MapView", "MatchView", "NearPair", "ProbeSentence"]


@dataclass(frozen=True, slots=True)
class NearPair:
    """A sentence of the session, the expert's training sentence nearest to it, and their cosine."""

    mine: str
    theirs: str
    cosine: float


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
        sentences, corrected: probe sentences that it read, and how many of them were corrected.
        pairs: nearest pairs of a sentence of the session and one that it was trained on.
        shared: the types of the session that it was trained on.
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
    sentences: int = 0
    corrected: int = 0
    pairs: tuple[NearPair, ...] = ()
    shared: tuple[str, ...] = ()

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
    each expert's exemplars. `texts` is parallel to `points`, which are some of `total` sentences.
    """

    points: tuple[tuple[float, float], ...]
    texts: tuple[str, ...]
    experts: tuple[MapExpert, ...]
    total: int = 0


@dataclass(frozen=True, slots=True)
class ProbeSentence:
    """A sampled sentence and what each expert that read it found (`answers`: name -> spans).

    Attributes:
        gold: what the file said of it.
        correction: what the person said of it.
        unasked: types that have been added since that correction: it does not count until it is
            looked at again.
        present: the session still has this sentence, so that it can be corrected.
    """

    sentence_id: int | None
    text: str
    answers: Mapping[str, tuple[Span, ...]]
    gold: tuple[Span, ...] | None = None
    correction: tuple[Span, ...] | None = None
    unasked: tuple[str, ...] = ()
    present: bool = True


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
        corrected: probe sentences whose corrections the scores rest on.
        change: what these have changed in the recommendation, a plain sentence; "" without any.
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
    corrected: int = 0
    change: str = ""
