"""Run a recipe: validate everything, then merge layer by layer."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter, LoraFactors, content_hash
from experts.merging.data import NEEDED, MergeData, missing
from experts.merging.devices import Devices, cpu_workers, parse_devices
from experts.merging.recipe import Recipe, RecipeExpert
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    check_parameters,
    get_method,
)

__all__ = ["MergeResult", "merge"]

Progress = Callable[[int, int, str], None]

# Numbers (not bytes) that one batched step may stack: bounds memory at 128 MiB of input in fp32.
_BATCH_NUMBERS = 2**25
_PREPARING = 0.9  # share of the progress, for methods that read texts


@dataclass(frozen=True)
class MergeResult:
    """What a merge made.

    Attributes:
        adapter: the merged adapter on the CPU, scaling 1 everywhere, ranks may differ by module.
        retained_energy: Σ‖kept‖² / Σ‖wanted‖² over all modules, in [0, 1]; 1 is lossless.
        per_module: the same for each module.
        seconds: wall time.
        coefficients: expert → module → cᵢ, where the result is Σ cᵢ·ΔWᵢ in each layer (before any
            truncation); None for other methods.
        weights: expert → cᵢ, where it is the same in all of the expert's layers; else None.
        note: what the method has to say of its run to a person, one or two sentences; may be empty.
    """

    adapter: Adapter
    retained_energy: float
    per_module: dict[str, float]
    seconds: float
    coefficients: dict[str, dict[str, float]] | None = None
    weights: dict[str, float] | None = None
    note: str = ""


def merge(
    recipe: Recipe,
    adapters: Sequence[Adapter],
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    device: Devices = None,
    data: MergeData | None = None,
) -> MergeResult:
    """Make the merged adapter that a recipe describes.

    The same recipe gives the same bytes on the same kind of device, in whatever order the experts
    are listed, and on however many devices.

    Memory: beside the experts and the result, each device holds the factors of one group of layers
    (128 MiB; one layer if that is larger) and, for methods that form dense matrices, about four of
    the largest layer and a tile of every expert's. It does not grow with the number of layers. A
    CPU is divided among as many workers, each with a layer of its own, as 2 GiB allow.

    Args:
        recipe: what to do.
        adapters: the recipe's experts in any order, matched by name; others are ignored.
        progress: called with (modules done, modules in all, name of the last one); with methods
            that read texts first, with (done, 1000, what is being done).
        cancelled: asked before every group of modules.
        device: where to compute; the CPU by default. Several of one kind ("cuda:0,cuda:1" or a
            sequence) share the groups of layers; methods that read texts use the first alone.
        data: what the method's `needs` asks for.

    Raises:
        SamError: the recipe and the adapters do not fit together; raised before any work.
        Cancelled: `cancelled` said so.
    """
    started = time.perf_counter()
    if recipe.trained:
        raise SamError(
            "The recipe's adapter was trained on corrections after the merge, which no recipe holds.",
            "Use the adapter itself, or take “learned” out of the recipe for the merge before it.",
        )
    method = get_method(recipe.method)
    parameters = check_parameters(method, recipe.parameters)
    selected = _select(recipe, adapters)
    lacking = missing(method.needs, data, [expert.name for expert, _ in selected])
    if lacking:
        raise SamError(
            f"The merge method '{method.key}' needs {NEEDED[method.needs]}; "
            f"what is missing: {lacking}.",
            "Choose a method that needs no data, or give it what it needs.",
        )
    _check_together(recipe, [adapter for _, adapter in selected])
    reads = method.needs in ("texts", "corrections")
    # Metal has neither QR nor float64; these small problems are quick on the CPU.
    devices = [torch.device("cpu") if d.type == "mps" else d for d in parse_devices(device)]
    context = MergeContext(
        experts=tuple(expert.name for expert, _ in selected),
        weights=tuple(expert.weight for expert, _ in selected),
        parameters=parameters,
        rank=recipe.rank,
        device=devices[0],
        data=data,
        progress=_stage(progress, 0, _PREPARING) if reads else progress,
        cancelled=cancelled,
    )
    run = method()
    if reads:
        progress = _stage(progress, _PREPARING, 1)
    work = _Work(run, [a for _, a in selected], progress, cancelled)
    merged = work.run([context] if reads else [replace(context, device=d) for d in devices])
    revision, differ = _revision([adapter for _, adapter in selected])
    kept = sum(module.kept for module in merged.values())
    total = sum(module.total for module in merged.values())
    return MergeResult(
        adapter=_result_adapter(recipe, [adapter for _, adapter in selected], merged, revision),
        retained_energy=kept / total if total > 0 else 1.0,
        per_module={n: m.kept / m.total if m.total > 0 else 1.0 for n, m in merged.items()},
        seconds=time.perf_counter() - started,
        coefficients=run.state.get("coefficients"),
        weights=_weights(run.state.get("coefficients")),
        note=" ".join(said for said in (run.state.get("note", ""), differ) if said),
    )


def _stage(progress: Progress | None, begin: float, end: float) -> Progress | None:
    """Progress of the part of a merge between two shares of it."""
    if progress is None:
        return None

    def report(done: int, total: int, message: str) -> None:
        share = begin + (end - begin) * (min(1.0, done / total) if total else 1.0)
        progress(round(1000 * share), 1000, message)

    return report


def _weights(coefficients: Mapping[str, Mapping[str, float]] | None) -> dict[str, float] | None:
    """Each expert's coefficient where it is one number; None where it differs between layers."""
    if coefficients is None:
        return None
    values = {expert: set(of.values()) for expert, of in coefficients.items()}
    if any(len(numbers) != 1 for numbers in values.values()):
        return None
    return {expert: numbers.pop() for expert, numbers in values.items()}


