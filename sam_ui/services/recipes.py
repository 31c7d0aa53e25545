"""From the sliders to recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from experts.errors import SamError

if TYPE_CHECKING:
    from experts.merging.recipe import Recipe

__all__ = ["make_recipes"]


def make_recipes(
    weights: Mapping[str, float],
    *,
    method: str = "linear",
    parameters: Mapping[str, Any] | None = None,
    rank: int | None = None,
    base_model: str = "",
    hashes: Mapping[str, str] | None = None,
    dual: tuple[Sequence[str], Sequence[str]] | None = None,
) -> list[Recipe]:
    """The recipes of a merge as the person set it up.

    Args:
        weights: expert name -> weight; those of weight 0 are left out.
        dual: names of the experts recommended by similarity and by probe. Each gives a recipe with
            those of its experts that have a weight, scaled to the same sum as all weights; an
            expert that neither recommends joins both. Where one has none, the merge is single.

    Raises:
        SamError: no expert has a weight.
    """
    from experts.merging.recipe import Recipe, RecipeExpert

    used = {name: weight for name, weight in weights.items() if weight != 0}
    if not used:
        raise SamError("No expert has a weight.", "Switch on at least one expert.")

    def recipe(names: Sequence[str], criterion: Literal["single", "similarity", "probe"]) -> Recipe:
        total, part = sum(used.values()), sum(used[name] for name in names)
        scale = total / part if part and total else 1.0
        return Recipe(
            experts=[
                RecipeExpert(name=n, weight=used[n] * scale, hash=(hashes or {}).get(n) or None)
                for n in names
            ],
            method=method,
            parameters=dict(parameters or {}),
            rank=rank,
            base_model=base_model,
            criterion=criterion,
        )

    if dual is not None:
        neither = [n for n in used if n not in dual[0] and n not in dual[1]]
        similar = [n for n in used if n in dual[0] or n in neither]
        probed = [n for n in used if n in dual[1] or n in neither]
        both = set(used) & set(dual[0]) and set(used) & set(dual[1])
        if both and similar != probed:
            return [recipe(similar, "similarity"), recipe(probed, "probe")]
    return [recipe(list(used), "single")]
