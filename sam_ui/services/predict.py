"""What a merge finds in the session's texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from db.records import MergeRecord, NewSpan, SentenceRecord, SessionRecord
from experts.errors import Cancelled, SamError
from experts.spans import Span
from sam_ui.services.store import Store, clean_search, sentence_row, spans_of
from sam_ui.services.views import PredictionPage, PredictionRow

__all__ = ["PredictService"]

MAX_PAGE = 500


class PredictService:
    """Predictions of a session."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, session_id: str, merge_id: str | None = None) -> str:
        """Queue a prediction over all texts, by the newest merge when none is named.

        Returns:
            The id of the job (kind "predict").

        Raises:
            SamError: there is no such merge, or there are no texts or types.
        """
        self._store.session(session_id)
        merge = self._store.merge(session_id, merge_id)
        if merge is None:
            raise SamError("There is no merge yet.", "Merge some experts in step 3.")
        self._store.adapter_paths(merge)
        if not self._store.corpus.count(session_id):
            raise SamError("There are no texts yet.", "Upload or paste some in step 1.")
        if not self._store.types.list(session_id):
            raise SamError("There are no entity types yet.", "Name at least one in step 1.")
        return self._store.queue.submit(session_id, "predict", {"merge_id": merge.id})

    def store(
        self,
        session: SessionRecord,
        merge_id: str,
        sentences: Sequence[SentenceRecord],
        found: Sequence[Sequence[Span]],
    ) -> str:
        """Keep predictions, in place of earlier ones of this merge; returns the id of the run.

        Raises:
            Cancelled: the merge has been deleted meanwhile.
        """
        run_id = self._store.predictions.replace(
            session.id,
            merge_id,
            [
                NewSpan(sentence.id, span.start, span.end, span.label, span.score)
                for sentence, spans in zip(sentences, found, strict=True)
                for span in spans
            ],
            corpus_revision=session.corpus_revision,
            types_revision=session.types_revision,
        )
        if run_id is None:
            raise Cancelled
        return run_id

    def shown_merge(self, session_id: str, merge_id: str | None = None) -> MergeRecord | None:
        """The merge whose predictions are shown: the one named, else the one predicted last."""
        if merge_id is not None:
            return self._store.merge(session_id, merge_id)
        run = self._store.runs.latest(session_id, "predict")
        return self._store.merge(session_id, run.merge_id) if run else None

    def page(
        self,
        session_id: str,
        *,
        offset: int = 0,
        limit: int = 20,
        types: Sequence[str] | None = None,
        search: str = "",
        order: Literal["position", "doubtful"] = "position",
        only_found: bool = False,
        merge_id: str | None = None,
    ) -> PredictionPage | None:
        """Sentences with their predicted spans; None when nothing has been predicted.

        Args:
            types: only sentences with a span of one of these.
            order: "doubtful" puts those with the least likely span first.
            only_found: only sentences with a span.
        """
        session = self._store.session(session_id)
        merge = self.shown_merge(session_id, merge_id)
        run = merge and self._store.runs.latest(session_id, "predict", merge_id=merge.id)
        if merge is None or run is None:
            return None
        offset, limit = max(0, offset), min(max(1, limit), MAX_PAGE)
        total, rows = self._store.predictions.page(
            session_id,
            merge.id,
            offset=offset,
            limit=limit,
            labels=list(types) if types else None,
            search=clean_search(search),
            only_found=only_found,
            doubtful_first=order == "doubtful",
        )
        return PredictionPage(
            merge_id=merge.id,
            rows=tuple(
                PredictionRow(sentence_row(row), tuple(spans_of(spans))) for row, spans in rows
            ),
            total=total,
            offset=offset,
            limit=limit,
            counts=self.counts(session_id, merge.id),
            stale=(run.corpus_revision, run.types_revision)
            != (session.corpus_revision, session.types_revision),
        )

    def counts(self, session_id: str, merge_id: str | None = None) -> dict[str, int]:
        """Predicted spans by type: the session's types in their order, then any others."""
        merge = self.shown_merge(session_id, merge_id)
        found = self._store.predictions.counts(session_id, merge.id) if merge else {}
        counts = {t.name: found.pop(t.name, 0) for t in self._store.types.list(session_id)}
        return {**counts, **dict(sorted(found.items()))}

    def all(self, session_id: str, merge_id: str) -> list[PredictionRow]:
        """Every sentence with its spans, in the order of the texts."""
        _, rows = self._store.predictions.page(session_id, merge_id)
        return [PredictionRow(sentence_row(row), tuple(spans_of(spans))) for row, spans in rows]
