"""How good the merges of the past are: by the truth where it is known, else by the experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.records import RunRecord, SpanRecord
from experts.spans import Span
from sam_ui.services.corrections import usable
from sam_ui.services.learning_kept import honest_score, trained_on
from sam_ui.services.recent import Recent
from sam_ui.services.store import Store, spans_of, unpack_spans

if TYPE_CHECKING:
    from experts.evaluate import Score

__all__ = ["Agreement", "MergeScore", "MergeScores"]

MOST = 2000
"""Sentences with known entities that a score is computed from, spread over the texts."""

Truth = Mapping[int, tuple[tuple[Span, ...], frozenset[str]]]
"""Sentence → what there is to find in it, and the types that are known of it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Mean F1 in [0, 1] between a merge and each expert that was probed, on the probe sentences."""

    f1: float
    sentences: int
    experts: int


@dataclass(frozen=True, slots=True)
class MergeScore:
    """What is known of a merge that has read the texts.

    Attributes:
        entities: how many it found in all texts.
        truth: strict span scores on `sentences` sentences; None where nothing is known of any.
        agreement: instead, how far it says what the experts say; None without a match of the types.
    """

    entities: int
    truth: Score | None = None
    sentences: int = 0
    agreement: Agreement | None = None


class MergeScores:
    """Scores of a session's merges, remembered until something that they rest on changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: Recent[tuple[object, ...], MergeScore] = Recent(256)

    def of(self, session_id: str) -> dict[str, MergeScore]:
        """Merge → its score; those that have read nothing are left out."""
        runs = self._store.history.predictions(session_id)
        if not runs:
            return {}
        session = self._store.session(session_id)
        corrections = self._store.corrections.list(session_id)
        match = self._store.latest_match(session_id)
        rests_on = (
            session.corpus_revision,
            session.types_revision,
            len(corrections),
            max((c.updated_at for c in corrections), default=None),
            match.id if match else None,
        )
        totals = self._store.history.totals(session_id)
        truth: Truth | None = None
        scores = {}
        for merge_id, run_id in runs.items():

            def make(merge_id: str = merge_id) -> MergeScore:
                nonlocal truth
                if truth is None:
                    truth = self._truth(session_id)
                return self._score(session_id, merge_id, totals.get(merge_id, 0), truth, match)

            scores[merge_id] = self._recent.get((run_id, *rests_on), make)
        return scores

    def _score(
        self, session_id: str, merge_id: str, entities: int, truth: Truth, match: RunRecord | None
    ) -> MergeScore:
        from experts.evaluate import Score, evaluate

        record = self._store.merges.get(session_id, merge_id)
        learned = trained_on(record) if record is not None else frozenset()
        truth = {ident: known for ident, known in truth.items() if ident not in learned}
        if truth or learned:
            found = self._store.history.found(session_id, merge_id, list(truth))
            said = [_of_types(found.get(ident, ()), known) for ident, (_, known) in truth.items()]
            micro = evaluate([list(spans) for spans, _ in truth.values()], said).micro
            if record is not None and learned:
                # As it did on those before it learned from them.
                unseen, count = honest_score(record)
                micro = Score(micro.tp + unseen.tp, micro.fp + unseen.fp, micro.fn + unseen.fn)
                return MergeScore(entities, micro, len(truth) + count)
            return MergeScore(entities, micro, len(truth))
        return MergeScore(entities, agreement=self._agreement(session_id, merge_id, match))

    def _truth(self, session_id: str) -> Truth:
        """Corrections of people; elsewhere what came with the texts."""
        types = [t.name for t in self._store.types.list(session_id)]
        asked = frozenset(types)
        truth: dict[int, tuple[tuple[Span, ...], frozenset[str]]] = {}
        if self._store.corpus.annotated(session_id):
            rows = [s for s in self._store.corpus.sentences(session_id) if s.gold is not None]
            gold = {row.id: unpack_spans(row.gold or ()) for row in rows}
            # Of a type that never occurs in it, an annotated file says nothing.
            known = asked & {span.label for spans in gold.values() for span in spans}
            if known:
                for ident, spans in gold.items():
                    truth[ident] = (tuple(s for s in spans if s.label in known), known)
        for correction in self._store.corrections.list(session_id):
            said = usable(correction, types)
            if said is not None:
                truth[correction.sentence_id] = (said, asked)
        step = max(1.0, len(truth) / MOST)
        ids = sorted(truth)
        return {ids[i]: truth[ids[i]] for i in (int(n * step) for n in range(min(MOST, len(ids))))}

    def _agreement(
        self, session_id: str, merge_id: str, match: RunRecord | None
    ) -> Agreement | None:
        from experts.evaluate import micro_f1

        types = [t.name for t in self._store.types.list(session_id)]
        if match is None or list(match.params["types"]) != types:
            return None
        ids = [ident for ident, *_ in match.details["probe"]]
        present = self._store.corrections.of(session_id, ids)
        found = self._store.history.found(session_id, merge_id, ids)
        scores = []
        for score in self._store.runs.scores(session_id, match.id):
            answers = score.details.get("answers") if score.kind == "probe" else None
            if not answers or any(spans is None for spans in answers):
                continue  # not probed, or stopped early
            pairs = [
                (unpack_spans(spans), spans_of(found.get(ident, ())))
                for ident, spans in zip(ids, answers, strict=True)
                if ident in present
            ]
            said = any(a or b for a, b in pairs)  # two that find nothing agree
            scores.append(
                micro_f1([list(a) for a, _ in pairs], [b for _, b in pairs]) if said else 1.0
            )
        if not scores:
            return None
        return Agreement(sum(scores) / len(scores), len(present), len(scores))


def _of_types(records: Sequence[SpanRecord], known: frozenset[str]) -> list[Span]:
    return [span for span in spans_of(records) if span.label in known]
