"""Sentences to keep in mind while learning: those in which the experts of a merge agree on types that
the corrections hardly show, so that these are not unlearned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experts.spans import Example, Span

__all__ = ["agreeing", "hardly_shown"]

_AGREED = 0.7
_SHOWN = 3  # corrected mentions with which a type is known


def hardly_shown(corrected: Sequence[Example], types: Sequence[str]) -> list[str]:
    """Types with fewer than three mentions in the corrected sentences."""
    seen = Counter(span.label for example in corrected for span in example.spans)
    return [name for name in types if seen[name] < _SHOWN]


def agreeing(texts: Sequence[str], answers: Sequence[Sequence[Sequence[Span]]]) -> list[Example]:
    """Sentences with what more than half of the experts found, where they hardly differ.

    Args:
        texts: sentences.
        answers: of each expert, at least two, its spans in each sentence.

    Returns:
        Sentences in which something is agreed upon, and 70 % of all votes are for what is.
    """
    agreed = []
    for text, *found in zip(texts, *answers, strict=True):
        votes = Counter(key for spans in found for key in {span.key for span in spans})
        most = {key: count for key, count in votes.items() if count > len(answers) / 2}
        if most and sum(most.values()) >= _AGREED * votes.total():
            agreed.append(Example(text, tuple(Span(*key) for key in sorted(most))))
    return agreed
