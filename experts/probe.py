"""The probe: every expert's answers on a few sampled sentences, scored without labels.

The second criterion of SaM (arXiv 2506.22813), "performance on sampled instances". Where a person
has corrected a sentence, the correction is the truth. Elsewhere the truth is what at least half of
the experts found, every expert having one vote a span. One expert alone is no judge of itself: it is
scored on the corrected sentences only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experts.evaluate import evaluate, f1_interval
from experts.similarity import Vectors, exemplar_indices
from experts.spans import Span

__all__ = ["MINIMUM_SPANS", "ProbeScore", "pseudo_labels", "sample_sentences", "score_answers"]

MINIMUM_SPANS = 6

Answers = Sequence[Sequence[Span]]


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """One expert's score on the probe sentences.

    Attributes:
        f1: strict span micro F1 in [0, 1] against corrections or pseudo-labels.
        low, high: 95 % bootstrap interval over sentences.
        support: number of true (or pseudo-true) spans that the score rests on.
        per_type: F1 for each asked type; ``None`` where there is no span to judge by.
        enough: whether `support` reaches `MINIMUM_SPANS`; if not, `f1` should not be shown.
    """

    f1: float
    low: float
    high: float
    support: int
    per_type: dict[str, float | None]
    enough: bool


def sample_sentences(vectors: Vectors, n: int, seed: int) -> list[int]:
    """N sentences that cover a corpus (k-means++ over unit-norm vectors (m, d), seeded), sorted."""
    return exemplar_indices(vectors, n, seed)


def pseudo_labels(answers: Mapping[str, Answers]) -> list[list[Span]]:
    """For each sentence the spans that at least half of the experts found.

    Args:
        answers: expert → for each sentence its spans. A span counts once for an expert.

    Returns:
        For each sentence its spans, sorted, without scores.
    """
    if not answers:
        return []
    needed = math.ceil(len(answers) / 2)
    sentences = len(next(iter(answers.values())))
    labels: list[list[Span]] = []
    for i in range(sentences):
        votes = Counter(key for found in answers.values() for key in {s.key for s in found[i]})
        labels.append(sorted(Span(*key) for key, count in votes.items() if count >= needed))
    return labels


def score_answers(
    answers: Mapping[str, Answers],
    types: Sequence[str],
    gold: Sequence[Sequence[Span] | None] | None = None,
    seed: int = 0,
) -> dict[str, ProbeScore]:
    """Score every expert's answers on the same sentences.

    Args:
        answers: expert → for each of the n probe sentences its spans.
        types: the asked types.
        gold: for each sentence its corrected spans, or ``None`` where nobody corrected it.
        seed: of the bootstrap.

    Raises:
        ValueError: if the experts answered different numbers of sentences.
    """
    if len({len(found) for found in answers.values()}) > 1:
        raise ValueError("every expert must answer the same sentences")
    truth: list[Sequence[Span]] = list(pseudo_labels(answers))
    for i, corrected in enumerate(gold or ()):
        if corrected is not None:
            truth[i] = corrected
    if len(answers) == 1:
        judged = [i for i, corrected in enumerate(gold or ()) if corrected is not None]
        truth = [truth[i] for i in judged]
        answers = {name: [found[i] for i in judged] for name, found in answers.items()}
    return {name: _score(truth, found, types, seed) for name, found in answers.items()}


def _score(
    truth: Sequence[Sequence[Span]], found: Answers, types: Sequence[str], seed: int
) -> ProbeScore:
    report = evaluate(truth, found)
    low, high = f1_interval(truth, found, seed=seed)
    support = report.micro.support
    per_type: dict[str, float | None] = {}
    for name in types:
        score = report.per_type.get(name)
        per_type[name] = score.f1 if score is not None and score.support else None
    return ProbeScore(report.micro.f1, low, high, support, per_type, support >= MINIMUM_SPANS)
