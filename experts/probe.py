"""The probe: every expert's answers on a few sampled sentences, scored without labels.

The second criterion of SaM (arXiv 2506.22813), "performance on sampled instances". Where a person
has corrected a sentence, the correction is the truth. Elsewhere nobody knows it, and a span counts
as true with the chance that the surest experts give it: the mean of the highest quarter of all
experts' probabilities, of two at least.

A majority vote, which is the usual way, takes as true what most experts find; where most know
little of a domain that is little, and experts that find little score best. On eleven dev corpora
it ranked experts hardly better than chance (Spearman's correlation with the true F1 0.16, this one
0.43; `benchmarks/pool`). Two at least, because an expert alone is no judge of itself: a sentence
that only one has read counts only where it is corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experts.evaluate import ratio_interval
from experts.similarity import Vectors, exemplar_indices
from experts.spans import Span

__all__ = [
    "MINIMUM_SPANS",
    "Answers",
    "Expected",
    "Gold",
    "ProbeScore",
    "chances",
    "f1_so_far",
    "sample_sentences",
    "score_answers",
]

MINIMUM_SPANS = 6

Answers = Sequence[Sequence[Span] | None]
"""For each probe sentence the spans that an expert found, None where it has not read it."""

Gold = Sequence[Sequence[Span] | None]
"""For each probe sentence its corrected spans, None where nobody has corrected it."""

Key = tuple[int, int, str]  # of a span: start, end, type
Chances = Mapping[Key, float]  # span → how likely it is true, in (0, 1]


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """One expert's score on the probe sentences.

    Attributes:
        f1: strict span micro F1 in [0, 1] against corrections or pseudo-labels.
        low, high: 95 % bootstrap interval over sentences.
        support: number of true spans that the score rests on, expected and rounded.
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


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected counts of one expert: spans that are right, spans found, spans that are true."""

    right: float
    found: int
    true: float

    @property
    def f1(self) -> float:
        """2·right / (found + true), in [0, 1]; with certain truth, F1."""
        total = self.found + self.true
        return 2 * self.right / total if total else 0.0

    @property
    def support(self) -> int:
        """Number of true spans, rounded."""
        return round(self.true)


def chances(answers: Mapping[str, Answers]) -> list[Chances]:
    """For each sentence how likely the spans are true that experts found in it.

    Args:
        answers: expert → for each sentence its spans, whose scores are probabilities (1 where there
            is none). Of a span that an expert lists twice the higher one counts.

    Returns:
        Span → mean of the highest quarter of the probabilities (two at least) of the experts that
        read the sentence, that of an expert which lacks the span being 0.
    """
    found: list[Chances] = []
    for i in range(len(next(iter(answers.values()), ()))):
        given: dict[Key, list[float]] = {}
        read = [spans for answer in answers.values() if (spans := answer[i]) is not None]
        for spans in read:
            for key, chance in _told(spans).items():
                given.setdefault(key, []).append(chance)
        surest = max(2, round(len(read) / 4))
        found.append({key: sum(sorted(told)[-surest:]) / surest for key, told in given.items()})
    return found


def _told(spans: Sequence[Span]) -> Chances:
    told: dict[Key, float] = {}
    for span in spans:
        chance = 1.0 if span.score is None else span.score
        told[span.key] = max(chance, told.get(span.key, 0.0))
    return told


def f1_so_far(answers: Mapping[str, Answers], gold: Gold | None = None) -> dict[str, Expected]:
    """Every expert's micro score on the sentences that it has read and that can be judged.

    As `score_answers`, without the intervals, which take most of its time.
    """
    truth = _truth(answers, gold)
    return {name: _sum(_expected(truth, found)) for name, found in answers.items()}


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


def _truth(answers: Mapping[str, Answers], gold: Gold | None) -> list[Chances | None]:
    """For each sentence the chances of its spans; None where there is nothing to judge by."""
    if len({len(found) for found in answers.values()}) > 1:
        raise ValueError("every expert must answer the same sentences")
    truth: list[Chances | None] = []
    for i, likely in enumerate(chances(answers)):
        corrected = gold[i] if gold is not None and i < len(gold) else None
        if corrected is not None:
            truth.append({span.key: 1.0 for span in corrected})
        else:
            read = sum(found[i] is not None for found in answers.values())
            truth.append(likely if read > 1 else None)
    return truth


def _expected(
    truth: Sequence[Chances | None], answers: Answers, label: str | None = None
) -> list[Expected]:
    """Counts of each sentence that has both truth and answer, of one type or of all."""
    counts = []
    for true, mine in zip(truth, answers, strict=True):
        if true is None or mine is None:
            continue
        keys = {s.key for s in mine if label is None or s.label == label}
        whole = sum(chance for key, chance in true.items() if label is None or key[2] == label)
        counts.append(Expected(sum(true.get(key, 0.0) for key in keys), len(keys), whole))
    return counts


def _sum(counts: Sequence[Expected]) -> Expected:
    return Expected(
        sum(c.right for c in counts), sum(c.found for c in counts), sum(c.true for c in counts)
    )


def _score(
    truth: Sequence[Chances | None], answers: Answers, types: Sequence[str], seed: int
) -> ProbeScore:
    counts = _expected(truth, answers)
    micro = _sum(counts)
    low, high = ratio_interval([(2 * c.right, c.found + c.true) for c in counts], seed=seed)
    per_type: dict[str, float | None] = {}
    for name in types:
        score = _sum(_expected(truth, answers, name))
        per_type[name] = score.f1 if score.support else None
    read = sum(mine is not None for mine in answers)
    enough = micro.support >= MINIMUM_SPANS
    return ProbeScore(micro.f1, low, high, micro.support, per_type, enough, read)
