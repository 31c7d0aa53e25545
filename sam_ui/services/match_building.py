"""A match as the interface shows it, made of its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from db.records import CorrectionRecord, RunRecord, ScoreRecord
from experts.spans import Span
from sam_ui.services.corrections import usable
from sam_ui.services.probing import probe_note, probe_state
from sam_ui.services.rescoring import Found, change_words, found, rescored
from sam_ui.services.store import unpack_spans
from sam_ui.services.summary import summary
from sam_ui.services.views import (
    ExpertInfo,
    ExpertScore,
    MapExpert,
    MapView,
    MatchView,
    NearPair,
    ProbeSentence,
)

__all__ = ["match_view"]

Corrections = Mapping[int, CorrectionRecord | None]


def match_view(
    run: RunRecord,
    scores: Sequence[ScoreRecord],
    infos: Mapping[str, ExpertInfo],
    corrections: Corrections,
) -> MatchView:
    """The view of a match; whether it is stale is for the caller to say.

    Args:
        infos: what is known of the experts, by name.
        corrections: of its sentences that the session still has, None for those without.
    """
    types = tuple(run.params["types"])
    corrected = [_correction(sentence_id, corrections, types) for sentence_id, _, _ in _probe(run)]
    original = found(run, scores)
    now, change = original, ""
    if any(spans is not None for spans in corrected):
        now = rescored(run, scores, _truth(run, corrected))
        titles = {name: info.title for name, info in infos.items()}
        change = change_words(original.single, now.single, titles)
    experts = [
        _expert_score(score, now, corrected, infos.get(score.expert), types)
        for score in scores
        if score.kind == "similarity"
    ]
    experts.sort(key=lambda e: (not e.recommended, e.probe_state == "none", -e.similarity, e.name))
    known = sum(spans is not None for spans in corrected)
    gold = bool(run.params.get("use_gold"))
    return MatchView(
        run_id=run.id,
        created_at=run.created_at,
        stale=False,
        samples=run.params["samples"],
        k=run.params["k"],
        seed=run.params["seed"],
        types=types,
        experts=tuple(experts),
        probe=_probe_sentences(run, now.probe, corrections),
        map=_map_view(run.details, infos),
        single=now.single,
        by_similarity=now.by_similarity,
        by_probe=now.by_probe,
        summary=summary(experts, len(corrected), gold=gold, corrected=known),
        corrected=known,
        change=change,
    )


def _probe(run: RunRecord) -> Sequence[tuple[int | None, str, list[list[Any]] | None]]:
    """Of each probe sentence: its id, its text, what the file said of it."""
    probe: Sequence[tuple[int | None, str, list[list[Any]] | None]] = run.details["probe"]
    return probe


def _correction(
    sentence_id: int | None, corrections: Corrections, types: Sequence[str]
) -> tuple[Span, ...] | None:
    record = None if sentence_id is None else corrections.get(sentence_id)
    return None if record is None else usable(record, types)


def _truth(
    run: RunRecord, corrected: Sequence[tuple[Span, ...] | None]
) -> list[tuple[Span, ...] | None]:
    """Corrections go before what the file said, and that counts only where it was asked to."""
    truth = []
    for (_, _, gold), spans in zip(_probe(run), corrected, strict=True):
        if spans is None and gold is not None and run.params.get("use_gold"):
            spans = unpack_spans(gold)
        truth.append(spans)
    return truth


def _expert_score(
    similarity: ScoreRecord,
    now: Found,
    corrected: Sequence[tuple[Span, ...] | None],
    info: ExpertInfo | None,
    types: Sequence[str],
) -> ExpertScore:
    name = similarity.expert
    probe = now.probe.get(name, ScoreRecord(name, "probe", None))
    answers = probe.details.get("answers")
    read = [answer is not None for answer in answers or ()]
    knows = {known.casefold() for known in info.types} if info else set()
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
        weight=now.single.get(name, 0.0),
        by_similarity=name in now.by_similarity,
        by_probe=name in now.by_probe,
        nearest=tuple(similarity.details.get("nearest", ())),
        info=info,
        probe_state=probe_state(answers),
        note=probe_note(answers, len(now.probe)),
        sentences=sum(read),
        corrected=sum(spans is not None for spans, r in zip(corrected, read, strict=False) if r),
        pairs=tuple(NearPair(*pair) for pair in similarity.details.get("pairs", ())),
        shared=tuple(name for name in types if name.casefold() in knows),
    )


def _probe_sentences(
    run: RunRecord, probe: Mapping[str, ScoreRecord], corrections: Corrections
) -> tuple[ProbeSentence, ...]:
    sentences = []
    for number, (sentence_id, text, gold) in enumerate(_probe(run)):
        record = None if sentence_id is None else corrections.get(sentence_id)
        types = run.params["types"]
        sentences.append(
            ProbeSentence(
                sentence_id=sentence_id,
                text=text,
                answers={
                    name: unpack_spans(spans)
                    for name, score in probe.items()
                    if (spans := score.details["answers"][number]) is not None
                },
                gold=None if gold is None else unpack_spans(gold),
                correction=None if record is None else unpack_spans(record.spans),
                unasked=tuple(t for t in types if record is not None and t not in record.types),
                present=sentence_id in corrections,
            )
        )
    return tuple(sentences)


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
        total=details.get("sentences", len(details["map_texts"])),
    )
