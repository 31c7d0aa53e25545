"""Where to stand between precision and recall, learned from corrected sentences.

Two handles: a threshold, below which a found span is left out, for all types or for each; and the
bias of "no (further) mention", which the decoder adds before it decides. A threshold only takes
spans away; a negative bias finds more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from experts.calibration import MINIMUM_SPANS
from experts.spans import Span

__all__ = [
    "BIASES",
    "BiasPoint",
    "NoneBias",
    "TradeOff",
    "best_shared_threshold",
    "best_thresholds",
    "keep",
    "learn_none_bias",
    "trade_off",
]

BIASES = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Biases that are tried first, in nats: ± 2 multiplies the odds of "no mention" by 7."""

_FOLDS = 5

Spans = Sequence[Sequence[Span]]
"""Spans of each sentence; gold and found spans are parallel lists."""
Answer = Callable[[float], Sequence[Sequence[Span]]]
Counts = npt.NDArray[np.int64]


# ---- thresholds ----


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What a threshold gives: spans with a lower probability are left out.

    Attributes:
        threshold: in [0, 1].
        precision, recall, f1: strict, in [0, 1]; 0 where the denominator is 0.
        kept: number of spans that stay.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    kept: int


def keep(found: Spans, threshold: float | Mapping[str, float]) -> list[list[Span]]:
    """Leave out the spans below a threshold.

    Args:
        threshold: for all types, or by type, 0 for those that it does not name. A span without a
            probability stays.
    """

    def least(label: str) -> float:
        return threshold.get(label, 0.0) if isinstance(threshold, Mapping) else threshold

    return [[s for s in spans if s.score is None or s.score >= least(s.label)] for spans in found]


def trade_off(gold: Spans, found: Spans, types: Sequence[str]) -> dict[str, list[TradeOff]]:
    """For each type every threshold that makes a difference, for a slider.

    The first threshold is 0; the others lie half-way between neighbouring probabilities, so that
    spans like the last one kept are kept as well. Overlaps that were resolved before stay resolved.

    Args:
        gold, found: spans of each sentence. A span that is listed twice counts once.
        types: those to answer for.

    Returns:
        Type → points by rising threshold; only threshold 0 for a type that was not found.

    Raises:
        ValueError: the two have different numbers of sentences.
    """
    return {name: _curve(gold, found, {name}) for name in types}


def best_shared_threshold(gold: Spans, found: Spans, types: Sequence[str]) -> TradeOff:
    """The one threshold with the highest micro F1 over all types; of equals the lowest.

    Raises:
        ValueError: the two have different numbers of sentences.
    """
    return _best(_curve(gold, found, set(types)))


def best_thresholds(
    gold: Spans, found: Spans, types: Sequence[str], *, minimum: int = MINIMUM_SPANS
) -> dict[str, float]:
    """A threshold for each type, learned from corrected sentences.

    The shared threshold maximises the micro F1. A type with n found spans, with F1 maximal at
    threshold t, gets ``(n·t + minimum·shared) / (n + minimum)``: few spans say little, so the type
    stays near the shared one. It gets that only where neither its own F1 nor the micro F1 falls;
    so on these sentences the micro F1 is never lower than with threshold 0.

    Args:
        gold, found: spans of each sentence; other types than the asked do not count.
        types: the asked types.
        minimum: true spans, of all types together, below which nothing is learned.

    Returns:
        Type → threshold in [0, 1]; 0 for all if there is nothing to learn from.

    Raises:
        ValueError: the two have different numbers of sentences.
    """
    asked = list(dict.fromkeys(types))
    truth = {(i, s.key) for i, spans in enumerate(gold) for s in spans if s.label in asked}
    if len(truth) < max(minimum, 1):
        return dict.fromkeys(asked, 0.0)
    shared = best_shared_threshold(gold, found, asked).threshold
    chosen = dict.fromkeys(asked, shared)
    curves = trade_off(gold, found, asked)
    best = _micro_f1(gold, keep(found, chosen), asked)
    # Types of which most is known move first.
    for name in sorted(asked, key=lambda name: (-curves[name][0].kept, name)):
        own, n = _best(curves[name]), curves[name][0].kept
        if own.f1 == 0.0:
            continue
        tried = {**chosen, name: (n * own.threshold + minimum * shared) / (n + minimum)}
        micro = _micro_f1(gold, keep(found, tried), asked)
        if micro >= best and (
            _micro_f1(gold, keep(found, tried), [name])
            >= _micro_f1(gold, keep(found, chosen), [name])
        ):
            chosen, best = tried, micro
    return chosen


def _curve(gold: Spans, found: Spans, types: set[str]) -> list[TradeOff]:
    """Points of the pooled types by rising threshold."""
    scored: list[tuple[float, bool]] = []
    true = 0
    for expected, mine in zip(gold, found, strict=True):
        keys = {s.key for s in expected if s.label in types}
        true += len(keys)
        best: dict[tuple[int, int, str], float] = {}
        for span in mine:
            if span.label in types:
                # No threshold takes away a span without a probability.
                score = np.inf if span.score is None else span.score
                best[span.key] = max(score, best.get(span.key, 0.0))
        scored += [(score, key in keys) for key, score in best.items()]
    scored.sort()
    scores = np.array([p for p, _ in scored], dtype=np.float64)
    right_from = np.cumsum([right for _, right in scored][::-1], dtype=np.int64)[::-1]
    points = [_point(0.0, true, len(scores), int(right_from[0]) if len(scores) else 0)]
    for i in range(1, len(scores)):
        low, high = float(scores[i - 1]), float(scores[i])
        if low < high:
            middle = (low + min(high, 1.0)) / 2
            threshold = middle if middle > low else min(high, 1.0)
            if threshold > low:  # else nothing lies between them
                points.append(_point(threshold, true, len(scores) - i, int(right_from[i])))
    return points


