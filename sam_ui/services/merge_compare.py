"""Two merges side by side: what differs in how they were made, and in what they find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.records import MergeRecord, SentenceRecord
from experts.errors import SamError
from experts.spans import Span
from sam_ui.services.merge_scores import MergeScore, MergeScores
from sam_ui.services.store import Store, pack_spans, spans_of, unpack_spans

__all__ = ["KIND", "ComparedSentence", "MergeComparison", "MergeComparisons", "Side"]

KIND = "compare"
KEY = "compared"
SHOWN = 5
READ = 6
"""Sentences that a merge reads for a comparison if it has not read all texts."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two merges.

    Attributes:
        weights: expert -> weight as the person set them.
        complete: it has read all texts.
        score: None where it has not.
    """

    id: str
    label: str
    weights: Mapping[str, float]
    method: str
    parameters: Mapping[str, Any]
    rank: int | None
    dual: bool
    complete: bool
    score: MergeScore | None


@dataclass(frozen=True, slots=True)
class ComparedSentence:
    """What each finds in a sentence; `only_first` and `only_second` are what the other does not."""

    id: int
    position: int
    text: str
    first: tuple[Span, ...]
    second: tuple[Span, ...]
    only_first: tuple[Span, ...]
    only_second: tuple[Span, ...]

    @property
    def same(self) -> bool:
        return not self.only_first and not self.only_second


@dataclass(frozen=True, slots=True)
class MergeComparison:
    """Two merges over the same sentences.

    Attributes:
        total: sentences that both have read; `differing` of them are read differently.
        both, only_first, only_second: entities that both or only one of them found there.
        sentences: some of those that differ, or of all where none does.
        offset: of `sentences` among these.
        lacking: ids of merges that have to read some sentences first.
        other_types: they were not asked for the same types, or not for those of now.
    """

    first: Side
    second: Side
    total: int
    differing: int
    both: int
    only_first: int
    only_second: int
    sentences: tuple[ComparedSentence, ...]
    offset: int
    lacking: tuple[str, ...]
    other_types: bool


class MergeComparisons:
    """Comparisons of the merges of a session. Stored predictions are enough where both merges have
    read all texts; else those that have not read a few sentences first.
    """

    def __init__(self, store: Store, scores: MergeScores) -> None:
        self._store = store
        self._scores = scores

    def view(self, session_id: str, first: str, second: str, *, offset: int = 0) -> MergeComparison:
        """Compare two merges.

        Args:
            offset: which of the sentences to show; beyond the last it begins anew.

        Raises:
            SamError: one of the merges is gone.
        """
        records = [self._merge(session_id, ident) for ident in (first, second)]
        scores = self._scores.of(session_id)
        runs = {
            r.id: self._store.runs.latest(session_id, "predict", merge_id=r.id) for r in records
        }
        complete = all(runs.values())
        sentences = self._sentences(session_id, all_of_them=complete)
        read = [
            self._read(session_id, r.id, sentences, complete=runs[r.id] is not None)
            for r in records
        ]
        lacking = tuple(r.id for r, found in zip(records, read, strict=True) if found is None)
        rows = [] if lacking else _rows(sentences, read[0] or {}, read[1] or {})
        differing = [row for row in rows if not row.same]
        shown = differing or rows
        offset = offset // SHOWN * SHOWN if 0 <= offset < len(shown) else 0
        now = self._store.session(session_id).types_revision
        sides = [_side(r, scores.get(r.id), complete=runs[r.id] is not None) for r in records]
        return MergeComparison(
            first=sides[0],
            second=sides[1],
            total=len(rows),
            differing=len(differing),
            both=sum(len(row.first) - len(row.only_first) for row in rows),
            only_first=sum(len(row.only_first) for row in rows),
            only_second=sum(len(row.only_second) for row in rows),
            sentences=tuple(shown[offset : offset + SHOWN]),
            offset=offset,
            lacking=lacking,
            other_types=any(run is not None and run.types_revision != now for run in runs.values()),
        )

    def start(self, session_id: str, merge_ids: Sequence[str]) -> str:
        """Queue the reading of a few sentences by merges that have not read them.

        Returns:
            The id of the job.

        Raises:
            SamError: there are no texts or types, or a merge or its files are gone.
        """
        types = [t.name for t in self._store.types.list(session_id)]
        sentences = self._sentences(session_id, all_of_them=False)
        if not sentences or not types:
            raise SamError("There are no texts or types to compare on.", "Add both in step 1.")
        for ident in merge_ids:
            self._store.adapter_paths(self._merge(session_id, ident))
        payload = {
            "merges": list(merge_ids),
            "sentences": [[s.id, s.text] for s in sentences],
            "types": types,
        }
        return self._store.queue.submit(session_id, KIND, payload)

    def running(self, session_id: str) -> bool:
        """Whether merges are reading for a comparison."""
        return any(job.kind == KIND for job in self._store.queue.active(session_id))

    def store(
        self,
        session_id: str,
        payload: Mapping[str, Any],
        found: Mapping[str, Sequence[Sequence[Span]]],
    ) -> None:
        """Keep what merges (id -> spans by sentence) have read."""
        kept = self._store.session(session_id).settings.get(KEY) or {}
        alive = {merge.id for merge in self._store.merges.list(session_id)}
        kept = {ident: value for ident, value in kept.items() if ident in alive}
        for ident, answers in found.items():
            kept[ident] = {
                "types": list(payload["types"]),
                "sentences": [
                    [sentence, text, pack_spans(spans)]
                    for (sentence, text), spans in zip(payload["sentences"], answers, strict=True)
                ],
            }
        self._store.sessions.set_setting(session_id, KEY, kept)

    def _merge(self, session_id: str, merge_id: str) -> MergeRecord:
        record = self._store.merge(session_id, merge_id)
        assert record is not None  # one that is named exists, or has raised
        return record

    def _sentences(self, session_id: str, *, all_of_them: bool) -> list[SentenceRecord]:
        """All, or those of the probe, else the first."""
        if all_of_them:
            return self._store.corpus.sentences(session_id)
        match = self._store.latest_match(session_id)
        probed = [ident for ident, *_ in match.details["probe"]] if match else []
        chosen = self._store.history.sentences(session_id, probed)[:READ]
        return chosen or self._store.corpus.sentences(session_id, limit=READ)

    def _read(
        self, session_id: str, merge_id: str, sentences: Sequence[SentenceRecord], *, complete: bool
    ) -> dict[int, list[Span]] | None:
        """Sentence -> what the merge found; None where it has not read them."""
        if complete:
            ids = [s.id for s in sentences] if len(sentences) <= READ else None
            found = self._store.history.found(session_id, merge_id, ids)
            return {ident: spans_of(spans) for ident, spans in found.items()}
        kept = (self._store.session(session_id).settings.get(KEY) or {}).get(merge_id)
        types = [t.name for t in self._store.types.list(session_id)]
        if kept is None or kept["types"] != types:
            return None
        read = {(i, text): list(unpack_spans(spans)) for i, text, spans in kept["sentences"]}
        if any((s.id, s.text) not in read for s in sentences):
            return None
        return {s.id: read[s.id, s.text] for s in sentences}


def _side(record: MergeRecord, score: MergeScore | None, *, complete: bool) -> Side:
    recipe = record.recipes[0]
    return Side(
        id=record.id,
        label=record.label,
        weights=record.details["weights"],
        method=recipe["method"],
        parameters=recipe["parameters"],
        rank=recipe["rank"],
        dual=len(record.recipes) > 1,
        complete=complete,
        score=score,
    )


def _rows(
    sentences: Iterable[SentenceRecord],
    first: Mapping[int, Sequence[Span]],
    second: Mapping[int, Sequence[Span]],
) -> list[ComparedSentence]:
    rows = []
    for sentence in sentences:
        a, b = tuple(first.get(sentence.id, ())), tuple(second.get(sentence.id, ()))
        in_a, in_b = {span.key for span in a}, {span.key for span in b}
        rows.append(
            ComparedSentence(
                id=sentence.id,
                position=sentence.position,
                text=sentence.text,
                first=a,
                second=b,
                only_first=tuple(span for span in a if span.key not in in_b),
                only_second=tuple(span for span in b if span.key not in in_a),
            )
        )
    return rows
