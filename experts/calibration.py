"""What a span's probability is worth: how often spans of that probability are right.

A model's probability is no chance of being right, and spans of a domain new to it are ordered by it
hardly better than by lot. `reliability` measures how far it is off; `fit_calibrator` learns from
corrected sentences what a probability is worth, type by type.
Thresholds and the bias of "no mention" are chosen in `experts.operating_point`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from experts.errors import SamError
from experts.spans import Span

__all__ = [
    "MINIMUM_SPANS",
    "Bin",
    "Calibrator",
    "Reliability",
    "auroc",
    "fit_calibrator",
    "judged",
    "reliability",
]

MINIMUM_SPANS = 20
"""Judged spans below which nothing is learned: a share of 20 has a standard error of 0.11."""

Spans = Sequence[Sequence[Span]]
"""Spans of each sentence; gold and found spans are parallel lists."""
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_CLIP = 1e-9  # probabilities nearer to 0 or 1 say no more
_SLOPE_SPREAD = 0.5  # of the prior: how far from the identity one expects to be
_OFFSET_SPREAD = 2.0
_TYPE_SPREAD = 1.0
_LEAST_SLOPE = 0.05  # above 0, so that the order of the spans survives
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Bin:
    """Spans whose probability lies in ``[low, high)``; the last bin holds 1 as well.

    Attributes:
        low, high: range of probability.
        count: number of spans.
        mean_score: their mean probability; ``None`` if there are none.
        right: share of them that are right; ``None`` if there are none.
    """

    low: float
    high: float
    count: int
    mean_score: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well probabilities tell right spans from wrong ones.

    Attributes:
        bins: of equal width, from 0 to 1.
        spans, right: number of spans with a probability, and of those that are right.
        unscored: spans left out because they have no probability.
        ece: expected calibration error Σ n_b/n · ``|right_b − mean score_b|`` in [0, 1] (Naeini et
            al. 2015; Guo et al. 2017, arXiv 1706.04599); ``None`` without spans.
        brier: mean of (score − right)² in [0, 1] (Brier 1950); ``None`` without spans.
        auroc: chance that a wrong span has a lower probability than a right one, ties counted half;
            ``None`` unless there are both.
    """

    bins: tuple[Bin, ...]
    spans: int
    right: int
    unscored: int
    ece: float | None
    brier: float | None
    auroc: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; names as of the attributes."""
        return asdict(self)

    def to_markdown(self) -> str:
        """The table of bins, and a line with the three figures."""
        lines = ["| probability | spans | mean | right |", "|---|---|---|---|"]
        lines += [
            f"| {b.low:.2f}–{b.high:.2f} | {b.count} | {_show(b.mean_score)} | {_show(b.right)} |"
            for b in self.bins
        ]
        figures = (
            f"{self.right} of {self.spans} spans right. Expected calibration error "
            f"{_show(self.ece)}, Brier score {_show(self.brier)}, AUROC {_show(self.auroc)}."
        )
        return "\n".join([*lines, "", figures])


def judged(gold: Spans, found: Spans) -> tuple[Floats, Bools, list[str]]:
    """Probabilities of the found spans, whether each is right, and their types.

    A span that is listed twice in a sentence counts once, with its higher probability; spans
    without one are left out.

    Returns:
        Scores (n,) in [0, 1], truth (n,) and types (n), in the order of the sentences: the
        arguments of `fit_calibrator`.

    Raises:
        ValueError: the two have different numbers of sentences.
    """
    scores: list[float] = []
    right: list[bool] = []
    labels: list[str] = []
    for true, mine in zip(gold, found, strict=True):
        keys = {s.key for s in true}
        for key, score in _best_scores(mine).items():
            if score is not None:
                scores.append(score)
                right.append(key in keys)
                labels.append(key[2])
    return np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.bool_), labels


def _best_scores(spans: Iterable[Span]) -> dict[tuple[int, int, str], float | None]:
    """Each span's key once, with the highest probability it is listed with."""
    best: dict[tuple[int, int, str], float | None] = {}
    for span in spans:
        known = best.get(span.key)
        if known is None or (span.score is not None and span.score > known):
            best[span.key] = span.score
    return best


