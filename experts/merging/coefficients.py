"""What methods share whose result is a weight for each expert and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from experts.errors import SamError
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.linear import Linear
from experts.merging.lowrank import stack_factors
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
)

if TYPE_CHECKING:
    from experts.gates import Coefficients
    from experts.merging.data import MergeData

__all__ = ["SEED", "SHARE", "LearnedMerge", "Weights", "data_of", "side_by_side"]

Weights = Mapping[str, Mapping[str, Sequence[float]]]
"""Expert → module → weights of the runs of its output rows (`experts.stack.row_runs`)."""

_DIGITS = 4  # of a learned weight: what a person sees is what is merged

SEED = Parameter(
    "seed", "Random seed", "int", 0, 2**31 - 1, 0,
    "Another number chooses other sentences and another order; the same one repeats the merge.",
)  # fmt: skip

SHARE = Parameter(
    "share", "One weight for", "choice", None, None, "module",
    "How finely the weights are learned: one for every part of every layer of the model (module), "
    "one for every layer, or one for the whole expert.",
    choices=("module", "layer", "expert"),
)  # fmt: skip


def data_of(method: MergeMethod, context: MergeContext) -> MergeData:
    """The merge's data, with types to ask for.

    Raises:
        SamError: there are none.
    """
    data = context.data
    if data is None or not data.types:
        raise SamError(
            f"The merge method '{method.key}' reads texts with your entity types, and there are none.",
            "Name at least one entity type, e.g. person.",
        )
    return data


def side_by_side(adapters: Sequence[Adapter], weights: Weights) -> Adapter:
    """The exact weighted merge without any arithmetic, at the sum of the ranks: to try weights."""
    modules: dict[str, LoraFactors] = {}
    for name in dict.fromkeys(name for adapter in adapters for name in adapter.modules):
        present = [
            _weighted(adapter.modules[name], weights[adapter.name][name])
            for adapter in adapters
            if name in adapter.modules
        ]
        b, a = stack_factors([(f.b, f.a) for f in present], [f.scaling for f in present])
        modules[name] = LoraFactors(a=a, b=b, scaling=1.0)
    return Adapter("weighted", adapters[0].base_model, modules)


def _weighted(factors: LoraFactors, weights: Sequence[float]) -> LoraFactors:
    """Run j of the output rows times the j-th weight: exact, as a row of ΔW is a row of B."""
    from experts.stack import row_runs

    runs = row_runs(len(factors.b), len(weights)).to(factors.b.device)
    scale = torch.tensor(list(weights), dtype=factors.b.dtype, device=factors.b.device)
    return replace(factors, b=factors.b * scale[runs, None])


class LearnedMerge(MergeMethod):
    """Base class of methods that learn weights in `prepare` and then merge by `linear`, exactly.

    They leave in `state`:
        coefficients: expert → module → its weight (where a module's rows have several, their mean).
        chunks: expert → module → the weights of the runs of its output rows, from top to bottom.
        report: what learning did, in numbers, for a log.
        note: the same in one sentence for a person.
    """

    def keep(
        self, adapters: Sequence[Adapter], context: MergeContext, learned: Coefficients
    ) -> None:
        """Put learned weights into `state`: four digits, or the recipe's own where unchanged."""
        gates = {name: gate.detach().cpu() for name, gate in learned.gates().items()}
        chunks = {
            expert: {
                name: [
                    context.weights[index]
                    if value == float(learned.start[index])
                    else round(value, _DIGITS)
                    for value in gates[name][index].tolist()
                ]
                for name in adapter.modules
            }
            for index, (expert, adapter) in enumerate(zip(context.experts, adapters, strict=True))
        }
        self.state["chunks"] = chunks
        self.state["coefficients"] = {
            expert: {name: sum(values) / len(values) for name, values in modules.items()}
            for expert, modules in chunks.items()
        }

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """Σᵢ cᵢₘ·ΔWᵢₘ for each module m, by `Linear`."""
        chunks: Weights = self.state["chunks"]
        return Linear().merge_group([_with_weights(m, chunks) for m in group], context)


def _with_weights(module: ModuleInputs, chunks: Weights) -> ModuleInputs:
    """The module with learned weights in place of the recipe's."""
    own = [chunks[expert][module.name] for expert in module.experts]
    return replace(
        module,
        weights=tuple(values[0] if len(values) == 1 else 1.0 for values in own),
        factors=tuple(
            factors if len(values) == 1 else _weighted(factors, values)
            for factors, values in zip(module.factors, own, strict=True)
        ),
    )
