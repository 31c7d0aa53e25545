"""Probing a pool as one job: experts × sentences, with cached answers and early stopping.

Answers are kept for each expert, text and set of types: which type a mention has depends on all that
are asked for, so another type is another question.

Large pools are cut twice. Only the experts most similar to the texts are probed at all, and of
those the worse half is stopped after a third and after two thirds of the sentences (successive
halving: Karnin et al. 2013; Jamieson and Talwalkar 2016, arXiv 1502.07943). No torch here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from experts.errors import Cancelled
from experts.pool import Expert
from experts.probe import MINIMUM_SPANS, Gold, ProbeScore, f1_so_far, score_answers
from experts.spans import Span

__all__ = [
    "MAX_PROBED",
    "AnswerCache",
    "AnswerKey",
    "Extracts",
    "MemoryCache",
    "ProbeResult",
    "answers_version",
    "choose_candidates",
    "probe_experts",
    "text_hash",
]

MAX_PROBED = 48
"""Experts that are probed of a larger pool, the most similar ones."""
HALVED_ABOVE = 16
"""Up to so many experts all read every sentence."""
LEAST_FINALISTS = 8
"""Experts that read every sentence, at least."""
_ROUNDS = 3
_CHUNK = 16  # experts in one call: what a cancelled or killed probe may lose

Progress = Callable[[int, int, int], None]
"""Called with (expert × sentence pairs done or saved, all pairs, experts that are still reading)."""


class AnswerKey(NamedTuple):
    """What an answer depends on: adapter, text, asked types, and all else (`answers_version`).

    The first three are hashes.
    """

    expert: str
    text: str
    types: str
    version: str


class AnswerCache(Protocol):
    """Keeps answers: the spans of one text, without overlaps."""

    def get_many(self, keys: Sequence[AnswerKey]) -> Mapping[AnswerKey, Sequence[Span]]:
        """The answers that are known, of these keys."""
        ...

    def put_many(self, answers: Mapping[AnswerKey, Sequence[Span]]) -> None:
        """Keep answers; one that is there already is replaced."""
        ...


class MemoryCache:
    """An `AnswerCache` that lasts as long as the object."""

    def __init__(self) -> None:
        self._answers: dict[AnswerKey, tuple[Span, ...]] = {}

    def get_many(self, keys: Sequence[AnswerKey]) -> dict[AnswerKey, tuple[Span, ...]]:
        """As in `AnswerCache`."""
        return {key: self._answers[key] for key in keys if key in self._answers}

    def put_many(self, answers: Mapping[AnswerKey, Sequence[Span]]) -> None:
        """As in `AnswerCache`."""
        self._answers.update({key: tuple(spans) for key, spans in answers.items()})


class Extracts(Protocol):
    """The part of `experts.extract.Extractor` that a probe needs."""

    def extract_each(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[list[Span]]]:
        """For each adapter, for each text, its spans."""
        ...


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found.

    Attributes:
        answers: expert → for each sentence its spans, without overlaps; None where the expert had
            been stopped.
        scores: expert → score on the sentences that it has read.
        stopped: experts that were stopped early.
        extracted: expert × sentence pairs that the extractor ran; the others were cached.
    """

    answers: dict[str, list[list[Span] | None]]
    scores: dict[str, ProbeScore]
    stopped: frozenset[str]
    extracted: int