def _select(recipe: Recipe, adapters: Sequence[Adapter]) -> list[tuple[RecipeExpert, Adapter]]:
    """The recipe's experts of non-zero weight with their adapters, sorted by name."""
    by_name: dict[str, Adapter] = {}
    for adapter in adapters:
        if adapter.name in by_name:
            raise SamError(f"Two adapters are named '{adapter.name}'.", "Rename one of them.")
        by_name[adapter.name] = adapter
    for expert in recipe.experts:
        adapter_or_none = by_name.get(expert.name)
        if adapter_or_none is None:
            raise SamError(
                f"The recipe asks for the expert '{expert.name}', which is not there.",
                f"On hand: {', '.join(sorted(by_name)) or 'none'}.",
            )
        if expert.hash is not None and expert.hash != content_hash(adapter_or_none):
            raise SamError(
                f"The expert '{expert.name}' has changed since the recipe was made.",
                "Use the expert that the recipe was made with, or make the recipe anew.",
            )
    pairs = [(expert, by_name[expert.name]) for expert in recipe.experts if expert.weight != 0]
    if not pairs:
        raise SamError(
            "Every expert has the weight 0, so there is nothing to merge.",
            "Give at least one expert a weight.",
        )
    return sorted(pairs, key=lambda pair: pair[0].name)


def _check_together(recipe: Recipe, adapters: Sequence[Adapter]) -> None:
    """Refuse experts of different bases, shapes that disagree, and an impossible rank."""
    base = recipe.base_model or adapters[0].base_model
    shapes: dict[str, tuple[tuple[int, int], str]] = {}
    ranks: dict[str, int] = {}
    for adapter in adapters:
        if adapter.base_model != base:
            raise SamError(
                f"The expert '{adapter.name}' belongs to the base model "
                f"'{adapter.base_model or 'unknown'}', the merge to '{base or 'unknown'}'.",
                "Merge experts of one base model only.",
            )
        for module, factors in adapter.modules.items():
            shape, other = shapes.setdefault(module, (factors.shape, adapter.name))
            if shape != factors.shape:
                raise SamError(
                    f"The expert '{adapter.name}' has {factors.shape[0]}×{factors.shape[1]} "
                    f"numbers in {module}, '{other}' has {shape[0]}×{shape[1]}.",
                    "They belong to different base models; leave one of them out.",
                )
            ranks[module] = ranks.get(module, 0) + factors.rank
    if not ranks:
        raise SamError("The experts adapt no layer at all.", "Choose other experts.")
    highest = max(ranks.values())
    if recipe.rank is not None and not 1 <= recipe.rank <= highest:
        raise SamError(
            f"The rank {recipe.rank} is not possible for these experts.",
            f"Choose a rank from 1 to {highest}, the sum of their ranks, or leave it out.",
        )


