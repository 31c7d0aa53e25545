"""Which experts fit: starting a match, storing and reading its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from db.records import CorrectionRecord, RunRecord, ScoreRecord, SentenceRecord, SessionRecord
from experts.errors import SamError
from sam_ui.services.match_building import match_view
from sam_ui.services.pool import ExpertService
from sam_ui.services.recent import Recent
from sam_ui.services.store import Store, pack_spans
from sam_ui.services.views import MatchView
from sam_ui.words import _

if TYPE_CHECKING:
    from sam_ui.services.engine import MatchResult

__all__ = ["MatchService", "match_is_stale"]

MAX_SAMPLES = 200


class MatchService:
    """Matches of a session."""

    def __init__(self, store: Store, experts: ExpertService) -> None:
        self._store = store
        self._experts = experts
        self._views: Recent[Any, MatchView] = Recent(16)

    def start(
        self,
        session_id: str,
        *,
        samples: int = 10,
        k: int = 3,
        seed: int = 0,
        use_gold: bool = False,
    ) -> str:
        """Queue a match.

        Args:
            samples: sentences to probe on, 1 to 200.
            k: experts to recommend by each criterion, at least 1.
            use_gold: score against the entities that the files came with, where they did.

        Returns:
            The id of the job (kind "match").

        Raises:
            SamError: there are no sentences, no types or no experts, or a number does not fit.
        """
        self._store.session(session_id)
        if not 1 <= samples <= MAX_SAMPLES:
            what = _("{n} sentences cannot be sampled.", n=samples)
            raise SamError(what, _("Use 1 to {most}.", most=MAX_SAMPLES))
        if k < 1:
            raise SamError(_("{n} experts cannot be recommended.", n=k), "Use 1 or more.")
        if not self._store.corpus.count(session_id):
            raise SamError("There are no texts yet.", "Upload or paste some in step 1.")
        if not self._store.types.list(session_id):
            raise SamError("There are no entity types yet.", "Name at least one in step 1.")
        if not self._store.pool_seen():
            raise SamError("There are no experts in the pool.", "Add an expert first.")
        payload = {"samples": samples, "k": k, "seed": seed, "use_gold": use_gold}
        return self._store.queue.submit(session_id, "match", payload)

    def store(
        self,
        session: SessionRecord,
        result: MatchResult,
        sentences: Sequence[SentenceRecord],
        types: Sequence[str],
        params: Mapping[str, Any],
    ) -> str:
        """Keep the result of a run over `sentences`; returns the id of the run.

        Args:
            session: as it was before sentences and types were read.
        """
        self._store.remember_pool()
        probed = [sentences[i] for i in result.probe]
        scores: list[ScoreRecord] = []
        for e in result.experts:
            near = {
                "nearest": e.nearest,
                "pairs": [
                    [sentences[i].text, text, round(cosine, 4)]
                    for i, text, cosine in result.pairs.get(e.name, ())
                ],
            }
            scores.append(ScoreRecord(e.name, "similarity", e.similarity, details=near))
            answers = result.answers.get(e.name)
            if answers is None:  # not probed
                continue
            details = {
                "per_type": e.per_type,
                "enough": e.enough,
                "answers": [None if spans is None else pack_spans(spans) for spans in answers],
            }
            probe = ScoreRecord(e.name, "probe", e.f1, e.low, e.high, e.support, details)
            scores.append(probe)
        return self._store.runs.add(
            session.id,
            "match",
            corpus_revision=session.corpus_revision,
            types_revision=session.types_revision,
            params={**params, "types": list(types)},
            details={
                "probe": [[s.id, s.text, s.gold] for s in probed],
                "single": result.single,
                "by_similarity": result.by_similarity,
                "by_probe": result.by_probe,
                "sentences": len(sentences),
                "map_points": _rounded(result.map_points),
                "map_texts": [sentences[i].text for i in result.map_texts],
                "map_experts": {n: _rounded(p) for n, p in result.map_experts.items()},
                "pool": result.pool,
            },
            scores=scores,
        )

    def latest(self, session_id: str) -> RunRecord | None:
        return self._store.latest_match(session_id)

    def result(self, session_id: str) -> MatchView | None:
        """The last match, None before the first.

        Corrections of its sentences count at once: scores and recommendation are as if they had
        been known.
        """
        session = self._store.session(session_id)
        run = self.latest(session_id)
        if run is None:
            return None
        ids = [sentence_id for sentence_id, _, _ in run.details["probe"] if sentence_id is not None]
        corrections = self._store.corrections.of(session_id, ids)
        key = (run.id, self._store.pool_version(), _stamp(corrections))
        view = self._views.get(key, lambda: self._view(session_id, run, corrections))
        return replace(view, stale=match_is_stale(run, session, self._store))

    def _view(
        self, session_id: str, run: RunRecord, corrections: Mapping[int, CorrectionRecord | None]
    ) -> MatchView:
        scores = self._store.runs.scores(session_id, run.id)
        infos = self._experts.ever({score.expert for score in scores})
        return match_view(run, scores, infos, corrections)


def _stamp(corrections: Mapping[int, CorrectionRecord | None]) -> tuple[Any, ...]:
    """Another one whenever a correction is another."""
    return tuple((known, c and c.updated_at) for known, c in sorted(corrections.items()))


def match_is_stale(run: RunRecord, session: SessionRecord, store: Store) -> bool:
    """Whether texts, types or the experts of the pool have changed since the match."""
    revisions = (session.corpus_revision, session.types_revision)
    if (run.corpus_revision, run.types_revision) != revisions:
        return True
    pool = run.details.get("pool")  # an older version did not note it
    return bool(pool) and pool != store.pool_hashes()


def _rounded(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[round(x, 4), round(y, 4)] for x, y in points]
