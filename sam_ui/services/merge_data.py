"""What merge methods need beside the experts, from a session or from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from experts.merging.data import ExpertFit, MergeData, missing
from experts.spans import Span
from sam_ui.words import mark

if TYPE_CHECKING:
    import torch

    from experts.base import BaseModel
    from experts.merging.adapters import Adapter
    from experts.merging.recipe import Recipe
    from sam_ui.services.engine import Engine

__all__ = [
    "WHY_NOT",
    "ExpertFit",
    "MergeInputs",
    "mean_coefficients",
    "merge_data",
    "where_to_merge",
]

WHY_NOT = {
    "scores": (mark("needs the scores of a match."), mark("Compare the experts in step 2 first.")),
    "texts": (mark("needs texts and entity types."), mark("Add both in step 1 first.")),
    "corrections": (
        mark("learns from texts whose entities are known, and there are none."),
        mark("Upload annotated texts in step 1, or choose another method."),
    ),
}
"""For each kind of `MergeMethod.needs`: what to say after its name where that is not there, and
what to do."""


@dataclass(frozen=True)
class MergeInputs:
    """Texts, types and scores for the methods that need them; fields as of `MergeData`."""

    texts: Sequence[str] = ()
    types: Sequence[str] = ()
    gold: Sequence[Sequence[Span] | None] = ()
    fits: Mapping[str, ExpertFit] = field(default_factory=dict)


def merge_data(engine: Engine, recipe: Recipe, inputs: MergeInputs | None) -> MergeData | None:
    """What the recipe's method is to be given; None for a method that needs nothing.

    The base model is loaded only for a method that reads, and only if all else is there.
    """
    from experts.merging.registry import get_method

    needs = get_method(recipe.method).needs
    if needs == "none" or inputs is None:
        return None
    names = [member.name for member in recipe.experts if member.weight]
    asked = set(inputs.types)
    data = MergeData(
        base=cast("BaseModel", None),
        texts=inputs.texts,
        types=inputs.types,
        gold=[
            None if spans is None else [span for span in spans if span.label in asked]
            for spans in inputs.gold
        ],
        fits=inputs.fits,
        expert_texts={name: engine.pool.get(name).card.exemplars for name in names},
    )
    if needs == "scores" or missing(needs, data, names):
        return data
    return replace(data, base=engine.base)


def where_to_merge(
    engine: Engine, adapters: Sequence[Adapter], data: MergeData | None
) -> torch.device | list[torch.device]:
    """The device of the base model for a method that reads with it, else what suits the experts.

    Args:
        data: as `merge_data` made it.
    """
    from experts.merging.devices import merge_devices

    if data is not None and data.base is not None:
        return data.base.device
    return merge_devices(engine.settings.device, adapters)


def mean_coefficients(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """One weight an expert: the mean of its coefficients over the layers that it touches."""
    return {name: sum(of.values()) / len(of) for name, of in found.items() if of}
