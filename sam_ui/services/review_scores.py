"""How good a merge is, by what people say of the sentences that they have read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from db.records import ReadSentence
from experts.evaluate import evaluate, f1_counts, ratio_interval
from experts.scoring import (
    Difference,
    boundary_scores,
    confusion,
    differences,
    partial_scores,
    type_scores,
    word_scores,
)
from experts.spans import Span
from sam_ui.services.learning_kept import trained_on
from sam_ui.services.review_saving import ReviewSaving
from sam_ui.services.review_views import Estimate, ReviewError, ReviewScores
from sam_ui.services.store import Store, unpack_spans

__all__ = ["ENOUGH_SENTENCES", "ENOUGH_SPANS", "ReviewScoring"]

ENOUGH_SENTENCES = 10
ENOUGH_SPANS = 20
"""With less, an interval covers half of what is possible, and says so too seldom."""


@dataclass(frozen=True, slots=True)
class _Compared:
    """Sentences that were read: what is right in them and what the merge had found, of the types
    that were looked for.
    """

    rows: Sequence[ReadSentence]
    true: Sequence[Sequence[Span]]
    found: Sequence[Sequence[Span]]
    bulk: int
    learned: int


class ReviewScoring:
    """Scores of a session."""

    def __init__(self, store: Store, saving: ReviewSaving) -> None:
        self._store = store
        self._saving = saving

    def scores(self, session_id: str, merge_id: str | None) -> ReviewScores:
        """As in `ReviewService`."""
        self._store.session(session_id)
        merge_id = self._saving.merge_id(session_id, merge_id)
        read = self._compared(session_id, merge_id)
        report = evaluate(read.true, read.found)
        types = [name for name in self._saving.types(session_id) if name in report.per_type]
        told = [differences(*pair) for pair in zip(read.true, read.found, strict=True)]
        return ReviewScores(
            merge_id=merge_id,
            sentences=len(read.rows),
            bulk=read.bulk,
            learned=read.learned,
            strict=report.micro,
            boundary=boundary_scores(read.true, read.found),
            type_only=type_scores(read.true, read.found),
            partial=partial_scores(read.true, read.found),
            standard=word_scores([row.text for row in read.rows], read.true, read.found),
            per_type={name: report.per_type[name] for name in types},
            confusion=confusion([d for differing in told for d in differing]),
            errors=tuple(
                error
                for row, differing in zip(read.rows, told, strict=True)
                for d in differing
                if (error := _error(row, d)) is not None
            ),
        )

    def estimate(self, session_id: str, merge_id: str | None) -> Estimate:
        """As in `ReviewService`: from those read in random order if these are enough, else from
        all, which is biased.
        """
        self._store.session(session_id)
        read = self._compared(session_id, self._saving.merge_id(session_id, merge_id))
        pairs = list(zip(read.true, read.found, strict=True))
        random = [
            pair for row, pair in zip(read.rows, pairs, strict=True) if row.picked == "random"
        ]
        biased = not _enough(random)
        sample = pairs if biased else random
        counts = f1_counts([true for true, _ in sample], [found for _, found in sample])
        right, total = (sum(count[i] for count in counts) for i in (0, 1))
        low, high = ratio_interval(counts)
        return Estimate(
            f1=right / total if total else 0.0,
            low=low,
            high=high,
            sentences_reviewed=len(sample),
            spans=sum(len(true) for true, _ in sample),
            enough=_enough(sample),
            biased=biased and len(random) < len(pairs),
            bulk=read.bulk,
            learned=read.learned,
        )

    def _compared(self, session_id: str, merge_id: str | None) -> _Compared:
        bulk, merge = self._store.reviews.unread(session_id), None
        if merge_id is not None:
            merge = self._store.merge(session_id, merge_id)
        if merge is None:
            return _Compared((), (), (), bulk, 0)
        known, learned = self._saving.types(session_id), trained_on(merge)
        read = self._store.reviews.read(session_id)
        rows = [row for row in read if row.id not in learned]
        found = self._saving.found(session_id, merge.id, [row.id for row in rows])
        return _Compared(
            rows=rows,
            true=[_among(unpack_spans(row.spans), row.types, known) for row in rows],
            found=[_among(found.get(row.id, ()), row.types, known) for row in rows],
            bulk=bulk,
            learned=len(read) - len(rows),
        )


def _among(spans: Sequence[Span], types: Sequence[str], known: Sequence[str]) -> list[Span]:
    return [span for span in spans if span.label in types and span.label in known]


def _enough(sample: Sequence[tuple[Sequence[Span], Sequence[Span]]]) -> bool:
    spans = sum(len(true) for true, _ in sample)
    return len(sample) >= ENOUGH_SENTENCES and spans >= ENOUGH_SPANS


def _error(row: ReadSentence, difference: Difference) -> ReviewError | None:
    if difference.kind == "right":
        return None
    return ReviewError(
        row.id, row.position, difference.kind, difference.true, difference.found, row.text
    )
