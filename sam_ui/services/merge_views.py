"""What the Merge step reads beside the history: previews, and how experts go together.

As in `sam_ui.services.views`: plain frozen dataclasses, offsets in code points, half-open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experts.spans import Span

__all__ = ["CompatibilityPair", "CompatibilityView", "PreviewSentence", "PreviewView"]


@dataclass(frozen=True, slots=True)
class PreviewSentence:
    """A sentence as the weights of a preview read it.

    Attributes:
        spans: what is found now.
        new: those of `spans` that the preview before did not find; none at the first.
        gone: what the preview before found and this one does not.
    """

    id: int
    text: str
    spans: tuple[Span, ...]
    new: tuple[Span, ...]
    gone: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class PreviewView:
    """The last finished preview.

    Attributes:
        weights: expert name -> weight that it was read with.
        method: that it was read with: a method that first has to learn is shown as a weighted sum.
        asked: what it was asked for, to compare with what is asked for now
            (`PreviewService.asked`).
    """

    weights: Mapping[str, float]
    method: str
    sentences: tuple[PreviewSentence, ...]
    asked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompatibilityPair:
    """Two experts side by side; see `experts.merging.compatibility` for the numbers.

    Attributes:
        conflict, conflict_error: None where they change no place both.
        sentence: what it means, with the experts' titles.
    """

    first: str
    second: str
    cosine: float
    overlap: float
    conflict: float | None
    conflict_error: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class CompatibilityView:
    """How well experts go together.

    Attributes:
        retained: rank -> share of their equally weighted sum that an adapter of it would keep.
        sentence: of the pair that is most at odds.
        summary: what follows for a merge of them all, in one or two plain sentences.
    """

    experts: tuple[str, ...]
    pairs: tuple[CompatibilityPair, ...]
    retained: Mapping[int, float]
    sentence: str
    summary: str