def _point(threshold: float, true: int, kept: int, right: int) -> TradeOff:
    return TradeOff(
        threshold,
        right / kept if kept else 0.0,
        right / true if true else 0.0,
        2 * right / (kept + true) if kept + true else 0.0,
        kept,
    )


def _best(points: Sequence[TradeOff]) -> TradeOff:
    return max(points, key=lambda point: (point.f1, -point.threshold))


def _micro_f1(gold: Spans, found: Spans, types: Sequence[str]) -> float:
    return _f1(_counts(gold, found, set(types)))


def _counts(gold: Spans, found: Spans, types: set[str] | None = None) -> Counts:
    """For each sentence: right, found and true spans; (n, 3)."""
    rows = []
    for expected, mine in zip(gold, found, strict=True):
        keys = {s.key for s in expected if types is None or s.label in types}
        own = {s.key for s in mine if types is None or s.label in types}
        rows.append((len(keys & own), len(own), len(keys)))
    return np.array(rows, dtype=np.int64).reshape(len(rows), 3)


def _f1(counts: Counts) -> float:
    right, found, true = (int(n) for n in counts.sum(axis=0))
    return 2 * right / (found + true) if found + true else 0.0


# ---- the bias of "no mention" ----


@dataclass(frozen=True, slots=True)
class BiasPoint:
    """What a bias gives on the corrected sentences; scores strict, micro, in [0, 1]."""

    bias: float
    precision: float
    recall: float
    f1: float
    found: int


@dataclass(frozen=True, slots=True)
class NoneBias:
    """A learned bias of "no (further) mention".

    Attributes:
        bias: in nats; above 0, fewer spans are found. 0 unless the cross-validated F1 rises.
        f1_before: micro F1 without a bias; ``None`` if not `enough`.
        f1_after: micro F1 to expect with `bias`, cross-validated over sentences: each fold is
            scored with the bias that is best on the others; ``None`` if not `enough`.
        curve: all biases that were tried, rising.
        spans: true spans that this rests on.
        enough: whether they, and the sentences, were enough to learn from.
    """

    bias: float
    f1_before: float | None
    f1_after: float | None
    curve: tuple[BiasPoint, ...]
    spans: int
    enough: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON; names as of the attributes."""
        return asdict(self)


def learn_none_bias(
    gold: Spans,
    answer: Answer,
    *,
    grid: Sequence[float] = BIASES,
    refinements: int = 2,
    minimum: int = MINIMUM_SPANS,
    seed: int = 0,
) -> NoneBias:
    """Find the bias with the highest micro F1 on corrected sentences.

    First the biases of `grid` (and 0) are tried, then, `refinements` times, those half-way between
    the best and its neighbours. Each is answered once; cross-validation only counts again. Which
    biases it chooses among was found on all sentences, so a trace of optimism remains.

    Args:
        gold: true spans of each sentence, of the asked types.
        answer: what the model finds in these sentences with a bias.
        grid: biases to try first, in nats.
        refinements: how often the steps are halved; each costs at most two answers.
        minimum: true spans below which nothing is learned; then `answer` is not called.
        seed: of the folds.

    Raises:
        ValueError: an answer has another number of sentences.
    """
    spans = sum(len({s.key for s in sentence}) for sentence in gold)
    if spans < max(minimum, 1) or len(gold) < 2:
        return NoneBias(0.0, None, None, (), spans, enough=False)
    counts: dict[float, Counts] = {}
    for bias in sorted({0.0, *map(float, grid)}):
        counts[bias] = _counts(gold, answer(bias))
    for _ in range(refinements):
        for bias in _between(counts):
            counts[bias] = _counts(gold, answer(bias))
    before = _f1(counts[0.0])
    best = _best_bias(counts)
    after = _cross_validated(counts, len(gold), seed)
    if best == 0.0 or after <= before:  # not better on sentences that it was not chosen on
        best, after = 0.0, before
    curve = tuple(_bias_point(bias, counts[bias]) for bias in sorted(counts))
    return NoneBias(best, before, after, curve, spans, enough=True)


def _between(counts: Mapping[float, Counts]) -> list[float]:
    """Half-way from the best bias to its neighbours on either side."""
    tried = sorted(counts)
    at = tried.index(_best_bias(counts))
    return [(tried[i] + tried[i + 1]) / 2 for i in (at - 1, at) if 0 <= i < len(tried) - 1]


def _best_bias(counts: Mapping[float, Counts]) -> float:
    """Highest F1; of equals the nearest to 0, and then the one that finds fewer spans."""
    return max(counts, key=lambda bias: (_f1(counts[bias]), -abs(bias), bias))


def _cross_validated(counts: Mapping[float, Counts], sentences: int, seed: int) -> float:
    """Micro F1 over the folds, each with the bias that is best on the others."""
    order = np.random.default_rng(seed).permutation(sentences)
    fold = np.empty(sentences, dtype=np.int64)
    fold[order] = np.arange(sentences) % min(_FOLDS, sentences)
    held_out = []
    for f in range(min(_FOLDS, sentences)):
        chosen = _best_bias({bias: rows[fold != f] for bias, rows in counts.items()})
        held_out.append(counts[chosen][fold == f])
    return _f1(np.concatenate(held_out))


def _bias_point(bias: float, counts: Counts) -> BiasPoint:
    right, found, true = (int(n) for n in counts.sum(axis=0))
    return BiasPoint(
        bias,
        right / found if found else 0.0,
        right / true if true else 0.0,
        _f1(counts),
        found,
    )
