"""What can be known before any model is loaded about learning from corrections."""

from __future__ import annotations

from experts.errors import SamError
from experts.merging.recipe import Recipe

__all__ = ["FEWEST_FOR_WEIGHTS", "SEARCH_STEPS", "check_weights", "weights_work"]

FEWEST_FOR_WEIGHTS = 8
"""Corrected sentences: four for each half, as the search itself holds some back."""
SEARCH_STEPS = 10
"""Moves along the slope, of eight sentences each."""


def check_weights(recipe: Recipe, sentences: int) -> None:
    """Raise `SamError` where there are no weights to choose, or too few sentences to do it by."""
    if recipe.trained:
        raise SamError(
            "This model was trained on corrections: new weights would undo that.",
            "Choose the merge that it began from.",
        )
    if sum(bool(expert.weight) for expert in recipe.experts) < 2:
        raise SamError("There is only one expert, so nothing to weigh.", "Merge two or more.")
    if sentences < FEWEST_FOR_WEIGHTS:
        raise SamError(
            f"{sentences} corrected sentences are too few to find weights by.",
            f"Correct at least {FEWEST_FOR_WEIGHTS}.",
        )


def weights_work(sentences: int) -> float:
    """Work of finding weights, in units of `LearningPlan.work` at five types: two searches on halves
    and one on all, each checked on some that it holds back, and the reading.
    """
    descent = 3 * SEARCH_STEPS * min(8.0, 0.35 * sentences)
    checks = 1.5 * sentences
    return descent + checks + sentences
