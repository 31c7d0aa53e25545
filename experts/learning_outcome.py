"""What learning has brought, on sentences that it had not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experts.errors import SamError
from experts.evaluate import Report, evaluate, f1_counts
from experts.spans import Example, Span, check_spans

__all__ = ["ENOUGH_SENTENCES", "ENOUGH_SPANS", "FEWEST", "Outcome", "check_corrections", "compare"]

FEWEST = 4
"""Corrected sentences with which learning starts: two for each half."""
ENOUGH_SENTENCES, ENOUGH_SPANS = 10, 20
"""With fewer, before and after are shown but nothing is claimed."""

_RESAMPLES = 2000

Spans = Sequence[Sequence[Span]]
"""Spans of each sentence."""


@dataclass(frozen=True)
class Outcome:
    """Before and after.

    Attributes:
        before, after: strict scores on the corrected sentences, each read by a model that has not
            learned from it.
        gain: change of micro F1.
        interval: 95 % of it, by paired bootstrap over sentences.
        enough: whether there was enough to tell.
    """

    before: Report
    after: Report
    gain: float
    interval: tuple[float, float]
    enough: bool

    @property
    def better(self) -> bool:
        """Whether the gain is beyond what chance makes."""
        return self.enough and self.interval[0] > 0


def compare(gold: Spans, before: Spans, after: Spans, *, seed: int = 0) -> Outcome:
    """Score two answers to the same sentences.

    Args:
        seed: of the resampling.

    Raises:
        SamError: the numbers of sentences differ.
    """
    gain, interval = _gain(gold, before, after, seed)
    spans = sum(map(len, gold))
    return Outcome(
        before=evaluate(gold, before),
        after=evaluate(gold, after),
        gain=gain,
        interval=interval,
        enough=len(gold) >= ENOUGH_SENTENCES and spans >= ENOUGH_SPANS,
    )


def check_corrections(corrected: Sequence[Example], types: Sequence[str]) -> list[Example]:
    """The sentences with their entities of the asked types only.

    Raises:
        SamError: no types, fewer than four sentences, spans that do not fit, or no entity of the
            asked types.
    """
    if not types:
        raise SamError("No entity types are named.", "Name at least one.")
    if len(corrected) < FEWEST:
        raise SamError(
            f"{len(corrected)} corrected sentence{' is' if len(corrected) == 1 else 's are'} too "
            "few to learn from.",
            f"Correct at least {FEWEST}; 20 are a good start.",
        )
    for number, example in enumerate(corrected, start=1):
        check_spans(example.text, example.spans, where=f"corrected sentence {number}")
    asked = set(types)
    kept = [Example(e.text, tuple(s for s in e.spans if s.label in asked)) for e in corrected]
    if not any(example.spans for example in kept):
        raise SamError(
            "The corrected sentences have no entity of the asked types.",
            "Mark some, or ask for the types that they have.",
        )
    if len({example.text for example in kept}) < 2:
        raise SamError("All corrected sentences are the same.", "Correct different ones.")
    return kept


def _gain(gold: Spans, before: Spans, after: Spans, seed: int) -> tuple[float, tuple[float, float]]:
    """Change of micro F1, and 95 % of it by paired bootstrap over sentences."""
    counts = np.array([f1_counts(gold, found) for found in (before, after)])
    draws = np.random.default_rng(seed).integers(len(gold), size=(_RESAMPLES, len(gold)))

    def f1(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        hits, spans = rows[..., 0].sum(-1), rows[..., 1].sum(-1)
        scores: npt.NDArray[np.float64] = hits / np.maximum(spans, 1)
        return scores

    change = f1(counts[1][draws]) - f1(counts[0][draws])
    low, high = np.quantile(change, (0.025, 0.975))
    return float(f1(counts[1]) - f1(counts[0])), (float(low), float(high))
