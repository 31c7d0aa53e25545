"""Whether scores that need no labels rank experts as gold F1 does.

Besides the product's similarity, other statistics of the same sentence vectors are tried, and besides
its probe those of `benchmarks.sam_probes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.sam_choose import Chooser
from benchmarks.sam_probes import PROBES, against
from benchmarks.sam_rows import SIZES
from benchmarks.sam_targets import Target
from experts.pool import Expert
from experts.similarity import Vectors, mean_vector
from experts.spans import Span
from sam_ui.services.domains import Domains

__all__ = ["STATISTICS", "Profile", "rank_experts", "rank_sum", "ranks", "spearman"]


@dataclass(frozen=True)
class Profile:
    """A corpus or an expert in the embedder's space.

    Attributes:
        mean: unit norm, shape (d,).
        vectors: of sentences, unit norm, shape (n, d).
        types: of the names of entity types, unit norm, shape (t, d).
    """

    mean: Vectors
    vectors: Vectors
    types: Vectors


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value from 1, the smallest; equal values share the mean of their ranks."""
    listed = np.asarray(values, dtype=float)
    return [float((listed < value).sum() + ((listed == value).sum() + 1) / 2) for value in listed]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, in [-1, 1]: Pearson's of the ranks.

    Returns:
        None for fewer than three pairs, or where one side does not vary.
    """
    if len(a) < 3 or len(set(a)) < 2 or len(set(b)) < 2:
        return None
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def rank_sum(*scores: Mapping[str, float]) -> dict[str, float]:
    """Name → sum of its ranks by several scores."""
    names = list(scores[0])
    by_score = [ranks([score[name] for name in names]) for score in scores]
    return {name: sum(r[i] for r in by_score) for i, name in enumerate(names)}


def mean_cosine(corpus: Profile, expert: Profile) -> float:
    """The product's: cosine of the means, in [-1, 1]."""
    return float(corpus.mean @ expert.mean)


def nearest_cosine(corpus: Profile, expert: Profile) -> float:
    """Mean over the sentences of the cosine with the nearest exemplar, in [-1, 1]."""
    return float((corpus.vectors @ expert.vectors.T).max(1).mean())


def kernel(corpus: Profile, expert: Profile) -> float:
    """Minus the squared maximum mean discrepancy, Gaussian kernel of width 1 (Gretton et al. 2012).

    For unit vectors ‖x − y‖² = 2 − 2·x·y; the biased estimate.
    """

    def mean_kernel(x: Vectors, y: Vectors) -> float:
        return float(np.exp(x @ y.T - 1).mean())

    own = mean_kernel(corpus.vectors, corpus.vectors)
    theirs = mean_kernel(expert.vectors, expert.vectors)
    return 2 * mean_kernel(corpus.vectors, expert.vectors) - own - theirs


def type_cosine(corpus: Profile, expert: Profile) -> float:
    """Mean over the asked types of the cosine with the expert's nearest type, in [-1, 1]."""
    return float((corpus.types @ expert.types.T).max(1).mean()) if len(expert.types) else 0.0


STATISTICS: dict[str, Callable[[Profile, Profile], float]] = {
    "similarity (cosine of means)": mean_cosine,
    "nearest exemplars": nearest_cosine,
    "kernel distance": kernel,
    "type names": type_cosine,
}


def rank_experts(
    chooser: Chooser, target: Target, seeds: int, merged: Sequence[Sequence[Span]] | None = None
) -> dict[str, Any]:
    """Spearman of every score with the experts' gold F1 on the target, which all have read.

    Args:
        merged: what the merge of all experts found in each text, if that is known.

    Returns:
        ``gold``: expert → F1; ``spearman``: score → correlation, of the probe the mean over the
        seeds of the sampling, None where it is never defined.
    """
    gold = {e.name: chooser.gold_f1(e, target) for e in chooser.allowed(target)}
    scores = {title: [score] for title, score in _statistics(chooser, target).items()}
    similar = next(iter(scores.values()))[0]
    for size in SIZES:
        for seed in range(seeds):
            for title, score in _probes(chooser, target, size, seed, similar, merged).items():
                scores.setdefault(title, []).append(score)
    correlations = {}
    for title, by_seed in scores.items():
        found = [spearman([score[n] for n in gold], list(gold.values())) for score in by_seed]
        told = [value for value in found if value is not None]
        correlations[title] = round(fmean(told), 3) if told else None
    return {
        "gold": {name: round(value, 4) for name, value in gold.items()},
        "spearman": correlations,
    }


def _probes(
    chooser: Chooser,
    target: Target,
    size: int,
    seed: int,
    similar: Mapping[str, float],
    merged: Sequence[Sequence[Span]] | None,
) -> dict[str, dict[str, float]]:
    """Title → expert → score, on one sample of sentences."""
    experts = chooser.allowed(target)
    found = chooser.match(target, experts, seed, samples=size)
    labelled = chooser.match(target, experts, seed, samples=size, labels=True)
    probe = {e.name: e.f1 or 0.0 for e in found.experts}
    texts = [target.texts[i] for i in found.probe]
    answers = {e.name: chooser.reader.answers(e.card.hash, texts, target.types) for e in experts}
    scores = {"probe": probe, "similarity and probe": rank_sum(similar, probe)}
    scores |= {f"probe by {title}": score(answers) for title, score in PROBES.items()}
    if merged is not None:
        reference = [merged[i] for i in found.probe]
        scores["probe against the merge of all"] = against(answers, reference)
    scores["probe against gold"] = {e.name: e.f1 or 0.0 for e in labelled.experts}
    return {f"{title}, n = {size}": score for title, score in scores.items()}


def _statistics(chooser: Chooser, target: Target) -> dict[str, dict[str, float]]:
    """Statistic → expert → value."""
    embedder, domains = chooser.engine.embedder, Domains()
    vectors = embedder.embed(target.texts)
    corpus = Profile(mean_vector(vectors), vectors, embedder.embed(target.types))

    def profile(expert: Expert) -> Profile:
        domain = domains.of(expert, embedder)
        types = embedder.embed([entry.name for entry in expert.card.types])
        return Profile(domain.mean, domain.vectors, types)

    profiles = {expert.name: profile(expert) for expert in chooser.allowed(target)}
    return {
        title: {name: statistic(corpus, of) for name, of in profiles.items()}
        for title, statistic in STATISTICS.items()
    }