def text_hash(text: str) -> str:
    """SHA-256 of a text, 64 hexadecimal digits; a text that is no valid Unicode has one, too."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def answers_version(
    *, base: str, dtype: str, quantisation: str = "", none_bias: float = 0.0
) -> str:
    """What answers depend on besides adapter, text and types, as 32 hexadecimal digits.

    Args:
        base: the base model, so named that another content has another name.
        dtype: number format that the model computes in.
        quantisation: of its weights; empty for none.
        none_bias: of the extractor, nats.
    """
    from experts.extract import DECODER_VERSION
    from experts.prompt import PROMPT_VERSION

    parts = [DECODER_VERSION, PROMPT_VERSION, base, dtype, quantisation, float(none_bias)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def choose_candidates(
    similarities: Mapping[str, float], *, most: int = MAX_PROBED, always: Iterable[str] = ()
) -> list[str]:
    """The experts to probe: all of a small pool, the `most` most similar ones of a large one.

    Args:
        similarities: expert → cosine in [-1, 1].
        most: so many are probed.
        always: experts to probe besides, however dissimilar; unknown ones are left out.

    Returns:
        Names in the order of `similarities`.
    """
    ranked = sorted(similarities, key=lambda name: (-similarities[name], name))
    chosen = {*ranked[: max(most, 0)], *always}
    return [name for name in similarities if name in chosen]


def probe_experts(
    extractor: Callable[[], Extracts],
    experts: Sequence[Expert],
    texts: Sequence[str],
    types: Sequence[str],
    *,
    version: str,
    cache: AnswerCache,
    gold: Gold | None = None,
    k: int = 3,
    similarities: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ProbeResult:
    """Let experts read sentences and score what they find.

    More than `HALVED_ABOVE` experts read in three rounds. After a round in which at least
    `MINIMUM_SPANS` true spans were seen, the worse half is stopped; max(`LEAST_FINALISTS`, 2·k) at
    least read everything.

    Args:
        extractor: gives the extractor; called only if an answer is missing.
        experts: with different names. One whose card has no hash is not cached.
        texts: the probe sentences.
        types: names of the asked types.
        version: `answers_version` of the extractor.
        gold: true spans of each text, None where they are not known.
        k: experts that are going to be recommended.
        similarities: decide between experts with the same score.
        seed: of the scores' intervals.

    Raises:
        SamError: an adapter that does not fit the base model.
        Cancelled: `cancelled` said so. Finished chunks of the work are in the cache.
    """
    reader = _Reader(extractor, list(dict.fromkeys(types)), version, cache, cancelled)
    answers: dict[str, list[list[Span] | None]] = {e.name: [None] * len(texts) for e in experts}
    alive, left = list(experts), len(texts)
    for number, part in enumerate(_rounds(len(experts), len(texts))):
        if number:
            alive = _survivors(alive, answers, gold, k, similarities or {})
        before = len(experts) * len(texts) - len(alive) * left

        def report(read: int, before: int = before, reading: int = len(alive)) -> None:
            if progress is not None:
                progress(before + read, len(experts) * len(texts), reading)

        reader.read(alive, [texts[i] for i in part], report)
        left -= len(part)
        for expert in alive:
            for i in part:
                answers[expert.name][i] = reader.answer(expert, texts[i])
    return ProbeResult(
        answers=answers,
        scores=score_answers(answers, types, gold, seed),
        stopped=frozenset(answers) - {expert.name for expert in alive},
        extracted=reader.extracted,
    )


def _rounds(experts: int, sentences: int) -> list[list[int]]:
    """Indices of the sentences that are read in each round, each spread over the whole sample."""
    if experts <= HALVED_ABOVE:
        return [list(range(sentences))]
    parts = [list(range(first, sentences, _ROUNDS)) for first in range(_ROUNDS)]
    return [part for part in parts if part]


def _survivors(
    alive: list[Expert],
    answers: Mapping[str, Sequence[Sequence[Span] | None]],
    gold: Gold | None,
    k: int,
    similarities: Mapping[str, float],
) -> list[Expert]:
    """The better half, in the order before; all of them while there are too few spans to tell."""
    scores = f1_so_far(answers, gold)
    if scores[alive[0].name].support < MINIMUM_SPANS:  # they have read the same sentences
        return alive
    keep = max(LEAST_FINALISTS, 2 * k, math.ceil(len(alive) / 2))
    ranked = sorted(
        (expert.name for expert in alive),
        key=lambda name: (-scores[name].f1, -similarities.get(name, 0.0), name),
    )
    better = set(ranked[:keep])
    return [expert for expert in alive if expert.name in better]


class _Reader:
    """Gives answers from the cache, or else from the extractor.

    Attributes:
        extracted: (expert, text) pairs that the extractor ran.
    """

    def __init__(
        self,
        extractor: Callable[[], Extracts],
        types: list[str],
        version: str,
        cache: AnswerCache,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.extracted = 0
        self._extractor, self._types, self._version = extractor, types, version
        self._cache, self._cancelled = cache, cancelled
        self._types_hash = text_hash(json.dumps(sorted(types)))
        self._known: dict[tuple[str, str], Sequence[Span]] = {}  # by expert and text

    def answer(self, expert: Expert, text: str) -> list[Span]:
        """What an expert found in a text that was read."""
        return list(self._known[expert.name, text])

    def read(
        self, experts: Sequence[Expert], texts: Sequence[str], report: Callable[[int], None]
    ) -> None:
        """Make all answers of these experts to these texts known.

        Experts that miss the same texts share one call of the extractor.
        """
        _stop_if(self._cancelled)
        unique = list(dict.fromkeys(texts))
        self._recall(experts, unique)
        blocks: dict[tuple[str, ...], list[Expert]] = {}
        for expert in experts:
            missing = tuple(text for text in unique if (expert.name, text) not in self._known)
            if missing:
                blocks.setdefault(missing, []).append(expert)
        done = len(experts) * len(unique) - sum(len(b) * len(e) for b, e in blocks.items())
        report(done)
        for some_texts, group in blocks.items():
            for first in range(0, len(group), _CHUNK):
                chunk = group[first : first + _CHUNK]
                self._extract(chunk, some_texts, partial(_add, report, done))
                done += len(chunk) * len(some_texts)
        report(len(experts) * len(texts))

    def _key(self, expert: Expert, text: str) -> AnswerKey:
        return AnswerKey(expert.card.hash, text_hash(text), self._types_hash, self._version)

    def _recall(self, experts: Sequence[Expert], texts: Sequence[str]) -> None:
        wanted = {
            (expert.name, text): self._key(expert, text)
            for expert in experts
            if expert.card.hash
            for text in texts
            if (expert.name, text) not in self._known
        }
        cached = self._cache.get_many(list(dict.fromkeys(wanted.values())))
        self._known.update({w: cached[key] for w, key in wanted.items() if key in cached})

    def _extract(
        self, experts: Sequence[Expert], texts: tuple[str, ...], report: Callable[[int], None]
    ) -> None:
        _stop_if(self._cancelled)
        answers = self._extractor().extract_each(
            texts,
            self._types,
            [expert.path for expert in experts],
            progress=lambda done, _total: report(done),
            cancelled=self._cancelled,
        )
        self.extracted += len(experts) * len(texts)
        kept: dict[AnswerKey, Sequence[Span]] = {}
        for expert, found in zip(experts, answers, strict=True):
            for text, spans in zip(texts, found, strict=True):
                self._known[expert.name, text] = spans
                if expert.card.hash:
                    kept[self._key(expert, text)] = spans
        if kept:
            self._cache.put_many(kept)


def _add(report: Callable[[int], None], before: int, done: int) -> None:
    report(before + done)


def _stop_if(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled
