"""A match scored again against what the person has corrected since: its answers are kept, no model
is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db.records import RunRecord, ScoreRecord
from experts.probe import score_answers
from experts.select import recommend
from experts.spans import Span
from sam_ui.services.store import unpack_spans
from sam_ui.words import _, _n

__all__ = ["Found", "change_words", "found", "rescored"]

Truth = Sequence[tuple[Span, ...] | None]
"""For each probe sentence its true spans, None where nobody has said which they are."""


@dataclass(frozen=True)
class Found:
    """Scores and recommendation of a match.

    Attributes:
        probe: expert -> its score; those that were not probed are missing.
        single, by_similarity, by_probe: expert -> weight.
    """

    probe: Mapping[str, ScoreRecord]
    single: Mapping[str, float]
    by_similarity: Mapping[str, float]
    by_probe: Mapping[str, float]


def found(run: RunRecord, scores: Sequence[ScoreRecord]) -> Found:
    """As the match itself has found it."""
    probe = {score.expert: score for score in scores if score.kind == "probe"}
    return Found(
        probe, run.details["single"], run.details["by_similarity"], run.details["by_probe"]
    )


def rescored(run: RunRecord, scores: Sequence[ScoreRecord], truth: Truth) -> Found:
    """The same answers measured by `truth` where there is some; elsewhere as in the match."""
    before = found(run, scores)
    answers = {
        name: [None if spans is None else unpack_spans(spans) for spans in _answers(score)]
        for name, score in before.probe.items()
    }
    results = score_answers(answers, run.params["types"], truth, run.params["seed"])
    similarity = {s.expert: s.value or 0.0 for s in scores if s.kind == "similarity"}
    finished = {name: results[name] for name, read in answers.items() if None not in read}
    chosen = recommend(similarity, finished, run.params["k"])
    probe = {}
    for name, result in results.items():
        details = {
            "per_type": result.per_type,
            "enough": result.enough,
            "answers": _answers(before.probe[name]),
        }
        probe[name] = ScoreRecord(
            name, "probe", result.f1, result.low, result.high, result.support, details
        )
    return Found(probe, chosen.single, chosen.by_similarity, chosen.by_probe)


def _answers(score: ScoreRecord) -> list[list[list[object]] | None]:
    answers: list[list[list[object]] | None] = score.details["answers"]
    return answers


def change_words(
    before: Mapping[str, float], after: Mapping[str, float], titles: Mapping[str, str]
) -> str:
    """What corrections have changed in the recommendation, in a sentence; "" for nothing.

    Args:
        before, after: expert -> weight.
        titles: expert -> how it is called.

    Example:
        "Your corrections have changed the recommendation: *Law* has come in, *Lakes* has gone."
    """
    come = [f"*{titles.get(name, name)}*" for name in after if name not in before]
    gone = [f"*{titles.get(name, name)}*" for name in before if name not in after]
    parts = []
    if come:
        parts.append(
            _n("{names} has come in", "{names} have come in", len(come), names=_listed(come))
        )
    if gone:
        parts.append(_n("{names} has gone", "{names} have gone", len(gone), names=_listed(gone)))
    if parts:
        said = ", ".join(parts)
        return _("Your corrections have changed the recommendation: {changes}.", changes=said)
    if any(abs(after[name] - before[name]) >= 0.005 for name in after):
        return _("Your corrections have changed the recommended weights, not the experts.")
    return ""


def _listed(titles: Sequence[str]) -> str:
    if len(titles) == 1:
        return titles[0]
    return _("{first} and {second}", first=", ".join(titles[:-1]), second=titles[-1])
