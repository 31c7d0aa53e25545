"""Endpoints that start long work, follow it and read what came of it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from experts.errors import SamError
from sam_ui.api_door import Door, told, words

if TYPE_CHECKING:
    from sam_ui.services.views import ExpertScore, JobView, MergeInfo, PredictionPage

__all__ = ["WorkEndpoints"]

MAX_ROWS = 500


class WorkEndpoints(Door):
    """Match, merge and predict: each is a job, which goes on when the caller goes away."""

    @told
    def match(self, token: str, samples: int = 10, k: int = 3) -> dict[str, Any]:
        """Find the experts that fit the session's texts. Starts a job: follow it with read_job, then
        read_match.

        Args:
            token: opens the session; must allow changes
            samples: sentences that every expert reads in the probe
            k: experts to recommend by each of the two scores
        """
        session = self.open_to_change(token)
        return self._job(
            session.id,
            self.services.match.start(
                session.id, samples=_whole(samples, "samples"), k=_whole(k, "k")
            ),
        )

    @told
    def merge(
        self,
        token: str,
        weights: dict[str, float] | None = None,
        method: str = "linear",
        parameters: dict[str, Any] | None = None,
        rank: int = 0,
        dual: bool = False,
        predict: bool = True,
    ) -> dict[str, Any]:
        """Merge experts into one model, and read all texts with it. Starts a job: follow it with
        read_job, then read_merges and read_predictions.

        Args:
            token: opens the session; must allow changes
            weights: expert name to weight, as {"astronomy": 0.6, "music": 0.4}; none: as recommended
            method: key of a merge method, "linear" is the weighted sum
            parameters: of the method
            rank: size of the merged model; 0 keeps everything
            dual: two merges, one for each score of the match, their answers united
            predict: also read all texts of the session with the result
        """
        session = self.open_to_change(token)
        return self._job(
            session.id,
            self.services.merge.start(
                session.id,
                self._weights(session.id, weights),
                method=words(method, "method"),
                parameters=_object(parameters, "parameters"),
                rank=_whole(rank, "rank") or None,
                dual=bool(dual),
                predict=bool(predict),
            ),
        )

    def _weights(self, session_id: str, weights: Any) -> dict[str, float]:
        if weights:
            return {str(n): _number(w, n) for n, w in _object(weights, "weights").items()}
        match = self.services.match.result(session_id)
        if match is None:
            raise SamError("No experts are recommended yet.", "Call match first, or give weights.")
        return dict(match.single)

    @told
    def predict(self, token: str, merge: str = "") -> dict[str, Any]:
        """Read all texts of the session with a merge. Starts a job: follow it with read_job, then
        read_predictions.

        Args:
            token: opens the session; must allow changes
            merge: as named by read_merges; the newest when empty
        """
        session = self.open_to_change(token)
        return self._job(
            session.id, self.services.predict.start(session.id, words(merge, "merge") or None)
        )

    @told
    def read_job(self, token: str, job: str) -> dict[str, Any]:
        """How far a job is. "state" is queued, running, done, failed or cancelled; of a failed one
        "what" says why and "hint" what to do. Ask about once a second.

        Args:
            token: opens the session
            job: as told by match, merge or predict
        """
        return self._job(self.open(token).id, job)

    @told
    def cancel_job(self, token: str, job: str) -> dict[str, Any]:
        """Stop a job; one that has ended stays as it is.

        Args:
            token: opens the session; must allow changes
            job: as told by match, merge or predict
        """
        return _told_job(
            self.services.jobs.cancel(self.open_to_change(token).id, words(job, "job"))
        )

    @told
    def read_match(self, token: str) -> dict[str, Any]:
        """The last match: each expert's similarity and probe F1 with its 95 % interval, and the
        recommended weights. "stale" says that texts, types or experts have changed since.

        Args:
            token: opens the session
        """
        match = self.services.match.result(self.open(token).id)
        if match is None:
            raise SamError("Nothing has been compared yet.", "Call match first.")
        return {
            "summary": match.summary.replace("*", ""),
            "stale": match.stale,
            "types": list(match.types),
            "samples": match.samples,
            "weights": dict(match.single),
            "experts": [_told_expert(score) for score in match.experts],
        }

    @told
    def read_merges(self, token: str) -> list[dict[str, Any]]:
        """The session's merges, newest first, each with its recipes: enough to make it again.

        Args:
            token: opens the session
        """
        return [_told_merge(info) for info in self.services.merge.list(self.open(token).id)]

    @told
    def read_predictions(
        self, token: str, merge: str = "", offset: int = 0, limit: int = 100
    ) -> dict[str, Any]:
        """What a merge found: sentences with their entities. Offsets count Unicode characters, "end"
        is the first one after the entity.

        Args:
            token: opens the session
            merge: as named by read_merges; the one that was used last when empty
            offset: sentences to skip
            limit: sentences to answer with, 500 at most
        """
        page = self.services.predict.page(
            self.open(token).id,
            offset=_whole(offset, "offset"),
            limit=min(_whole(limit, "limit"), MAX_ROWS),
            merge_id=words(merge, "merge") or None,
        )
        if page is None:
            raise SamError("Nothing has been predicted yet.", "Call merge or predict first.")
        return _told_page(page)

    def _job(self, session_id: str, job: str) -> dict[str, Any]:
        found = self.services.jobs.get(session_id, words(job, "job"))
        if found is None:
            raise SamError("The session has no such job.", "Start it again.")
        return _told_job(found)


def _told_job(job: JobView) -> dict[str, Any]:
    return {
        "job": job.id,
        "kind": job.kind,
        "state": job.state,
        "progress": job.progress,
        "message": job.message,
        "eta_s": job.eta_s,
        "what": job.what,
        "hint": job.hint,
    }


def _told_expert(score: ExpertScore) -> dict[str, Any]:
    return {
        "name": score.name,
        "title": score.title,
        "similarity": score.similarity,
        # A number that rests on too few spans is none.
        "f1": score.f1 if score.enough else None,
        "low": score.low if score.enough else None,
        "high": score.high if score.enough else None,
        "support": score.support,
        "weight": score.weight,
    }


def _told_merge(info: MergeInfo) -> dict[str, Any]:
    return {
        "merge": info.id,
        "label": info.label,
        "created_at": info.created_at.isoformat(),
        "method": info.method,
        "weights": dict(info.weights),
        "retained_energy": info.retained_energy,
        "predicted": info.predicted,
        "stale": info.stale,
        "recipes": [dict(recipe) for recipe in info.recipes],
    }


def _told_page(page: PredictionPage) -> dict[str, Any]:
    return {
        "merge": page.merge_id,
        "total": page.total,
        "offset": page.offset,
        "stale": page.stale,
        "counts": dict(page.counts),
        "sentences": [
            {
                "document": row.sentence.document,
                "text": row.sentence.text,
                "entities": [asdict(span) for span in row.spans],
            }
            for row in page.rows
        ],
    }


def _whole(value: Any, name: str) -> int:
    """Programs may send anything: `value` as a whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise SamError(f"{name} must be a whole number.", "Send it as a JSON number.")
    if not 0 <= value < 10**9:
        raise SamError(f"{name} cannot be {value}.", "Send 0 or more.")
    return int(value)


def _number(value: Any, name: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SamError(f"The weight of {name} is not a number.", "Send it as a JSON number.")
    return float(value)


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise SamError(f"{name} must be an object with names and values.", "Send it as JSON.")
