"""Weights from what the match has measured of each expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from experts.errors import SamError
from experts.merging.adapters import Adapter
from experts.merging.data import ExpertFit
from experts.merging.linear import Linear
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    ModuleInputs,
    Parameter,
    register,
)

__all__ = ["MetricsWeighted"]


@register
class MetricsWeighted(Linear):
    """Σ vᵢ·ΔWᵢ with vᵢ = wᵢ·scoreᵢ^power · Σ|wⱼ| / Σ|wⱼ·scoreⱼ^power|.

    The recipe's weights wᵢ are multiplied by the scores, not replaced, and keep their total size,
    so weights that sum to 1 still do, and equal sliders follow the scores alone. A score is the
    similarity (a cosine; below 0 it counts as 0), the probe's F1, or the mean of the two, or of
    what is known of them. The criteria are those of SaM (arXiv:2506.22813), which merges with equal
    weights; weighting by a power of them is ours: unlike a softmax it does not depend on the unit
    of the score, and 0 gives the recipe's weights back.
    """

    key = "metrics_weighted"
    name = "Weights from the match"
    summary = "Adds up the experts, each as strongly as it fits your texts by the match's scores."
    paper = "The criteria of SaM, arXiv:2506.22813; the weighting is ours"
    needs = "scores"
    order = 59
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter(
            "by", "Weigh by", "choice", None, None, "both",
            "What counts: how similar the expert's texts are to yours, how well it did on the "
            "probe's sentences (F1), or both.", ("both", "similarity", "f1"),
        ),
        Parameter(
            "power", "Sharpness", "float", 0.0, 20.0, 2.0,
            "How much a better score counts: 0 changes nothing, 1 weighs in proportion to the "
            "scores, large values leave little but the best expert.",
        ),
    )  # fmt: skip

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Settle the weights."""
        assert context.data is not None
        by, power = str(context.parameters["by"]), float(context.parameters["power"])
        scores = {name: _score(name, context.data.fits[name], by) for name in context.experts}
        best = max(scores.values())
        if best <= 0:
            raise SamError(
                "The match has given every chosen expert a score of 0, so no weights follow.",
                "Choose other experts, weigh by another score, or use the method 'linear'.",
            )
        # Relative to the best, so that a high power of small scores does not vanish altogether.
        raw = {
            name: weight * (scores[name] / best) ** power
            for name, weight in zip(context.experts, context.weights, strict=True)
        }
        size = sum(map(abs, context.weights)) / sum(map(abs, raw.values()))
        weights = tuple(size * raw[name] for name in context.experts)
        super().prepare(adapters, replace(context, weights=weights))

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """The exact weighted sum with the new weights."""
        found = self.state["coefficients"]
        weighed = [
            replace(module, weights=tuple(found[name][module.name] for name in module.experts))
            for module in group
        ]
        return super().merge_group(weighed, context)


def _score(name: str, fit: ExpertFit, by: str) -> float:
    similarity = max(fit.similarity, 0.0)
    if by == "similarity":
        return similarity
    if by == "f1":
        if fit.f1 is None:
            raise SamError(
                f"The probe has no F1 of the expert '{name}': it found too few spans to tell.",
                "Weigh by similarity or by both, or probe on more sentences.",
            )
        return fit.f1
    return similarity if fit.f1 is None else (similarity + fit.f1) / 2