class _Work:
    """Merging group by group, on each device (or on each share of the CPU) in a thread of its own."""

    def __init__(
        self,
        method: MergeMethod,
        adapters: Sequence[Adapter],
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._method, self._adapters = method, adapters
        self._progress, self._cancelled = progress, cancelled
        self._names = sorted({name for a in adapters for name in a.modules}, key=_natural)
        self._merged: dict[str, MergedModule] = {}
        self._groups = _groups(self._names, adapters, method.batched)
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def run(self, contexts: Sequence[MergeContext]) -> dict[str, MergedModule]:
        """Results on the CPU, in the order of the model's layers; one context a device."""
        self._stop_if_cancelled()
        self._method.prepare(self._adapters, contexts[0])
        if len(contexts) == 1 and contexts[0].device.type == "cpu":
            with cpu_workers(self._bytes()) as workers:
                self._share(list(contexts) * min(workers, len(self._names)))
        else:
            self._share(contexts)
        return {name: self._merged[name] for name in self._names}

    def _bytes(self) -> int:
        """What one worker takes: four of the largest layer if it forms dense matrices."""
        if self._method.exact:
            return _BATCH_NUMBERS
        layers = (f for adapter in self._adapters for f in adapter.modules.values())
        return 16 * max(f.shape[0] * f.shape[1] for f in layers)

    def _share(self, contexts: Sequence[MergeContext]) -> None:
        """All groups, by one thread for each of the contexts."""
        others = [threading.Thread(target=self._try, args=(c,)) for c in contexts[1:]]
        for thread in others:
            thread.start()
        self._try(contexts[0])
        for thread in others:
            thread.join()
        if self._error is not None:
            raise self._error

    def _stop_if_cancelled(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("The merge was cancelled.")

    def _try(self, context: MergeContext) -> None:
        """Groups until none is left; the first error of any thread ends them all."""
        try:
            with torch.no_grad():
                while (group := self._next()) is not None:
                    self._keep(group, self._merge(group, context))
        except BaseException as error:
            with self._lock:
                self._error = self._error or error

    def _next(self) -> list[str] | None:
        with self._lock:
            if self._error is not None:
                return None
            self._stop_if_cancelled()
            return next(self._groups, None)

    def _merge(self, group: Sequence[str], context: MergeContext) -> dict[str, MergedModule]:
        inputs = [_inputs(name, self._adapters, context) for name in group]
        try:
            results = self._method.merge_group(inputs, context)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # LAPACK met infinities
            raise _overflow(group[0]) from None
        for name, result in zip(group, results, strict=True):
            if not (math.isfinite(result.kept) and math.isfinite(result.total)):
                raise _overflow(name)
        return {
            name: replace(result, factors=result.factors.to("cpu"))
            for name, result in zip(group, results, strict=True)
        }

    def _keep(self, group: Sequence[str], merged: dict[str, MergedModule]) -> None:
        with self._lock:
            self._merged |= merged
            if self._progress is not None:
                self._progress(len(self._merged), len(self._names), group[-1])


def _overflow(module: str) -> SamError:
    return SamError(
        f"The merge has made numbers in {module} that are too large.",
        "Choose smaller weights; if that does not help, leave out the expert with large ones.",
    )


def _groups(
    names: Sequence[str], adapters: Sequence[Adapter], batched: bool
) -> Iterator[list[str]]:
    """Modules that share (out, in) and summed rank, in pieces of bounded size."""
    groups: dict[tuple[int, int, int], list[str]] = {}
    for name in names:
        present = [a.modules[name] for a in adapters if name in a.modules]
        out_features, in_features = present[0].shape
        key = (out_features, in_features, sum(factors.rank for factors in present))
        groups.setdefault(key, []).append(name)
    for (out_features, in_features, rank), members in groups.items():
        size = max(1, _BATCH_NUMBERS // ((out_features + in_features) * rank)) if batched else 1
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _inputs(name: str, adapters: Sequence[Adapter], context: MergeContext) -> ModuleInputs:
    present = [
        (adapter.name, weight, adapter.modules[name].to(context.device))
        for adapter, weight in zip(adapters, context.weights, strict=True)
        if name in adapter.modules
    ]
    experts, weights, factors = zip(*present, strict=True)
    return ModuleInputs(name, experts, weights, factors)


def _result_adapter(
    recipe: Recipe,
    adapters: Sequence[Adapter],
    merged: dict[str, MergedModule],
    revision: str | None,
) -> Adapter:
    modules: dict[str, LoraFactors] = {name: module.factors for name, module in merged.items()}
    return Adapter(
        name="merged",
        base_model=recipe.base_model or adapters[0].base_model,
        modules=modules,
        targets=frozenset().union(*(adapter.targets for adapter in adapters)),
        fan_in_fan_out=any(adapter.fan_in_fan_out for adapter in adapters),
        revision=revision,
    )


def _revision(adapters: Sequence[Adapter]) -> tuple[str | None, str]:
    """The base model's revision that all experts state that state one; else what to say of it."""
    stated = {adapter.name: adapter.revision for adapter in adapters if adapter.revision}
    if len(set(stated.values())) <= 1:
        return next(iter(stated.values()), None), ""
    listed = ", ".join(f"{name}: {revision}" for name, revision in stated.items())
    return None, (
        f"The experts were trained on different revisions of the base model ({listed}), so the "
        "merged adapter names none; check that the revisions have the same weights."
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts layer 2 before layer 10."""
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]
