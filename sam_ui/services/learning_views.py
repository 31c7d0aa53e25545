"""What the interface reads of learning: plain frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from experts.evaluate import Report, Score
from experts.spans import Example, Span
from sam_ui.services.engine_learning import How
from sam_ui.services.views import JobView

if TYPE_CHECKING:
    from experts.learning_outcome import Outcome

__all__ = [
    "Corrected",
    "LearnView",
    "LearnedView",
    "TypeChange",
    "learned_view",
    "packed_outcome",
]


@dataclass(frozen=True, slots=True)
class TypeChange:
    """Strict scores of a type before and after."""

    name: str
    before: Score
    after: Score


@dataclass(frozen=True, slots=True)
class LearnedView:
    """What learning has brought: each corrected sentence was read by a model that had not learned
    from it.

    Attributes:
        id: of the candidate; the merge that is made of it has the same.
        how: "train", "weights" or "thresholds".
        merge_id, merge_label: where it went on from.
        sentences, entities: that it has learned from.
        before, after: over all types; `types` each alone, those that occur.
        gain: change of micro F1, `interval` 95 % of it.
        enough: there was enough to tell; `better`: the gain is more than chance makes.
        changed: the model is other than before; if not, nothing helped.
        weights: expert -> weight, where these were chosen.
        thresholds: type -> least probability of what is kept, where these were chosen.
        seconds: how long it took.
    """

    id: str
    how: How
    merge_id: str
    merge_label: str
    sentences: int
    entities: int
    before: Score
    after: Score
    types: tuple[TypeChange, ...]
    gain: float
    interval: tuple[float, float]
    enough: bool
    better: bool
    changed: bool
    seconds: float
    at: datetime
    weights: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LearnView:
    """All that the card shows.

    Attributes:
        sentences, entities: corrected ones that can be learned from.
        fewest: sentences with which learning starts.
        unfit: corrected sentences that cannot be learned from: types were added since, or they were
            accepted together with others and nobody has read them.
        merge_id, merge_label: what would learn; None where there is no merge.
        seconds: way -> about how long it would take; a way that is not open is missing.
        why_not: way -> why it is not open.
        job: of the kind "learn" or "publish": running, failed or stopped; None after it is done.
        candidate: a result that waits to be kept or discarded.
        fresh: corrected sentences that are not among those that the candidate has learned from.
        kept: what was kept last, while its merge is there.
        predicted: the kept merge has read the texts.
        discarded: id of what was discarded last, while it can be brought back.
        published: name of the expert that the kept merge has become, "" before.
        why_not_publish: why the kept merge cannot become an expert, "" where it can.
    """

    sentences: int
    entities: int
    fewest: int
    unfit: int
    merge_id: str | None
    merge_label: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)
    job: JobView | None = None
    candidate: LearnedView | None = None
    fresh: int = 0
    kept: LearnedView | None = None
    predicted: bool = False
    discarded: str = ""
    published: str = ""
    why_not_publish: str = ""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A sentence to learn from; spans sorted, of the session's types."""

    id: int
    text: str
    spans: tuple[Span, ...]

    @property
    def example(self) -> Example:
        return Example(self.text, self.spans)


def packed_outcome(outcome: Outcome) -> dict[str, Any]:
    """Ready for JSON; `learned_view` reads it."""
    return {
        "before": _counts(outcome.before),
        "after": _counts(outcome.after),
        "gain": round(outcome.gain, 4),
        "interval": [round(value, 4) for value in outcome.interval],
        "enough": outcome.enough,
        "better": outcome.better,
    }


def learned_view(kept: Mapping[str, Any]) -> LearnedView:
    """From what is stored."""
    outcome = kept["outcome"]
    before, after = outcome["before"], outcome["after"]
    names = list(dict.fromkeys([*before["types"], *after["types"]]))
    return LearnedView(
        id=kept["id"],
        how=kept["how"],
        merge_id=kept["merge_id"],
        merge_label=kept["merge_label"],
        sentences=len(kept["sentence_ids"]),
        entities=kept["entities"],
        before=Score(*before["micro"]),
        after=Score(*after["micro"]),
        types=tuple(
            TypeChange(name, _score(before["types"].get(name)), _score(after["types"].get(name)))
            for name in sorted(names)
        ),
        gain=outcome["gain"],
        interval=(outcome["interval"][0], outcome["interval"][1]),
        enough=outcome["enough"],
        better=outcome["better"],
        changed=kept["changed"],
        seconds=kept["seconds"],
        at=datetime.fromisoformat(kept["at"]),
        weights=kept["weights"],
        thresholds=kept["thresholds"],
    )


def _counts(report: Report) -> dict[str, Any]:
    types = {n: [s.tp, s.fp, s.fn] for n, s in report.per_type.items()}
    micro = report.micro
    return {"micro": [micro.tp, micro.fp, micro.fn], "types": types}


def _score(counts: Sequence[int] | None) -> Score:
    return Score(*counts) if counts else Score(0, 0, 0)
