"""Thresholds by type, learned from corrected sentences, and what they bring on others."""

from __future__ import annotations

import random
from collections.abc import Sequence

from experts.operating_point import best_thresholds, keep
from experts.spans import Example, Span

__all__ = ["learn_thresholds"]

_FOLDS = 5


def learn_thresholds(
    corrected: Sequence[Example],
    found: Sequence[Sequence[Span]],
    types: Sequence[str],
    *,
    seed: int = 0,
) -> tuple[dict[str, float], list[list[Span]]]:
    """How sure the model must be of a span for it to stay.

    Args:
        corrected: sentences with all their entities of the asked types.
        found: what the model finds in each.
        types: asked.
        seed: of the five parts that the sentences are divided into.

    Returns:
        Type → threshold in [0, 1] (all 0 where nothing is gained), and what stays in each sentence
        with the thresholds that the other four parts give.
    """
    gold = [example.spans for example in corrected]
    texts = sorted({example.text for example in corrected})
    random.Random(seed).shuffle(texts)
    fold = {text: place % _FOLDS for place, text in enumerate(texts)}  # equal ones fall together
    kept: list[list[Span]] = [[] for _ in found]
    for part in range(min(_FOLDS, len(texts))):
        inside = [i for i, e in enumerate(corrected) if fold[e.text] == part]
        others = [i for i, e in enumerate(corrected) if fold[e.text] != part]
        chosen = best_thresholds([gold[i] for i in others], [found[i] for i in others], types)
        for i, spans in zip(inside, keep([found[i] for i in inside], chosen), strict=True):
            kept[i] = spans
    return best_thresholds(gold, found, types), kept
