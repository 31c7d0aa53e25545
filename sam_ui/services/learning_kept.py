"""What a merge that has learned from corrections keeps of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from db.records import MergeRecord
from experts.spans import Span

if TYPE_CHECKING:
    from experts.evaluate import Score

__all__ = ["honest_score", "learned_of", "thresholded", "trained_on"]


def learned_of(record: MergeRecord) -> Mapping[str, Any]:
    """What was learned (`sam_ui.services.learning_views.learned_view` reads it); {} for nothing."""
    learned: Mapping[str, Any] = record.details.get("learned") or {}
    return learned


def trained_on(record: MergeRecord) -> frozenset[int]:
    """Sentences that the merge has learned from: to be scored on them says nothing."""
    return frozenset(learned_of(record).get("sentence_ids") or ())


def honest_score(record: MergeRecord) -> tuple[Score, int]:
    """The score that learning has measured on sentences that had not been learned from, and of how
    many sentences it is.
    """
    from experts.evaluate import Score

    learned = learned_of(record)
    return Score(*learned["outcome"]["after"]["micro"]), len(learned["sentence_ids"])


def thresholded(record: MergeRecord, found: Sequence[Sequence[Span]]) -> list[list[Span]]:
    """What a merge finds, without what its thresholds leave out."""
    from experts.operating_point import keep

    return keep(found, learned_of(record).get("thresholds") or {})
