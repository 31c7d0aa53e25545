"""Expert Merging++: more weights for the layers that matter more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.expert_merging import SETTINGS, STEPS, ExpertMerging
from experts.merging.registry import MergeContext, Parameter, register

if TYPE_CHECKING:
    from experts.gates import Coefficients

__all__ = ["ExpertMergingPlus", "importance", "magnitude", "runs_for"]

_ROWS = 1024  # of a dense update at a time


def magnitude(factors: LoraFactors) -> float:
    """Σ|ΔW| over all entries, a block of rows at a time: at most 1024 rows are ever dense."""
    total = 0.0
    for rows in factors.b.split(_ROWS):
        total += float((rows @ factors.a).abs().double().sum())
    return total * abs(factors.scaling)


def importance(
    magnitudes: Sequence[Mapping[str, float]], weights: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Share of each module in Σₖ |αₖ|·mean|τₖ|·n; mean|τ|·n is Σ|τ|, what `magnitude` returns.

    Args:
        magnitudes: for each expert k: module → Σ|τₖ|.
        weights: for each expert: module → αₖ.

    Returns:
        Module → importance in [0, 1], sum 1; all alike where every one is 0.
    """
    sums: dict[str, float] = {}
    for own, alpha in zip(magnitudes, weights, strict=True):
        for name, value in own.items():
            sums[name] = sums.get(name, 0.0) + abs(alpha[name]) * value
    total = sum(sums.values())
    return {name: value / total if total > 0 else 1 / len(sums) for name, value in sums.items()}


def runs_for(
    importances: Mapping[str, float], rows: Mapping[str, int], budget: float, steepness: float
) -> dict[str, int]:
    """The number of runs of each module, ⌊B·Iᵏ / ΣIᵏ⌋, but no more than it has rows.

    Args:
        importances: module → I.
        rows: module → number of its output rows.
        budget: B as a multiple of the number of modules.
        steepness: κ; 0 gives every module as many, larger values favour the important ones.
    """
    powers = {name: value**steepness for name, value in importances.items()}
    total = sum(powers.values())
    # A budget that comes out whole must not lose a run to rounding.
    return {
        name: min(rows[name], math.floor(budget * len(powers) * power / total + 1e-9))
        for name, power in powers.items()
    }


@register
class ExpertMergingPlus(ExpertMerging):
    """Expert Merging++ (Zhang et al. 2025, arXiv:2509.25712): importance-guided chunks.

    The paper's, as far as its text could be consulted (its repository does not include it): after
    Expert Merging, the importance of layer l is I = Norm(Σₖ |αₖˡ|·sₖˡ·nˡ), s the mean of |τₖˡ|, n the
    number of parameters, Norm so that the layers sum to 1; layer l gets m = ⌊B·Iᵏ / ΣIᵏ⌋ chunks, κ
    the steepness; its flattened weights are cut into m contiguous chunks with a coefficient for each
    expert; layers with m = 0 keep a fixed scalar; the same loss is minimised once more. B is reported
    as 0.9 to 1.2, which we read as a multiple of the number of layers.

    Ours: chunks end where a row of the weight matrix ends. The contiguous pieces of a flattened
    matrix are runs of output rows but for their first and last row; cut at whole rows, run j of
    αₖΔWₖ is the same rows of B times α, so the result is an exact factored merge. The second pass
    starts from what the first has learned, also in layers with m = 0, and so never ends with a
    larger loss (the authors' code keeps such layers at the initial value). Everything else as in
    `ExpertMerging`, a layer being a module.
    """

    key = "expert_merging_pp"
    name = "Expert Merging++"
    summary = "Like Expert Merging, with several weights for the layers that matter most."
    order = 61
    parameters = (
        Parameter(
            STEPS.name, STEPS.label, "int", 2, 1000, 40, f"{STEPS.meaning} Half of them go into a "
            "first pass, which finds out what matters.",
        ),
        Parameter(
            "budget", "Weights per part", "float", 0.1, 20.0, 1.2,
            "How many weights there are for every part of a layer, on average.",
        ),
        Parameter(
            "steepness", "Favour what matters", "float", 0.0, 5.0, 1.0,
            "How strongly important parts get more weights; 0 gives every part the same number.",
        ),
        *SETTINGS,
    )  # fmt: skip

    def learn(
        self,
        study: Any,
        learned: Coefficients,
        adapters: Sequence[Adapter],
        context: MergeContext,
    ) -> None:
        """Learn by module, measure what matters, learn by runs of rows."""
        settings = context.parameters
        steps = int(settings["steps"])
        self.align(study, learned, context, range(steps // 2))
        alphas = [
            {name: float(learned.values[name].detach()[k, 0]) for name in adapter.modules}
            for k, adapter in enumerate(adapters)
        ]
        magnitudes = [
            {name: magnitude(factors) for name, factors in adapter.modules.items()}
            for adapter in adapters
        ]
        rows = {name: f.shape[0] for adapter in adapters for name, f in adapter.modules.items()}
        shares = importance(magnitudes, alphas)
        runs = runs_for(shares, rows, float(settings["budget"]), float(settings["steepness"]))
        self.state["importance"] = shares
        finer = learned.split(runs)
        if finer.trainable:
            self.align(study, finer, context, range(steps // 2, steps))
        learned.values = finer.values
