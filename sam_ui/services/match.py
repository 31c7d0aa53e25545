"""Which experts fit: starting a match, storing and reading its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from db.records import RunRecord, ScoreRecord, SentenceRecord, SessionRecord
from experts.errors import SamError
from sam_ui.services.pool import ExpertService
from sam_ui.services.probing import probe_note, probe_state
from sam_ui.services.store import Store, pack_spans, unpack_spans
from sam_ui.services.summary import summary
from sam_ui.services.views import (
    ExpertInfo,
    ExpertScore,
    MapExpert,
    MapView,
    MatchView,
    ProbeSentence,
)

if TYPE_CHECKING:
    from sam_ui.services.engine import MatchResult

__all__ = ["MatchService", "match_is_stale"]

MAX_SAMPLES = 200


class MatchService:
    """Matches of a session."""

    def __init__(self, store: Store, experts: ExpertService) -> None:
        self._store = store
        self._experts = experts

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
            raise SamError(f"{samples} sentences cannot be sampled.", f"Use 1 to {MAX_SAMPLES}.")
        if k < 1:
            raise SamError(f"{k} experts cannot be recommended.", "Use 1 or more.")
        if not self._store.corpus.count(session_id):
            raise SamError("There are no texts yet.", "Upload or paste some in step 1.")
        if not self._store.types.list(session_id):
            raise SamError("There are no entity types yet.", "Name at least one in step 1.")
        if not self._store.pool.list():
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
            near = {"nearest": e.nearest}
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
                "map_points": _rounded(result.map_points),
                "map_texts": [sentences[i].text for i in result.map_texts],
                "map_experts": {n: _rounded(p) for n, p in result.map_experts.items()},
                "pool": result.pool,
            },
            scores=scores,
        )

    def latest(self, session_id: str) -> RunRecord | None:
        return self._store.runs.latest(session_id, "match")

    def result(self, session_id: str) -> MatchView | None:
        """The last match, None before the first."""
        session = self._store.session(session_id)
        run = self.latest(session_id)
        if run is None:
            return None
        infos = self._experts.ever()
        scores = self._store.runs.scores(session_id, run.id)
        probe = {s.expert: s for s in scores if s.kind == "probe"}
        experts = [
            _expert_score(s, probe, run.details, infos.get(s.expert))
            for s in scores
            if s.kind == "similarity"
        ]
        experts.sort(
            key=lambda e: (not e.recommended, e.probe_state == "none", -e.similarity, e.name)
        )
        gold = bool(run.params.get("use_gold"))
        return MatchView(
            run_id=run.id,
            created_at=run.created_at,
            stale=match_is_stale(run, session, self._store),
            samples=run.params["samples"],
            k=run.params["k"],
            seed=run.params["seed"],
            types=tuple(run.params["types"]),
            experts=tuple(experts),
            probe=_probe_sentences(run, probe),
            map=_map_view(run.details, infos),
            single=run.details["single"],
            by_similarity=run.details["by_similarity"],
            by_probe=run.details["by_probe"],
            summary=summary(experts, len(run.details["probe"]), gold=gold),
        )


def match_is_stale(run: RunRecord, session: SessionRecord, store: Store) -> bool:
    """Whether texts, types or the experts of the pool have changed since the match."""
    revisions = (session.corpus_revision, session.types_revision)
    if (run.corpus_revision, run.types_revision) != revisions:
        return True
    pool = run.details.get("pool")  # an older version did not note it
    return bool(pool) and pool != store.pool_hashes()


def _rounded(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[round(x, 4), round(y, 4)] for x, y in points]


def _expert_score(
    similarity: ScoreRecord,
    probes: Mapping[str, ScoreRecord],
    details: Mapping[str, Any],
    info: ExpertInfo | None,
) -> ExpertScore:
    name = similarity.expert
    probe = probes.get(name, ScoreRecord(name, "probe", None))
    answers = probe.details.get("answers")
    return ExpertScore(
        name=name,
        title=info.title if info else name,
        domain=info.domain if info else "",
        similarity=similarity.value or 0.0,
        f1=probe.value,
        low=probe.low,
        high=probe.high,
        support=probe.support,
        enough=bool(probe.details.get("enough")),
        per_type=probe.details.get("per_type", {}),
        weight=details["single"].get(name, 0.0),
        by_similarity=name in details["by_similarity"],
        by_probe=name in details["by_probe"],
        nearest=tuple(similarity.details.get("nearest", ())),
        info=info,
        probe_state=probe_state(answers),
        note=probe_note(answers, len(probes)),
    )


def _probe_sentences(run: RunRecord, probe: Mapping[str, ScoreRecord]) -> tuple[ProbeSentence, ...]:
    return tuple(
        ProbeSentence(
            sentence_id=sentence_id,
            text=text,
            answers={
                name: unpack_spans(spans)
                for name, score in probe.items()
                if (spans := score.details["answers"][number]) is not None
            },
            gold=None if gold is None else unpack_spans(gold),
        )
        for number, (sentence_id, text, gold) in enumerate(run.details["probe"])
    )


def _map_view(details: Mapping[str, Any], infos: Mapping[str, ExpertInfo]) -> MapView:
    return MapView(
        points=tuple((x, y) for x, y in details["map_points"]),
        texts=tuple(details["map_texts"]),
        experts=tuple(
            MapExpert(
                name=name,
                title=infos[name].title if name in infos else name,
                points=tuple((x, y) for x, y in points),
            )
            for name, points in details["map_experts"].items()
        ),
    )
