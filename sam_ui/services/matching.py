"""What a match finds, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experts.spans import Span

if TYPE_CHECKING:
    from experts.probe import ProbeScore
    from sam_ui.services.domains import Domain, Vectors

__all__ = ["ExpertMatch", "MatchResult", "expert_match", "flat_map", "near", "spread"]

MAX_MAP_POINTS = 400
MAX_EXEMPLAR_POINTS = 2400  # of all experts together: more is slow to draw and to send
LEAST_EXEMPLAR_POINTS = 20
MAX_PAIRED = 1000  # sentences among which the nearest pairs are looked for

Pair = tuple[int, str, float]
"""Index of a sentence, the exemplar nearest to it, their cosine."""


@dataclass(frozen=True)
class ExpertMatch:
    """One expert's scores; attributes as in `sam_ui.services.views.ExpertScore`, `f1`, `low` and
    `high` None where it was not probed.
    """

    name: str
    similarity: float
    f1: float | None
    low: float | None
    high: float | None
    support: int
    enough: bool
    per_type: dict[str, float | None]
    nearest: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MatchResult:
    """What `Engine.match` found.

    Attributes:
        experts: in the order of the pool.
        probe: indices into the texts of the sampled sentences.
        answers: expert name -> for each of `probe`, the spans that it found; None for those that
            it did not read, having been stopped. Experts that were not probed are missing.
        single, by_similarity, by_probe: expert name -> weight; each sums to 1.
        map_points: 2-D points; `map_texts` says by index which text each belongs to.
        map_experts: expert name -> 2-D points of its exemplars, of the experts that were probed.
        pool: name -> hash of every expert that took part.
        pairs: expert name -> its nearest pairs, of the experts that were probed.
    """

    experts: list[ExpertMatch]
    probe: list[int]
    answers: Mapping[str, Sequence[Sequence[Span] | None]]
    single: dict[str, float]
    by_similarity: dict[str, float]
    by_probe: dict[str, float]
    map_points: list[tuple[float, float]]
    map_texts: list[int]
    map_experts: dict[str, list[tuple[float, float]]]
    pool: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, list[Pair]] = field(default_factory=dict)


def expert_match(
    name: str,
    similarities: Mapping[str, float],
    scores: Mapping[str, ProbeScore],
    domains: Mapping[str, Domain],
    mean: Vectors,
) -> ExpertMatch:
    """Gather what was found about one expert; those without a score were not probed."""
    score = scores.get(name)
    return ExpertMatch(
        name=name,
        similarity=similarities[name],
        f1=score.f1 if score else None,
        low=score.low if score else None,
        high=score.high if score else None,
        support=score.support if score else 0,
        enough=score.enough if score else False,
        per_type=dict(score.per_type) if score else {},
        nearest=domains[name].nearest(mean) if name in domains else [],
    )


def spread(count: int, most: int) -> list[int]:
    """At most `most` indices below `count`, evenly spread: every document has its part."""
    if count <= most:
        return list(range(count))
    return [i * count // most for i in range(most)]


def near(
    vectors: Vectors, indices: Sequence[int], domains: Mapping[str, Domain]
) -> dict[str, list[Pair]]:
    """The nearest pairs of each expert.

    Args:
        vectors: of the sentences, (n, d).
        indices: what each of them is called in the result.
    """
    some = spread(len(vectors), MAX_PAIRED)
    part = vectors[some]
    return {
        name: [(indices[some[i]], text, cosine) for i, text, cosine in domain.pairs(part)]
        for name, domain in domains.items()
    }


def flat_map(
    vectors: Vectors, domains: Mapping[str, Domain]
) -> tuple[list[tuple[float, float]], list[int], dict[str, list[tuple[float, float]]]]:
    """Points of a spread part of the vectors, which part that is, and points of each expert."""
    import numpy as np

    from experts.similarity import project_2d

    shown = spread(len(vectors), MAX_MAP_POINTS)
    each = max(LEAST_EXEMPLAR_POINTS, MAX_EXEMPLAR_POINTS // max(1, len(domains)))
    try:
        mine, theirs = project_2d(vectors[shown], [d.vectors for d in domains.values()])
    except np.linalg.LinAlgError:  # exemplars that are all alike: no map is better than no match
        return [], [], {name: [] for name in domains}
    regions = {
        name: [(float(x), float(y)) for x, y in points[spread(len(points), each)]]
        for name, points in zip(domains, theirs, strict=True)
    }
    return [(float(x), float(y)) for x, y in mine], shown, regions
