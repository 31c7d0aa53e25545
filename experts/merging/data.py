"""What merge methods may use beside the adapters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experts.spans import Span

if TYPE_CHECKING:
    from experts.base import BaseModel

__all__ = ["NEEDED", "ExpertFit", "MergeData", "missing"]

NEEDED = {
    "none": "nothing but the experts",
    "scores": "scores of a match",
    "texts": "texts and the types to look for",
    "corrections": "corrections of texts and the types to look for",
}
"""What `MergeMethod.needs` means, to go on with "needs …"."""


@dataclass(frozen=True, slots=True)
class ExpertFit:
    """How well one expert fits the texts.

    Attributes:
        similarity: cosine in [-1, 1].
        f1: of the probe, in [0, 1]; None where there were too few spans to tell.
    """

    similarity: float
    f1: float | None


@dataclass(frozen=True)
class MergeData:
    """A person's texts, what is known of them, and the base model to read them with.

    Attributes:
        base: the base model, which stays unchanged. Methods that need only scores do not touch it.
        texts: sentences of the person.
        types: names of the asked entity types.
        gold: for each text its corrected spans, None where nobody corrected it.
        fits: expert → its scores of the match; experts may be missing.
        expert_texts: expert → some of its own training sentences (the exemplars of its card).
    """

    base: BaseModel
    texts: Sequence[str]
    types: Sequence[str]
    gold: Sequence[Sequence[Span] | None] = ()
    fits: Mapping[str, ExpertFit] = field(default_factory=dict)
    expert_texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def corrected(self) -> list[tuple[str, list[Span]]]:
        """The corrected texts with their spans."""
        pairs = zip(self.texts, self.gold, strict=False)
        return [(text, list(spans)) for text, spans in pairs if spans is not None]


def missing(needs: str, data: MergeData | None, experts: Iterable[str]) -> str:
    """What a method needs and does not have, in words; empty where nothing is missing.

    Args:
        needs: of the method.
        data: what there is.
        experts: names of the selected ones.
    """
    if needs == "none":
        return ""
    if data is None:
        return NEEDED[needs]
    if needs == "scores":
        without = [name for name in experts if name not in data.fits]
        return f"scores of {', '.join(without)}" if without else ""
    if not data.texts:
        return "texts"
    if not data.types:
        return "types to look for"
    return "corrections" if needs == "corrections" and not data.corrected else ""
