"""Three of the person's sentences, read again whenever a slider is released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from db.records import RunRecord, SentenceRecord
from experts.errors import SamError
from experts.spans import Span
from sam_ui.services.merge import MergeService
from sam_ui.services.merge_views import PreviewSentence, PreviewView
from sam_ui.services.store import Store, pack_spans, unpack_spans

__all__ = ["KIND", "PreviewService", "changes"]

KIND = "preview"
KEY = "preview"
SET_KEY = "preview-set"
SHOWN = 3


class PreviewService:
    """Previews of a session; the last one is kept with the session."""

    def __init__(self, store: Store, merges: MergeService) -> None:
        self._store = store
        self._merges = merges

    def start(
        self,
        session_id: str,
        weights: Mapping[str, float],
        *,
        method: str = "linear",
        parameters: Mapping[str, Any] | None = None,
        rank: int | None = None,
        dual: bool = False,
    ) -> str:
        """Queue a preview in place of one that has not finished; it goes ahead of longer work.

        Arguments as of `MergeService.start`. A method that needs more than the experts themselves
        is previewed as a weighted sum.

        Returns:
            The id of the job (kind "preview").

        Raises:
            SamError: as `MergeService.start`.
        """
        from experts.merging.registry import get_method

        self._store.session(session_id)
        types = [t.name for t in self._store.types.list(session_id)]
        sentences = self._sentences(session_id)
        if not sentences:
            raise SamError("There are no texts yet.", "Upload or paste some in step 1.")
        if not types:
            raise SamError("There are no entity types yet.", "Name at least one in step 1.")
        asked = self.asked(weights, method=method, parameters=parameters, rank=rank, dual=dual)
        if get_method(method).needs != "none":
            method, parameters = "linear", {}
        recipes = self._merges.recipes(
            session_id, weights, method=method, parameters=parameters, rank=rank, dual=dual
        )
        payload = {
            "recipes": [recipe.model_dump(mode="json") for recipe in recipes],
            "weights": {name: weight for name, weight in weights.items() if weight},
            "sentences": [[sentence.id, sentence.text] for sentence in sentences],
            "types": types,
            "asked": asked,
        }
        return self._store.queue.submit(session_id, KIND, payload)

    @staticmethod
    def asked(
        weights: Mapping[str, float],
        *,
        method: str = "linear",
        parameters: Mapping[str, Any] | None = None,
        rank: int | None = None,
        dual: bool = False,
    ) -> dict[str, Any]:
        """What a preview is asked for, ready for JSON; arguments as of `start`."""
        return {
            "weights": {name: weight for name, weight in weights.items() if weight},
            "method": method,
            "parameters": dict(parameters or {}),
            "rank": rank,
            "dual": dual,
        }

    def others(self, session_id: str) -> None:
        """Show three other sentences from the next preview on; after the last the first again."""
        number = self._number(session_id) + 1
        if not self._set(session_id, number):
            number = 0
        self._store.sessions.set_setting(session_id, SET_KEY, number)

    def has_others(self, session_id: str) -> bool:
        """Whether there are more sentences than those that are shown."""
        return self._store.corpus.count(session_id) > SHOWN

    def running(self, session_id: str) -> bool:
        """Whether a preview waits or runs."""
        return any(job.kind == KIND for job in self._store.queue.active(session_id))

    def store(
        self, session_id: str, payload: Mapping[str, Any], found: Sequence[Sequence[Span]]
    ) -> None:
        """Keep a finished preview, with what the one before had found in the same sentences."""
        before = self._store.session(session_id).settings.get(KEY) or {}
        old = {(row["id"], row["text"]): row["spans"] for row in before.get("sentences", [])}
        same = before.get("types") == payload["types"]
        rows = [
            {
                "id": ident,
                "text": text,
                "spans": pack_spans(spans),
                "before": old.get((ident, text)) if same else None,
            }
            for (ident, text), spans in zip(payload["sentences"], found, strict=True)
        ]
        kept = {key: payload[key] for key in ("weights", "types", "recipes", "asked")}
        self._store.sessions.set_setting(session_id, KEY, {**kept, "sentences": rows})

    def result(self, session_id: str) -> PreviewView | None:
        """The last preview that was finished; None before the first, and when texts or types have
        changed since.
        """
        kept = self._store.session(session_id).settings.get(KEY)
        if not kept or kept["types"] != [t.name for t in self._store.types.list(session_id)]:
            return None
        present = {(s.id, s.text) for s in self._sentences(session_id)}
        if not present or {(row["id"], row["text"]) for row in kept["sentences"]} != present:
            return None
        return PreviewView(
            weights=kept["weights"],
            method=kept["recipes"][0]["method"],
            sentences=tuple(_sentence(row) for row in kept["sentences"]),
            asked=kept.get("asked", {}),  # an older version did not keep it
        )

    def _sentences(self, session_id: str) -> list[SentenceRecord]:
        number = self._number(session_id)
        return self._set(session_id, number) or self._set(session_id, 0)

    def _number(self, session_id: str) -> int:
        return int(self._store.session(session_id).settings.get(SET_KEY) or 0)

    def _set(self, session_id: str, number: int) -> list[SentenceRecord]:
        """Three sentences: first those of the probe in which the experts found most, then the
        others in the order of the texts; [] beyond the last.
        """
        run = self._store.latest_match(session_id)
        telling = self._telling(session_id, run) if run is not None else []
        there = {row.id: row for row in self._store.history.sentences(session_id, telling)}
        ids = [ident for ident in telling if ident in there]
        full = -(-len(ids) // SHOWN)
        if number < full:
            chosen = [there[ident] for ident in ids[number * SHOWN : (number + 1) * SHOWN]]
            return sorted(chosen, key=lambda row: row.position)
        # The probe's come again among all: better than to search the texts for others.
        first = (number - full) * SHOWN
        return self._store.corpus.sentences(session_id, offset=first, limit=SHOWN)

    def _telling(self, session_id: str, run: RunRecord) -> list[int]:
        """Ids of the probe's sentences, those with most answers of all experts first."""
        counts = {ident: 0 for ident, *_ in run.details["probe"]}
        for score in self._store.runs.scores(session_id, run.id):
            if score.kind == "probe":
                for (ident, *_), spans in zip(
                    run.details["probe"], score.details["answers"], strict=True
                ):
                    counts[ident] += len(spans or ())
        return sorted(counts, key=lambda ident: -counts[ident])


def changes(
    spans: Sequence[Span], before: Sequence[Span] | None
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans that are new since the last time, and those that are gone; scores do not matter.

    Without a last time nothing is new.
    """
    if before is None:
        return (), ()
    now, then = {span.key for span in spans}, {span.key for span in before}
    return (
        tuple(span for span in spans if span.key not in then),
        tuple(span for span in before if span.key not in now),
    )


def _sentence(row: Mapping[str, Any]) -> PreviewSentence:
    spans = unpack_spans(row["spans"])
    before = None if row["before"] is None else unpack_spans(row["before"])
    new, gone = changes(spans, before)
    return PreviewSentence(id=row["id"], text=row["text"], spans=spans, new=new, gone=gone)
