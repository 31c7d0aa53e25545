"""What the tests of methods that learn weights share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from experts.base import BaseModel
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.data import MergeData
from experts.merging.merge import MergeResult, merge
from experts.merging.recipe import Recipe, RecipeExpert
from experts.merging.registry import (
    MergeContext,
    MergeMethod,
    check_parameters,
    get_method,
)
from experts.spans import Span
from tests.unit import tiny

TYPES = ["political party", "gene", "person"]
GOLD = [
    [Span(4, 10, "political party")],
    [Span(0, 3, "gene"), Span(8, 13, "gene")],
    [Span(0, 8, "person")],
    [Span(0, 9, "political party")],
    [],
]
LEARNED = ["expert_merging", "expert_merging_pp", "search"]
THIRDS = (1 / 3, 1 / 3, 1 / 3)


def expert(base: BaseModel, name: str, seed: int, *, scaling: float = 0.1) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for path, module in base.model.named_modules():
        if path.endswith(("q_proj", "up_proj", "c_fc", "query_key_value")):
            out, into = module.weight.shape
            if type(module).__name__ == "Conv1D":
                out, into = into, out
            a = torch.randn(3, into, generator=generator)
            modules[path] = LoraFactors(a, torch.randn(out, 3, generator=generator), scaling)
    assert modules
    return Adapter(name, base.name, modules)


def three(base: BaseModel) -> list[Adapter]:
    """The second lacks a layer."""
    adapters = [expert(base, name, seed) for seed, name in enumerate("abc")]
    del adapters[1].modules[next(iter(adapters[1].modules))]
    return adapters


def data_for(base: BaseModel, **changes: Any) -> MergeData:
    return MergeData(base, **{"texts": tiny.TEXTS, "types": TYPES, "gold": GOLD} | changes)


def context_for(
    key: str, adapters: Sequence[Adapter], weights: Sequence[float], data: MergeData, **given: Any
) -> MergeContext:
    parameters = check_parameters(get_method(key), given)
    names = tuple(adapter.name for adapter in adapters)
    return MergeContext(names, tuple(weights), parameters, None, torch.device("cpu"), data)


def learn(
    key: str, adapters: Sequence[Adapter], weights: Sequence[float], data: MergeData, **given: Any
) -> MergeMethod:
    method = get_method(key)()
    method.prepare(adapters, context_for(key, adapters, weights, data, **given))
    return method


def run(
    key: str,
    adapters: Sequence[Adapter],
    weights: Sequence[float],
    data: MergeData | None,
    progress: Callable[[int, int, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **given: Any,
) -> MergeResult:
    pairs = zip(adapters, weights, strict=True)
    chosen = [RecipeExpert(name=adapter.name, weight=weight) for adapter, weight in pairs]
    recipe = Recipe(experts=chosen, method=key, parameters=given)
    return merge(recipe, adapters, data=data, progress=progress, cancelled=cancelled)


def same_bytes(one: Adapter, two: Adapter) -> bool:
    assert one.modules.keys() == two.modules.keys()
    return all(
        torch.equal(f.a, two.modules[name].a) and torch.equal(f.b, two.modules[name].b)
        for name, f in one.modules.items()
    )
