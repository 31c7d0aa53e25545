"""The probe: every expert's answers on a few sampled sentences, scored without labels.

The second criterion of SaM (arXiv 2506.22813), "performance on sampled instances". Where a person
has corrected a sentence, the correction is the truth. Elsewhere the truth is what at least half of
the experts that read the sentence found, every expert having one vote a span. One expert alone is
no judge of itself: a sentence that only one has read counts only where it is corrected.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experts.evaluate import Score, evaluate, f1_interval
from experts.similarity import Vectors, exemplar_indices
from experts.spans import Span

__all__ = [
    "MINIMUM_SPANS",
    "Answers",
    "Gold",
    "ProbeScore",
    "f1_so_far",
    "pseudo_labels",
    "sample_sentences",
    "score_answers",
]

MINIMUM_SPANS = 6

Answers = Sequence[Sequence[Span] | None]
"""For each probe sentence the spans that an expert found, None where it has not read it."""

Gold = Sequence[Sequence[Span] | None]
"""For each probe sentence its corrected spans, None where nobody has corrected it."""


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """One expert's score on the probe sentences.

    Attributes:
        f1: strict span micro F1 in [0, 1] against corrections or pseudo-labels.
        low, high: 95 % bootstrap interval over sentences.
        support: number of true (or pseudo-true) spans that the score rests on.
        per_type: F1 for each asked type; ``None`` where there is no span to judge by.
        enough: whether `support` reaches `MINIMUM_SPANS`; if not, `f1` should not be shown.
        sentences: how many of the probe sentences the expert has read.
    """

    f1: float
    low: float
    high: float
    support: int
    per_type: dict[str, float | None]
    enough: bool
    sentences: int = 0


def sample_sentences(vectors: Vectors, n: int, seed: int) -> list[int]:
    """N sentences that cover a corpus (k-means++ over unit-norm vectors (m, d), seeded), sorted."""
    return exemplar_indices(vectors, n, seed)


def pseudo_labels(answers: Mapping[str, Answers]) -> list[list[Span]]:
    """For each sentence the spans that at least half of the experts that read it found.

    Args:
        answers: expert → for each sentence its spans. A span counts once for an expert.

    Returns:
        For each sentence its spans, sorted, without scores; none where nobody has read it.
    """
    if not answers:
        return []
    labels: list[list[Span]] = []
    for i in range(len(next(iter(answers.values())))):
        read = [found for answer in answers.values() if (found := answer[i]) is not None]
        votes = Counter(key for found in read for key in {s.key for s in found})
        needed = math.ceil(len(read) / 2)
        labels.append(sorted(Span(*key) for key, count in votes.items() if count >= needed))
    return labels


def f1_so_far(answers: Mapping[str, Answers], gold: Gold | None = None) -> dict[str, Score]:
    """Every expert's micro score on the sentences that it has read and that can be judged.

    As `score_answers`, without the intervals, which take most of its time.
    """
    truth = _truth(answers, gold)
    return {name: evaluate(*_judged(truth, found)).micro for name, found in answers.items()}


def score_answers(
    answers: Mapping[str, Answers],
    types: Sequence[str],
    gold: Gold | None = None,
    seed: int = 0,
) -> dict[str, ProbeScore]:
    """Score every expert's answers, each on the sentences that it has read.

    Args:
        answers: expert → for each of the n probe sentences its spans, or ``None`` if it was
            stopped before.
        types: the asked types.
        gold: for each sentence its corrected spans, or ``None`` where nobody corrected it.
        seed: of the bootstrap.

    Raises:
        ValueError: if the experts were asked different numbers of sentences.
    """
    truth = _truth(answers, gold)
    return {name: _score(truth, found, types, seed) for name, found in answers.items()}


def _truth(answers: Mapping[str, Answers], gold: Gold | None) -> list[Sequence[Span] | None]:
    """For each sentence its true spans; None where there is nothing to judge by."""
    if len({len(found) for found in answers.values()}) > 1:
        raise ValueError("every expert must answer the same sentences")
    truth: list[Sequence[Span] | None] = []
    for i, labels in enumerate(pseudo_labels(answers)):
        corrected = gold[i] if gold is not None and i < len(gold) else None
        read = sum(found[i] is not None for found in answers.values())
        truth.append(corrected if corrected is not None else labels if read > 1 else None)
    return truth


def _judged(
    truth: Sequence[Sequence[Span] | None], found: Answers
) -> tuple[list[Sequence[Span]], list[Sequence[Span]]]:
    """Truth and answers of the sentences that have both."""
    pairs = [
        (true, mine)
        for true, mine in zip(truth, found, strict=True)
        if true is not None and mine is not None
    ]
    return [true for true, _ in pairs], [mine for _, mine in pairs]


def _score(
    truth: Sequence[Sequence[Span] | None], answers: Answers, types: Sequence[str], seed: int
) -> ProbeScore:
    true, found = _judged(truth, answers)
    report = evaluate(true, found)
    low, high = f1_interval(true, found, seed=seed)
    support = report.micro.support
    per_type: dict[str, float | None] = {}
    for name in types:
        score = report.per_type.get(name)
        per_type[name] = score.f1 if score is not None and score.support else None
    read = sum(mine is not None for mine in answers)
    enough = support >= MINIMUM_SPANS
    return ProbeScore(report.micro.f1, low, high, support, per_type, enough, read)
