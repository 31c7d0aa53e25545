"""Span-level scores: a prediction counts when both offsets and the type are those of the truth.

Precision = tp / (tp + fp), recall = tp / (tp + fn), F1 = 2·tp / (2·tp + fp + fn); 0 where the
denominator is 0. Micro scores pool all types, macro scores average over the types that occur in
truth or prediction (as seqeval does, Nakayama 2018, in its strict reading).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experts.corpus import read_examples
from experts.errors import SamError
from experts.spans import Span

__all__ = [
    "Report",
    "Score",
    "evaluate",
    "evaluate_files",
    "f1_counts",
    "f1_interval",
    "micro_f1",
    "ratio_interval",
]

Spans = Sequence[Sequence[Span]]
"""Spans of each sentence; gold and predicted spans are parallel lists."""


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of right (`tp`), wrong (`fp`) and missed (`fn`) spans, and what follows from them."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are right, in [0, 1]."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """Share of the true spans that were found, in [0, 1]."""
        return self.tp / self.support if self.support else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else 0.0

    @property
    def support(self) -> int:
        """Number of true spans."""
        return self.tp + self.fn

    def to_dict(self) -> dict[str, float | int]:
        """For JSON: precision, recall, f1, support, tp, fp, fn."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "support": self.support,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Scores of a prediction.

    Attributes:
        micro: over all spans.
        per_type: by type name, sorted; types of the truth or the prediction.
        macro_precision, macro_recall, macro_f1: means over `per_type`; 0 if that is empty.
        sentences: number of sentences compared.
    """

    micro: Score
    per_type: dict[str, Score]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    sentences: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``{"micro": …, "macro": …, "types": {name: …}, "sentences": n}``."""
        return {
            "micro": self.micro.to_dict(),
            "macro": {
                "precision": self.macro_precision,
                "recall": self.macro_recall,
                "f1": self.macro_f1,
            },
            "types": {name: score.to_dict() for name, score in self.per_type.items()},
            "sentences": self.sentences,
        }


def evaluate(gold: Spans, pred: Spans) -> Report:
    """Compare predicted with true spans, sentence by sentence.

    A span that is listed twice in a sentence counts once. Scores of spans are ignored.

    Raises:
        SamError: the two have different numbers of sentences.
    """
    _check_lengths(gold, pred)
    counts: dict[str, list[int]] = {}
    for true, found in zip(gold, pred, strict=True):
        true_keys, found_keys = {s.key for s in true}, {s.key for s in found}
        for key in true_keys | found_keys:
            row = counts.setdefault(key[2], [0, 0, 0])
            row[0 if key in true_keys and key in found_keys else 1 if key in found_keys else 2] += 1
    per_type = {name: Score(*counts[name]) for name in sorted(counts)}
    scores = per_type.values()
    return Report(
        micro=Score(
            sum(s.tp for s in scores), sum(s.fp for s in scores), sum(s.fn for s in scores)
        ),
        per_type=per_type,
        macro_precision=_mean(s.precision for s in scores),
        macro_recall=_mean(s.recall for s in scores),
        macro_f1=_mean(s.f1 for s in scores),
        sentences=len(gold),
    )


def micro_f1(gold: Spans, pred: Spans) -> float:
    """Micro F1 over all spans, in [0, 1]; raises as :func:`evaluate`."""
    return evaluate(gold, pred).micro.f1


def f1_interval(
    gold: Spans, pred: Spans, *, seed: int = 0, n: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the micro F1, resampling sentences (Efron 1979).

    Args:
        seed: of the resampling; the same seed gives the same interval.
        n: number of resamples.
        level: share of the resampled scores inside the interval, in (0, 1).

    Returns:
        ``(low, high)`` in [0, 1]; ``(0, 0)`` without sentences. Resamples without any span are
        left out.

    Raises:
        SamError: the two have different numbers of sentences.
    """
    return ratio_interval(f1_counts(gold, pred), seed=seed, n=n, level=level)


def f1_counts(gold: Spans, pred: Spans) -> list[tuple[int, int]]:
    """Of each sentence 2·tp and the number of true and of predicted spans together: the micro F1 of
    any of the sentences is the sum of the first over the sum of the second.

    Raises:
        SamError: the two have different numbers of sentences.
    """
    _check_lengths(gold, pred)
    counts = []
    for true, found in zip(gold, pred, strict=True):
        true_keys, found_keys = {s.key for s in true}, {s.key for s in found}
        counts.append((2 * len(true_keys & found_keys), len(true_keys) + len(found_keys)))
    return counts


def ratio_interval(
    counts: Sequence[tuple[float, float]], *, seed: int = 0, n: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of Σ numerator / Σ denominator, resampling the pairs.

    Args:
        counts: (numerator, denominator) of each sentence.
        seed, n, level: as of :func:`f1_interval`.

    Returns:
        ``(low, high)``; ``(0, 0)`` where there is nothing to resample.
    """
    import numpy as np

    if not counts:
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    chances = np.full(len(counts), 1 / len(counts))
    pairs = np.asarray(counts)
    sums = rng.multinomial(len(counts), chances, size=n) @ pairs
    sums = sums[sums[:, 1] > 0]
    if not len(sums):
        return 0.0, 0.0
    tail = (1 - level) / 2
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [tail, 1 - tail])
    return float(low), float(high)


def evaluate_files(gold: Path | str, pred: Path | str) -> Report:
    """Score a jsonl of predictions against a labelled file of the same texts in the same order.

    Raises:
        SamError: a file cannot be read, or the texts are not the same.
    """
    true, found = read_examples(gold), read_examples(pred)
    names = Path(gold).name, Path(pred).name
    if len(true) != len(found):
        raise SamError(
            f"{names[0]} has {len(true)} texts and {names[1]} has {len(found)}.",
            "Compare predictions that were made for this very file.",
        )
    for i, (a, b) in enumerate(zip(true, found, strict=True), start=1):
        if a.text != b.text:
            raise SamError(
                f"Text {i} of {names[0]} is not the same as text {i} of {names[1]}.",
                "Compare predictions that were made for this very file.",
            )
    return evaluate([e.spans for e in true], [e.spans for e in found])


def _check_lengths(gold: Spans, pred: Spans) -> None:
    if len(gold) != len(pred):
        raise SamError(
            f"There are {len(gold)} sentences with true spans but {len(pred)} with predictions.",
            "Compare predictions that were made for the same sentences.",
        )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
