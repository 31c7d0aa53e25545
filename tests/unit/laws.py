"""Laws that a merge of LoRA experts should obey, as measurements that any merging code can be put
through: SaM's own in the tests, PEFT's in ``benchmarks/peft_laws.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experts.merging.adapters import Adapter, LoraFactors
from tests.unit.merging_support import dense

__all__ = ["LAWS", "Case", "Law", "Merge", "Outcome", "random_case"]

Merge = Callable[[Sequence[Adapter], Sequence[float]], Mapping[str, Tensor]]
"""Experts and weights in, the merged ΔW of each layer out: module path → (out, in), float64."""


@dataclass(frozen=True)
class Case:
    """Experts of the same layers, and weights for them."""

    experts: tuple[Adapter, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Outcome:
    """What came out beside what the law asks for.

    Attributes:
        factor: ⟨got, wanted⟩ / ‖wanted‖²: 1 where the law holds.
        error: ‖got - wanted‖ / ‖wanted‖: 0 where it holds.
    """

    factor: float
    error: float


@dataclass(frozen=True)
class Law:
    """A law.

    Attributes:
        title: short.
        meaning: what it says, for the documentation.
        measure: puts a merging code through it.
    """

    key: str
    title: str
    meaning: str
    measure: Callable[[Merge, Case], Outcome]


def random_case(
    shapes: Mapping[str, tuple[int, int]],
    ranks: Sequence[int],
    weights: Sequence[float],
    seed: int,
    *,
    size: float = 1.0,
) -> Case:
    """Randomly filled experts in float64, so that rounding decides nothing.

    Args:
        size: standard deviation of the entries of A and B.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return size * torch.randn(*shape, generator=generator, dtype=torch.float64)

    experts = [
        Adapter(
            f"expert{number}",
            "example/base",
            {
                name: LoraFactors(a=draw(rank, into), b=draw(out, rank), scaling=2.0)
                for name, (out, into) in shapes.items()
            },
        )
        for number, rank in enumerate(ranks)
    ]
    return Case(tuple(experts), tuple(weights[: len(experts)]))


def _outcome(got: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Outcome:
    names = sorted(wanted)
    # A layer that is left out of the result is left alone, so its update is zero.
    one = torch.cat([got.get(n, torch.zeros_like(wanted[n])).double().flatten() for n in names])
    two = torch.cat([wanted[n].double().flatten() for n in names])
    size = float(two @ two)
    if size == 0:
        return Outcome(1.0 if not one.any() else float("inf"), float(one.norm()))
    return Outcome(float(one @ two) / size, float((one - two).norm()) / size**0.5)


def _updates(expert: Adapter) -> dict[str, Tensor]:
    return {name: dense(factors) for name, factors in expert.modules.items()}


def _changed(expert: Adapter, change: Callable[[LoraFactors], LoraFactors]) -> Adapter:
    modules = {name: change(factors) for name, factors in expert.modules.items()}
    return dataclasses.replace(expert, modules=modules)


def _identity(merge: Merge, case: Case) -> Outcome:
    expert = case.experts[0]
    return _outcome(merge([expert], [1.0]), _updates(expert))


def _copies(merge: Merge, case: Case) -> Outcome:
    expert = case.experts[0]
    copies = [dataclasses.replace(expert, name=f"copy{i}") for i in range(3)]
    return _outcome(merge(copies, [1 / 3] * 3), _updates(expert))


def _gauge(merge: Merge, case: Case) -> Outcome:
    generator = torch.Generator().manual_seed(1)

    def turn(factors: LoraFactors) -> LoraFactors:
        g = torch.randn(factors.rank, factors.rank, generator=generator, dtype=torch.float64)
        g = g + 2 * torch.eye(factors.rank, dtype=torch.float64)
        return dataclasses.replace(factors, a=torch.linalg.solve(g, factors.a), b=factors.b @ g)

    turned = [_changed(expert, turn) for expert in case.experts]
    return _outcome(merge(turned, case.weights), merge(case.experts, case.weights))


def _scaling(merge: Merge, case: Case) -> Outcome:
    def move(factors: LoraFactors) -> LoraFactors:
        return LoraFactors(a=factors.a, b=factors.b * factors.scaling, scaling=1.0)

    moved = [_changed(case.experts[0], move), *case.experts[1:]]
    return _outcome(merge(moved, case.weights), merge(case.experts, case.weights))


def _order(merge: Merge, case: Case) -> Outcome:
    return _outcome(
        merge(case.experts[::-1], case.weights[::-1]), merge(case.experts, case.weights)
    )


def _missing(merge: Merge, case: Case) -> Outcome:
    first, *others = case.experts
    name = next(iter(first.modules))
    without = {n: f for n, f in first.modules.items() if n != name}
    zero = dataclasses.replace(first.modules[name], b=torch.zeros_like(first.modules[name].b))
    lacking = dataclasses.replace(first, modules=without)
    with_zero = dataclasses.replace(first, modules={**without, name: zero})
    return _outcome(
        merge([lacking, *others], case.weights), merge([with_zero, *others], case.weights)
    )


def _negative(merge: Merge, case: Case) -> Outcome:
    opposite = merge(case.experts, [-weight for weight in case.weights])
    plain = merge(case.experts, case.weights)
    return _outcome(opposite, {name: -update for name, update in plain.items()})


def _scale(merge: Merge, case: Case) -> Outcome:
    larger = [
        _changed(expert, lambda f: dataclasses.replace(f, b=3.0 * f.b)) for expert in case.experts
    ]
    plain = merge(case.experts, case.weights)
    return _outcome(
        merge(larger, case.weights), {name: 3.0 * update for name, update in plain.items()}
    )


LAWS = (
    Law(
        "identity", "One expert at weight 1",
        "comes back as it was: nothing is dropped, nothing is made stronger.", _identity,
    ),
    Law(
        "copies", "Three copies at ⅓ each",
        "are the expert itself: agreement must not be punished or rewarded.", _copies,
    ),
    Law(
        "gauge", "Another factorisation",
        "(B·G, G⁻¹·A) is the same update as (B, A), so it must merge to the same.", _gauge,
    ),
    Law(
        "scaling", "Where alpha is written",
        "does not matter: scaling 2 with B, or scaling 1 with 2·B.", _scaling,
    ),
    Law("order", "Order of the experts", "does not matter.", _order),
    Law(
        "missing", "A layer that an expert lacks",
        "is a layer that it leaves alone: the same as an update of zero.", _missing,
    ),
    Law(
        "negative", "All weights negated",
        "negates the result, so that an expert can be subtracted.", _negative,
    ),
    Law(
        "scale", "All experts three times as strong",
        "make a merge three times as strong.", _scale,
    ),
)  # fmt: skip