def reliability(gold: Spans, found: Spans, *, bins: int = 10) -> Reliability:
    """Measure the probabilities of found spans against the truth.

    Args:
        gold, found: spans of each sentence; a found span is right if both offsets and the type are.
        bins: number of bins of equal width.

    Raises:
        ValueError: the two have different numbers of sentences, or `bins` is below 1.
    """
    if bins < 1:
        raise ValueError("there must be at least one bin")
    scores, right, _ = judged(gold, found)
    distinct = sum(len(_best_scores(spans)) for spans in found)
    index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    rows: list[Bin] = []
    error = 0.0
    for b in range(bins):
        inside = index == b
        count = int(inside.sum())
        mean = float(scores[inside].mean()) if count else None
        share = float(right[inside].mean()) if count else None
        if mean is not None and share is not None:
            error += count / len(scores) * abs(share - mean)
        rows.append(Bin(b / bins, (b + 1) / bins, count, mean, share))
    any_spans = len(scores) > 0
    return Reliability(
        bins=tuple(rows),
        spans=len(scores),
        right=int(right.sum()),
        unscored=distinct - len(scores),
        ece=error if any_spans else None,
        brier=float(np.mean((scores - right) ** 2)) if any_spans else None,
        auroc=auroc(scores, right),
    )


def auroc(scores: npt.ArrayLike, right: npt.ArrayLike) -> float | None:
    """Area under the ROC curve of right against wrong spans (Mann and Whitney 1947).

    Args:
        scores: (n,) any numbers that can be ordered.
        right: (n,) booleans.

    Returns:
        The chance that a right span scores above a wrong one, ties counted half; ``None`` unless
        there are both.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.bool_)
    good, bad = values[truth], np.sort(values[~truth])
    if not len(good) or not len(bad):
        return None
    below = np.searchsorted(bad, good, side="left")
    not_above = np.searchsorted(bad, good, side="right")
    return float((below + not_above).sum() / (2 * len(good) * len(bad)))


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Chance of being right = σ(slope · logit(probability) + offset + offset of the type).

    Attributes:
        slope: above 0, so that the order of a type's spans stays; below 1 where the model is too
            sure.
        offset: in nats.
        types: type → what is added for it, in nats; 0 for a type that nobody judged.
        spans: number of judged spans that it was learned from.
        enough: whether it was learned at all; if not, it changes nothing.
    """

    slope: float = 1.0
    offset: float = 0.0
    types: Mapping[str, float] = field(default_factory=dict)
    spans: int = 0
    enough: bool = False

    def apply(self, scores: npt.ArrayLike, labels: Sequence[str] | None = None) -> Floats:
        """Calibrated probabilities.

        Args:
            scores: (n,) in [0, 1].
            labels: (n) types of the spans; without them, none has an offset of its own.

        Returns:
            (n,) in [0, 1].
        """
        values = np.asarray(scores, dtype=np.float64)
        if not self.enough:
            return values.copy()
        own = [self.types.get(label, 0.0) for label in labels or [""] * len(values)]
        return _sigmoid(self.slope * _logit(values) + self.offset + np.asarray(own))

    def apply_to_spans(self, found: Spans) -> list[list[Span]]:
        """The spans with calibrated probabilities; those without one stay as they are."""
        return [[self._applied(span) for span in spans] for spans in found]

    def _applied(self, span: Span) -> Span:
        if span.score is None:
            return span
        return replace(span, score=float(self.apply([span.score], [span.label])[0]))

    def to_json(self) -> str:
        """One JSON object; `from_json` reads it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibrator:
        """Read what `to_json` wrote.

        Raises:
            SamError: it is not that.
        """
        try:
            data = json.loads(text)
            types = {str(name): float(value) for name, value in data["types"].items()}
            slope, offset = float(data["slope"]), float(data["offset"])
            spans, enough = int(data["spans"]), data["enough"]
            if not (slope > 0 and spans >= 0 and isinstance(enough, bool)):
                raise ValueError("a number is out of range")
            if not all(map(math.isfinite, (slope, offset, *types.values()))):
                raise ValueError("a number is not finite")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise SamError(
                "The calibration cannot be read.", "Learn it from the corrections again."
            ) from None
        return cls(slope, offset, types, spans, enough)


def fit_calibrator(
    scores: npt.ArrayLike,
    right: npt.ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    minimum: int = MINIMUM_SPANS,
) -> Calibrator:
    """Learn how likely spans of a probability, and of a type, are right.

    Platt scaling (Platt 1999) on the logit, as Guo et al. 2017 (arXiv 1706.04599) use it, with an
    offset for each type: a model that takes every politician for a person is sure of it each time.
    Fitted by Newton's method with backtracking, after Lin, Lin and Weng (2007). Instead of Platt's
    smoothed targets, normal priors hold the numbers near the identity: slope 1 ± 0.5, offset 0 ± 2
    nats, each type's 0 ± 1. So a few corrections move them a little, even if all are right.

    Args:
        scores: (n,) probabilities in [0, 1]; see `judged`.
        right: (n,) whether the spans are right.
        labels: (n) types of the spans; ``None`` to learn nothing by type.
        minimum: spans below which nothing is learned.

    Returns:
        The calibrator; with ``enough=False``, changing nothing, if there are too few spans.

    Raises:
        ValueError: the lengths differ, or a score is no probability.
    """
    values = np.asarray(scores, dtype=np.float64)
    truth = np.asarray(right, dtype=np.float64)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ValueError("scores and right must be vectors of the same length")
    if labels is not None and len(labels) != len(values):
        raise ValueError("scores and labels must be of the same length")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("scores must be probabilities")
    if len(values) < max(minimum, 1):
        return Calibrator(spans=len(values))
    names = sorted(set(labels or ()))
    own = np.array([[label == name for name in names] for label in labels or ()], dtype=np.float64)
    x = np.column_stack(
        [_logit(values), np.ones_like(values), own.reshape(len(values), len(names))]
    )
    theta = _fit(x, truth, free_slope=True)
    if theta[0] < _LEAST_SLOPE:  # convex: the best allowed slope is then the border itself
        theta = _fit(x, truth, free_slope=False)
    slope, offset, *by_type = map(float, theta)
    return Calibrator(
        slope, offset, dict(zip(names, by_type, strict=True)), len(values), enough=True
    )


def _fit(x: Floats, y: Floats, *, free_slope: bool) -> Floats:
    """Minimise the penalised log-loss over the weights of the columns of x (n, k), the first of
    which is the slope; without `free_slope` that stays at its least.
    """
    prior = np.zeros(x.shape[1])
    prior[0] = 1.0
    spread = np.full(x.shape[1], _TYPE_SPREAD, dtype=np.float64)
    spread[:2] = _SLOPE_SPREAD, _OFFSET_SPREAD
    theta = prior.copy()
    first = 0 if free_slope else 1  # parameters before it stay
    if not free_slope:
        theta[0] = _LEAST_SLOPE

    def loss(at: Floats) -> float:
        z = x @ at
        return float(
            (np.logaddexp(0.0, z) - y * z).sum() + 0.5 * (((at - prior) / spread) ** 2).sum()
        )

    value = loss(theta)
    for _ in range(_MOST_STEPS):
        q = _sigmoid(x @ theta)
        gradient = (x.T @ (q - y) + (theta - prior) / spread**2)[first:]
        hessian = (x * (q * (1 - q))[:, None]).T @ x + np.diag(spread**-2)
        step = np.zeros_like(theta)
        step[first:] = np.linalg.solve(hessian[first:, first:], gradient)
        decrease = float(gradient @ step[first:])
        if decrease < 1e-12:
            break
        size = 1.0
        while size > 1e-10 and loss(theta - size * step) > value - 1e-4 * size * decrease:
            size /= 2
        theta = theta - size * step
        value = loss(theta)
    return theta


def _logit(p: Floats) -> Floats:
    inside = np.clip(p, _CLIP, 1 - _CLIP)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
