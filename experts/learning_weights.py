"""New weights for the experts of a merge, learned from corrected sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experts.base import BaseModel
from experts.extract import Extractor
from experts.learning import halves
from experts.learning_checks import SEARCH_STEPS, check_weights
from experts.merging.adapters import Adapter
from experts.merging.data import MergeData
from experts.merging.merge import MergeResult, merge
from experts.merging.recipe import Recipe
from experts.spans import Example, Span

__all__ = ["FoundWeights", "learn_weights"]

_SEARCH: dict[str, bool | int | float | str] = {
    "how": "gradient",
    "share": "expert",
    "steps": SEARCH_STEPS,
}
_PARTS = (
    "Looking for weights on one half",
    "Looking for weights on the other half",
    "Looking for weights on all your corrections",
)

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class FoundWeights:
    """What the search found.

    Attributes:
        recipe: a weighted sum with these weights.
        merged: its adapter.
        after: what is found in each corrected sentence, with weights that the other half gave.
    """

    recipe: Recipe
    merged: MergeResult
    after: list[list[Span]]


def learn_weights(
    base: BaseModel,
    experts: Sequence[Adapter],
    recipe: Recipe,
    corrected: Sequence[Example],
    types: Sequence[str],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> FoundWeights:
    """Search weights on each half and read the other with them; then search on all.

    Args:
        experts: the recipe's.
        recipe: where the search begins; its rank stays.
        corrected: sentences with all their entities of the asked types.
        progress: called with (done, all, what is being done).

    Raises:
        SamError: too few sentences, or fewer than two experts.
        Cancelled: `cancelled` said so.
    """
    check_weights(recipe, len(corrected))
    tell = progress or (lambda done, total, said: None)
    parts = [*halves(corrected, seed), range(len(corrected))]
    extractor = Extractor(base)
    after: list[list[Span]] = [[] for _ in corrected]
    for number, part in enumerate(parts):

        def report(done: int, total: int, _: str, number: int = number) -> None:
            tell(number + done / max(total, 1), len(parts), _PARTS[number])

        chosen = [corrected[i] for i in part]
        data = MergeData(
            base=base, texts=[e.text for e in chosen], types=types, gold=[e.spans for e in chosen]
        )
        found = _search(recipe, experts, data, seed, report, cancelled)
        merged = merge(found, experts, cancelled=cancelled)
        if number < 2:
            unseen = parts[1 - number]
            texts = [corrected[i].text for i in unseen]
            answers = extractor.extract(texts, types, adapter=merged.adapter, cancelled=cancelled)
            for i, spans in zip(unseen, answers, strict=True):
                after[i] = spans
    return FoundWeights(found, merged, after)


def _search(
    recipe: Recipe,
    experts: Sequence[Adapter],
    data: MergeData,
    seed: int,
    report: Callable[[int, int, str], None],
    cancelled: Callable[[], bool] | None,
) -> Recipe:
    """The recipe as a weighted sum with the weights that the search finds."""
    parameters = {**_SEARCH, "seed": seed}
    wanted = recipe.model_copy(update={"method": "search", "parameters": parameters, "learned": []})
    device = data.base.device
    result = merge(wanted, experts, progress=report, cancelled=cancelled, device=device, data=data)
    weights = result.weights or {}
    members = [
        expert.model_copy(update={"weight": weights.get(expert.name, expert.weight)})
        for expert in recipe.experts
    ]
    return wanted.model_copy(update={"method": "linear", "parameters": {}, "experts": members})
