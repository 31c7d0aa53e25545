"""What the numbers of a comparison mean, in sentences for a person who is not an engineer."""

from __future__ import annotations

import math

__all__ = ["conflict_words", "cosine_words", "overlap_words", "pair_words", "rank_words"]

_SAME, _ALIKE, _AGAINST = 0.999, 0.3, -0.1


def cosine_words(cosine: float) -> str:
    """How alike two updates are as a whole."""
    if cosine >= _SAME:
        return "They are the same expert."
    if cosine >= _ALIKE:
        return "They have learned much the same."
    if cosine > 0.05:
        return "They have learned a little in common."
    if cosine >= _AGAINST:
        return "They have learned different things."
    return "As a whole they undo each other."


def overlap_words(overlap: float) -> str:
    """How much room they share."""
    return f"{_percent(overlap)} of what one changes lies in directions that the other uses, too."


def conflict_words(conflict: float, error: float) -> str:
    """How often they pull apart; a half is what experts have that know nothing of each other."""
    if math.isnan(conflict):
        return "There is no place that both of them change noticeably."
    give_or_take = f" (± {100 * 1.96 * error:.0f})" if error >= 0.0026 else ""
    said = (
        f"These two pull in opposite directions in {_percent(conflict)}{give_or_take} of the "
        "places they both change"
    )
    if conflict < 0.4:
        return f"{said}, less than chance: they support each other."
    if conflict <= 0.6:
        return f"{said}, as by chance."
    return f"{said}, more than chance: merge them with care."


def pair_words(
    first: str, second: str, *, cosine: float, overlap: float, conflict: float, error: float
) -> str:
    """All of it about one pair."""
    parts = (cosine_words(cosine), overlap_words(overlap), conflict_words(conflict, error))
    return f"{first} and {second}: {' '.join(parts)}"


def rank_words(rank: int, retained: float) -> str:
    """What a merge of them keeps at a rank."""
    if retained >= 0.9995:
        return f"Merged at rank {rank} they keep everything."
    return f"Merged at rank {rank} they keep {_percent(retained)} of their knowledge."


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 1:
        return "less than 1 %"
    return f"{percent:.0f} %" if percent < 99.5 or share >= 1 else f"{math.floor(percent)} %"
