"""Selection: which experts to merge, and with which weights.

SaM (arXiv 2506.22813) takes the k experts nearest by similarity and the k best on sampled
sentences. *Single* merges the union of both into one model; *dual* makes one merge for each
criterion and unites their predictions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from experts.errors import SamError
from experts.probe import ProbeScore

__all__ = ["Selection", "recommend"]

Weights = dict[str, float]


@dataclass(frozen=True, slots=True)
class Selection:
    """Recommended experts with weights that sum to 1 in each merge.

    Attributes:
        single: the union of both criteria's experts.
        by_similarity, by_probe: the two merges of the dual form; `by_probe` is empty when the probe
            found too few spans to tell.
    """

    single: Weights
    by_similarity: Weights
    by_probe: Weights


def recommend(
    similarity: Mapping[str, float],
    probe: Mapping[str, ProbeScore],
    k: int = 3,
    *,
    weighting: Literal["uniform", "softmax"] = "softmax",
    temperature: float = 0.1,
) -> Selection:
    """Propose experts and weights.

    Args:
        similarity: expert → cosine in [-1, 1].
        probe: expert → probe score; experts without enough spans are left out.
        k: experts for each criterion.
        weighting: ``softmax`` of the scores (of the mean of both in *single*), or ``uniform``, as
            in the paper. On the first 100 dev sentences of two corpora softmax had F1 0.543 and
            0.559, uniform 0.516 and 0.532 (`benchmarks/pool`).
        temperature: of the softmax.

    Raises:
        SamError: if the pool is empty or `k` is below 1.
    """
    if not similarity:
        raise SamError("The pool has no experts.", "Add one: sam-ui experts add PATH.")
    if k < 1:
        raise SamError(f"k must be at least 1, not {k}.", "3 is a good start.")
    told = {name: score.f1 for name, score in probe.items() if score.enough}
    near, good = _best(similarity, k), _best(told, k)
    union = list(dict.fromkeys([*near, *good]))

    def weigh(names: Iterable[str], scores: Mapping[str, float]) -> Weights:
        if weighting == "uniform":
            return _normalised(dict.fromkeys(names, 1.0))
        return _normalised({n: math.exp(scores.get(n, 0.0) / temperature) for n in names})

    mean = {n: (similarity[n] + told.get(n, similarity[n])) / 2 for n in union}
    return Selection(weigh(union, mean), weigh(near, similarity), weigh(good, told))


def _best(scores: Mapping[str, float], k: int) -> list[str]:
    return sorted(scores, key=lambda name: (-scores[name], name))[:k]


def _normalised(weights: Weights) -> Weights:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
