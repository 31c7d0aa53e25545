"""Which laws of merging PEFT's `add_weighted_adapter` keeps, and which SaM's methods keep.

    python -m benchmarks.peft_laws [--out RESULT.json] [--docs docs/merging.md]

The laws are those of `tests.unit.laws`, measured on randomly filled experts of a tiny model in
float64. Prints two Markdown tables and writes JSON; `--docs` rewrites the tables in the page.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from benchmarks.pages import rewrite
from experts.errors import SamError
from experts.merging.adapters import Adapter
from experts.merging.registry import get_method
from tests.unit.laws import LAWS, Law, Merge, Outcome, random_case
from tests.unit.test_merging_laws import EXCEPTIONS, METHODS, merger, parameters_for

SHAPES = {"layers.0.q_proj": (12, 10), "layers.1.q_proj": (12, 10), "layers.2.v_proj": (9, 14)}
WEIGHTS = (0.5, 0.3, 0.4)
SEEDS = (0, 1, 2)
HOLDS = 1e-6

TYPES = (
    "cat", "svd", "linear", "ties", "ties_svd", "dare_linear", "dare_linear_svd", "dare_ties",
    "dare_ties_svd", "magnitude_prune", "magnitude_prune_svd",
)  # fmt: skip


class _Layers(nn.Module):
    """Linear layers under the names of `SHAPES`, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for name, (out, into) in SHAPES.items():
            layer = nn.Module()
            layer.add_module(name.rsplit(".", 1)[1], nn.Linear(into, out, bias=False))
            self.layers.append(layer)
        self.double()


def peft_merger(combination: str, density: float) -> Merge:
    """`add_weighted_adapter` as a function of experts and weights."""

    def run(experts: Sequence[Adapter], weights: Sequence[float]) -> dict[str, Tensor]:
        model: Any = None
        for expert in experts:
            config = _config(expert)
            if model is None:
                model = get_peft_model(_Layers(), config, adapter_name=expert.name)
            else:
                model.add_adapter(expert.name, config)
            _fill(model, expert)
        options = {} if combination in ("cat", "svd", "linear") else {"density": density}
        torch.manual_seed(0)
        model.base_model.add_weighted_adapter(
            [expert.name for expert in experts], list(weights), "merged",
            combination_type=combination, **options,
        )  # fmt: skip
        return {
            name: layer.get_delta_weight("merged").detach()
            for name in SHAPES
            if "merged" in getattr(layer := _layer(model, name), "lora_A", {})
        }

    return run


def _config(expert: Adapter) -> LoraConfig:
    first = next(iter(expert.modules.values()))
    return LoraConfig(
        r=first.rank, lora_alpha=first.scaling * first.rank, target_modules=list(expert.modules)
    )


def _layer(model: Any, name: str) -> Any:
    return model.base_model.model.get_submodule(name)


def _fill(model: Any, expert: Adapter) -> None:
    with torch.no_grad():
        for name, factors in expert.modules.items():
            layer = _layer(model, name)
            for side, values in ((layer.lora_A, factors.a), (layer.lora_B, factors.b)):
                side[expert.name].weight.data = values.clone()
            layer.scaling[expert.name] = factors.scaling


def worst(law: Law, merge: Merge) -> Outcome | str:
    """The largest deviation over the seeds, or what the merge said when it refused."""
    outcomes = []
    for seed in SEEDS:
        case = random_case(SHAPES, [4, 4, 4], WEIGHTS, seed)
        try:
            outcomes.append(law.measure(merge, case))
        except (ValueError, RuntimeError, SamError) as error:
            return str(error).splitlines()[0]
    return max(outcomes, key=lambda outcome: outcome.error)


def cell(outcome: Outcome | str) -> str:
    """Holds, or by which factor the result is wrong if that is all, or by how much it differs."""
    if isinstance(outcome, str):
        return "refused"
    if outcome.error < HOLDS:
        return "holds"
    if abs(abs(outcome.factor - 1) - outcome.error) < 1e-4:
        return f"×{outcome.factor:.2f}"
    percent = 100 * outcome.error
    return f"off by {percent:.0f} %" if percent >= 1 else f"off by {percent:.1g} %"


def table(rows: Mapping[str, Mapping[str, Outcome | str]], head: str) -> str:
    """Markdown: one row a way of merging, one column a law."""
    lines = [[head, *(law.title for law in LAWS)], ["---"] * (len(LAWS) + 1)]
    lines += [[f"`{name}`", *(cell(row[law.key]) for law in LAWS)] for name, row in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(merge_for: Callable[[str, Law], Merge], names: Sequence[str]) -> dict[str, Any]:
    """Name → law → outcome."""
    return {name: {law.key: worst(law, merge_for(name, law)) for law in LAWS} for name in names}


def _peft(name: str, law: Law) -> Merge:
    return peft_merger(name, density=1.0 if law.key in ("identity", "copies") else 0.5)


def _ours(name: str, law: Law) -> Merge:
    return merger(name, parameters_for(name, law))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/peft_laws.json"))
    parser.add_argument("--docs", type=Path, default=None)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    theirs, ours = measure(_peft, TYPES), measure(_ours, METHODS)
    tables = {
        "peft-laws": table(theirs, f"PEFT {peft.__version__}"),
        "sam-laws": table(ours, "SaM"),
    }
    print("\n\n".join(tables.values()))
    for (key, law), reason in EXCEPTIONS.items():
        print(f"{get_method(key).name}, {law}: {reason}")
    if options.docs:
        rewrite(options.docs, tables)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        group: {
            name: {
                law: value if isinstance(value, str) else vars(value) for law, value in row.items()
            }
            for name, row in rows.items()
        }
        for group, rows in ((f"peft {peft.__version__}", theirs), ("sam", ours))
    }
    options.out.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
