"""Take an expert out of a merge again.

A weighted sum can be undone without the other experts: ΔW' = ΔW_m − wᵢ·ΔWᵢ, exact in factored form.
Other methods cannot, because they have mixed or dropped what the experts knew; nor can a sum that
was cut to a lower rank, because what was cut off is nowhere. For these the recipe is run again
without the expert, which needs the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter, LoraFactors, content_hash
from experts.merging.data import MergeData
from experts.merging.devices import Devices
from experts.merging.lowrank import split_evenly, stack_factors, svd_of_product
from experts.merging.merge import MergeResult, merge
from experts.merging.recipe import Recipe, RecipeExpert

__all__ = ["Unmerged", "rerun", "stored_precision", "unmerge", "without"]

Progress = Callable[[int, int, str], None]

_EPS = torch.finfo(torch.float32).eps  # merges are computed in float32
LINEAR = ("linear",)
"""Methods whose result is Σ wᵢΔWᵢ."""
_AGAIN = "Run the recipe again without it (`sam-ui unmerge --rerun`); this needs the other experts."


@dataclass(frozen=True)
class Unmerged:
    """A merge without one of its experts.

    Attributes:
        adapter: scaling 1 everywhere.
        recipe: that gives the same adapter from the experts that are left.
        error: bound of ‖computed − exact‖ / ‖exact‖ from the rounding of the stored merge: about
            2⁻⁸ for bfloat16 and 2⁻²⁴ for float32, more where the expert was most of the merge.
    """

    adapter: Adapter
    recipe: Recipe
    error: float


def without(recipe: Recipe, name: str, *, renormalise: bool = False) -> Recipe:
    """The recipe without an expert.

    Args:
        renormalise: scale the other weights so that their sum is what it was with it.

    Raises:
        SamError: the recipe does not name the expert, names no other, or the others' weights sum
            to zero and cannot be scaled.
    """
    removed = _member(recipe, name)
    others = [expert for expert in recipe.experts if expert.name != name]
    if not any(expert.weight for expert in others):
        raise SamError(
            f"'{name}' is the only expert of this merge; without it nothing is left.",
            "Use the base model without an adapter.",
        )
    scale = _scale(recipe, removed) if renormalise else 1.0
    try:
        kept = [
            RecipeExpert(name=expert.name, weight=expert.weight * scale, hash=expert.hash)
            for expert in others
        ]
    except ValueError:
        raise _unscalable() from None
    return recipe.model_copy(update={"experts": kept})


def rerun(
    recipe: Recipe,
    name: str,
    adapters: Sequence[Adapter],
    *,
    renormalise: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    device: Devices = None,
    data: MergeData | None = None,
) -> tuple[Recipe, MergeResult]:
    """Run a recipe again without one of its experts, by whatever method; arguments as of `merge`.

    A rank that the remaining experts cannot fill is left out of the new recipe.
    """
    reduced = without(recipe, name, renormalise=renormalise)
    names = {expert.name for expert in reduced.experts if expert.weight}
    ranks: dict[str, int] = {}
    for adapter in adapters:
        if adapter.name in names:
            for module, factors in adapter.modules.items():
                ranks[module] = ranks.get(module, 0) + factors.rank
    if reduced.rank is not None and reduced.rank > max(ranks.values(), default=0):
        reduced = reduced.model_copy(update={"rank": None})
    result = merge(
        reduced, adapters, progress=progress, cancelled=cancelled, device=device, data=data
    )
    return reduced, result


def unmerge(
    merged: Adapter,
    recipe: Recipe,
    expert: Adapter,
    *,
    renormalise: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Unmerged:
    """Subtract an expert from a lossless weighted sum, without the other experts.

    The rank falls by the expert's, as far as nothing but rounding noise is given up.

    Args:
        merged: what the recipe made, as it was read from its folder or before it was saved.
        recipe: of `merged`.
        expert: the one to remove; its name as in the recipe.
        renormalise: scale the rest so that the weights have the sum that they had with it.

    Raises:
        SamError: the recipe does not name the expert, or another version of it; the method is not
            linear; the merge was cut to a rank; expert and merge do not fit together.
        Cancelled: `cancelled` said so.
    """
    reduced = without(recipe, expert.name, renormalise=renormalise)
    removed = _member(recipe, expert.name)
    _check(merged, recipe, expert, removed)
    precision = stored_precision(merged)
    _check_lossless(merged, recipe, precision)
    scale = _scale(recipe, removed) if renormalise else 1.0
    modules: dict[str, LoraFactors] = {}
    noise = left = 0.0
    for number, (name, factors) in enumerate(merged.modules.items()):
        if cancelled is not None and cancelled():
            raise Cancelled
        taken = expert.modules.get(name)
        if taken is None or removed.weight == 0:
            modules[name] = replace(factors, scaling=factors.scaling * scale)
            left += _energy(factors) * scale**2
        else:
            modules[name], energy = _subtract(factors, taken, removed.weight, scale, precision)
            left += energy
        noise += (precision / 2 * scale) ** 2 * _energy(factors)
        if progress is not None:
            progress(number + 1, len(merged.modules), name)
    adapter = replace(merged, modules=modules)
    return Unmerged(adapter, reduced, math.sqrt(noise / left) if left > 0 else 0.0)


def stored_precision(adapter: Adapter) -> float:
    """The relative spacing of the numbers that the factors were stored in: 2⁻⁷ for bfloat16,
    2⁻¹⁰ for float16, 2⁻²³ for float32; found by what survives a cast.
    """
    tensors = [t for f in adapter.modules.values() for t in (f.a, f.b)]
    for dtype in (torch.bfloat16, torch.float16):
        if all(bool(torch.equal(t.to(dtype).to(t.dtype), t)) for t in tensors):
            return torch.finfo(dtype).eps
    return torch.finfo(torch.float32).eps


def _member(recipe: Recipe, name: str) -> RecipeExpert:
    for expert in recipe.experts:
        if expert.name == name:
            return expert
    names = ", ".join(expert.name for expert in recipe.experts)
    raise SamError(f"The merge does not contain the expert '{name}'.", f"It contains: {names}.")


def _scale(recipe: Recipe, removed: RecipeExpert) -> float:
    total = sum(expert.weight for expert in recipe.experts)
    rest = total - removed.weight
    size = sum(abs(expert.weight) for expert in recipe.experts)
    if abs(rest) <= 1e-6 * size:
        raise _unscalable()
    return total / rest


def _unscalable() -> SamError:
    return SamError(
        "The weights of the other experts add up to zero and cannot be scaled.",
        "Remove the expert without scaling the others.",
    )


def _check(merged: Adapter, recipe: Recipe, expert: Adapter, removed: RecipeExpert) -> None:
    if recipe.method not in LINEAR:
        raise SamError(
            f"'{expert.name}' cannot be taken out of a merge by the method '{recipe.method}': only "
            "a weighted sum can be undone, other methods mix the experts for good.",
            _AGAIN,
        )
    if removed.hash is not None and removed.hash != content_hash(expert):
        raise SamError(
            f"The expert '{expert.name}' has changed since it was merged, so subtracting it would "
            "take away something else.",
            "Use the version that was merged, or run the recipe again with --rerun.",
        )
    if expert.base_model != merged.base_model:
        raise SamError(
            f"The expert '{expert.name}' belongs to the base model "
            f"'{expert.base_model or 'unknown'}', the merge to '{merged.base_model or 'unknown'}'.",
            "Use the expert that was merged.",
        )
    for name, factors in expert.modules.items():
        there = merged.modules.get(name)
        if removed.weight and (there is None or there.shape != factors.shape):
            raise SamError(
                f"The expert '{expert.name}' changes {name}, which the merged adapter does not "
                "have in this shape.",
                "Adapter and recipe do not belong together: choose the folder of the merge.",
            )


def _check_lossless(merged: Adapter, recipe: Recipe, precision: float) -> None:
    """A wanted rank that no layer fills has cut nothing off."""
    if recipe.rank is None:
        return
    full = [name for name, f in merged.modules.items() if _filled(f, precision) >= recipe.rank]
    if full:
        raise SamError(
            f"The merge was cut to rank {recipe.rank} (in {len(full)} layers, such as {full[0]}), "
            "and what was cut off cannot be brought back, so no expert can be taken out exactly.",
            _AGAIN,
        )


def _filled(factors: LoraFactors, precision: float) -> int:
    """The numerical rank: folders pad layers of lower rank with zeros."""
    _, s, _ = svd_of_product(factors.b.double(), factors.a.double())
    return int((s > float(s[0]) * precision * 1e-3).sum()) if float(s[0]) > 0 else 0


def _energy(factors: LoraFactors) -> float:
    """‖ΔW‖², without forming it."""
    b, a = factors.b.double() * factors.scaling, factors.a.double()
    return float(((b.T @ b) * (a @ a.T)).sum().clamp(min=0))


def _subtract(
    merged: LoraFactors, taken: LoraFactors, weight: float, scale: float, precision: float
) -> tuple[LoraFactors, float]:
    """scale·(ΔW_m − w·ΔW) of one layer, and its squared norm."""
    b, a = stack_factors(
        [(merged.b.double(), merged.a.double()), (taken.b.double(), taken.a.double())],
        [merged.scaling * scale, -weight * taken.scaling * scale],
    )
    u, s, vh = svd_of_product(b, a)
    least = max(1, _filled(merged, precision) - taken.rank)
    size = max(math.sqrt(_energy(merged)), abs(weight) * math.sqrt(_energy(taken)))
    noise = max(precision / 2, 8 * len(s) * _EPS) * abs(scale) * size
    # Rounding of the stored merge moves it by less than `noise` in any direction; what is smaller
    # belongs to the removed expert's directions, which are empty now. Experts whose directions are
    # independent leave exactly rank(merge) − rank(expert), so never fewer are kept.
    rank = max(min(least, len(s)), int((s > noise).sum()))
    thin_b, thin_a = split_evenly(u, s, vh, rank)
    dtype = merged.b.dtype
    kept = LoraFactors(a=thin_a.to(dtype), b=thin_b.to(dtype), scaling=1.0)
    return kept, float(s[:rank].square().sum())
