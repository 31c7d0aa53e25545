"""What the tests of the methods that read texts share: experts of a tiny model, dense references."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experts.base import BaseModel
from experts.card import CardType, ExpertCard
from experts.merging.adapters import (
    Adapter,
    LoraFactors,
    content_hash,
    load_adapter,
    save_adapter,
)
from experts.merging.data import MergeData
from experts.merging.merge import MergeResult, merge
from experts.merging.passes import Passes
from experts.merging.registry import MergeContext, check_parameters, get_method
from experts.pool import Pool
from tests.unit import tiny
from tests.unit.fakes import BASE as FAKE_BASE
from tests.unit.fakes import DOMAINS
from tests.unit.merging_support import BASE, dense, recipe_for

TEXTS = [
    "The Greens formed a joint list with the Socialists.",
    "New York and New Zealand are not the same place.",
    "p53 and BRCA1 are genes.",
]
TYPES = ["person", "place"]
OWN = {"a": TEXTS[:2], "b": TEXTS[1:]}


def linear_layers(base: BaseModel, *parts: str) -> dict[str, tuple[int, int]]:
    """Names of a model's linear layers that end on one of the parts → (out, in)."""
    shapes = {}
    for name, module in base.model.named_modules():
        if name.endswith(parts) and hasattr(module, "weight"):
            rows, columns = module.weight.shape
            conv = type(module).__name__ == "Conv1D"
            shapes[name] = (columns, rows) if conv else (rows, columns)
    return shapes


def experts_of(
    base: BaseModel, parts: Sequence[str], names: str = "abc", rank: int = 2
) -> list[Adapter]:
    experts = []
    for seed, name in enumerate(names):
        generator = torch.Generator().manual_seed(seed)
        modules = {
            module: LoraFactors(
                a=torch.randn(rank, shape[1], generator=generator) / 4,
                b=torch.randn(shape[0], rank, generator=generator) / 4,
                scaling=0.5 + seed,
            )
            for module, shape in linear_layers(base, *parts).items()
        }
        experts.append(Adapter(name, BASE, modules))
    return experts


def data_for(base: BaseModel, **changes: Any) -> MergeData:
    given = {"base": base, "texts": TEXTS, "types": TYPES, "expert_texts": OWN} | changes
    return MergeData(**given)


def run(
    method: str, weights: Mapping[str, float], experts: list[Adapter], data: Any, **fields: Any
) -> MergeResult:
    return merge(recipe_for(weights, method=method, **fields), experts, data=data)


def passes_of(
    method: str,
    weights: Mapping[str, float],
    experts: list[Adapter],
    data: MergeData,
    **parameters: Any,
) -> Passes:
    """The answered sentences that a merge of these reads."""
    context = MergeContext(
        tuple(weights),
        tuple(weights.values()),
        check_parameters(get_method(method), parameters),
        None,
        torch.device("cpu"),
        data,
    )
    return Passes(experts, context)


@contextlib.contextmanager
def densely(base: BaseModel, expert: Adapter) -> Iterator[None]:
    """The expert added into the model's weights, without anything of ours."""
    modules = dict(base.model.named_modules())
    before = {name: modules[name].weight.detach().clone() for name in expert.modules}
    with torch.no_grad():
        for name, factors in expert.modules.items():
            delta = dense(factors)
            conv = type(modules[name]).__name__ == "Conv1D"
            modules[name].weight += (delta.T if conv else delta).float()
    yield
    with torch.no_grad():
        for name, weight in before.items():
            modules[name].weight.copy_(weight)


def inputs_of(base: BaseModel, expert: Adapter, targets: Sequence[Any]) -> dict[str, Tensor]:
    """What every linear layer reads, (tokens, in) float64: branch by branch, by the model itself."""
    seen: dict[str, list[Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0][0].double())
        )
        for name, module in base.model.named_modules()
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
    ]
    rows: dict[str, list[Tensor]] = {}
    with densely(base, expert), torch.no_grad():
        for target in targets:
            prefix = target.row.prefix
            for number, branch in enumerate(target.row.branches):
                seen.clear()
                base.model(input_ids=torch.tensor([[*prefix, *branch]]), use_cache=False)
                for name, (inputs,) in seen.items():
                    rows.setdefault(name, []).append(inputs[len(prefix) if number else 0 :])
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in rows.items()}


def delta_of(expert: Adapter, module: str, shape: tuple[int, int]) -> Tensor:
    """ΔW in float64; zero where the expert does not touch the layer."""
    factors = expert.modules.get(module)
    return torch.zeros(shape, dtype=torch.float64) if factors is None else dense(factors)


def tiny_pool(folder: Path) -> Pool:
    """Three experts of `tests.unit.tiny.gemma`, named as the fake engine names its own."""
    experts = experts_of(tiny.gemma(), ("layers.0.mlp.up_proj", "layers.1.mlp.up_proj"))
    for expert, name in zip(experts, DOMAINS, strict=True):
        save_adapter(expert, folder / name, dtype=torch.float32, base_model=FAKE_BASE)
        card = ExpertCard(
            name=name,
            title=name.title(),
            types=[CardType(name="person")],
            base_model=FAKE_BASE,
            rank=2,
            hash=content_hash(load_adapter(folder / name, name=name)),
            exemplars=[f"A sentence of {name}.", "Another one."],
        )
        card.save(folder / name / "card.json")
    return Pool(folder, folder / "own", base_model=FAKE_BASE)
