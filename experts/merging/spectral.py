"""Methods that change the experts' singular values or vectors: TSV-Merge, Iso-C, STAR."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.merging.adapters import LoraFactors
from experts.merging.cores import CoreMethod
from experts.merging.lowrank import split_evenly, stack_factors
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.spectra import (
    dtype_of,
    from_product,
    polar_factor,
    svd_of_terms,
    svds_of_experts,
)
from experts.merging.ties import STRENGTH

__all__ = ["IsoC", "Star", "Tsv", "truncate_and_rescale"]


@register
class Tsv(CoreMethod):
    """TSV-Merge (Gargiulo et al. 2024, arXiv:2412.00081).

    Of each update ΔWᵢ = UᵢSᵢVᵢᵀ the strongest directions are kept; then U = [U₁ … Uₙ] and
    V = [V₁ … Vₙ] are each replaced by the nearest matrix with orthonormal columns (P·Qᵀ of its
    SVD), and the result is λ · U⊥ · diag(w₁S₁ … wₙSₙ) · V⊥ᵀ. So the weight multiplies the update;
    of experts that do not overlap this is the weighted sum. Directions that experts share fully
    have no orthonormal counterpart and are merged once (see `polar_factor`).

    The number kept is kᵢ = max(1, ⌊keep·rᵢ⌋), rᵢ the rank of ΔWᵢ, and 1/n of it by default. (The
    paper keeps 1/n of min(out, in), so that all fit into the layer; of LoRA updates that would
    mostly be everything, keep = 1.) A single expert at weight 1 comes back unchanged.
    """

    key = "tsv"
    name = "TSV-Merge"
    summary = "Keeps each expert's strongest directions and turns them out of each other's way."
    paper = "Gargiulo et al. 2024, Task Singular Vectors, arXiv:2412.00081"
    exact = True
    order = 40
    parameters = (
        Parameter(
            "keep", "Share of directions kept", "float", 0.0, 1.0, 0.0,
            "How many of each expert's directions are kept, the strongest first: 1 keeps all; "
            "0 divides them fairly, so a third each for three experts.",
        ),
        STRENGTH,
    )  # fmt: skip

    def merge_core(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Two small matrices per expert."""
        share = float(context.parameters["keep"]) or 1 / len(context.experts)
        us, sizes, vs = [], [], []
        spectra = svds_of_experts(module)
        for weight, (u, s, vh) in zip(module.weights, spectra, strict=True):
            # 1e-6 so that a third of nine is three in spite of rounding.
            kept = max(1, int(share * len(s) + 1e-6))
            us.append(u[:, :kept])
            sizes.append(s[:kept] * weight)
            vs.append(vh[:kept].T)
        dtype = dtype_of(module)
        left, right = (polar_factor(torch.cat(side, dim=1), dtype) for side in (us, vs))
        spectrum = torch.cat(sizes) * float(context.parameters["strength"])
        return from_product(left * spectrum, right.T, module, context)


@register
class IsoC(CoreMethod):
    """Iso-C (Marczak et al. 2025, arXiv:2502.04959): λ · σ̄ · U·Vᵀ, where Σᵢ wᵢΔWᵢ = U·Σ·Vᵀ.

    All singular values of the weighted sum are replaced by their mean σ̄. Of LoRA updates most of
    the min(out, in) singular values are zero; vectors and mean are restricted to the sum's
    numerical rank, otherwise most directions would be noise. So the nuclear norm stays that of the
    weighted sum, and the weight multiplies the update before its spectrum is made flat. A wanted
    rank keeps the directions that were strongest in the sum. A single expert does not come back
    unchanged: its spectrum is made flat, too.
    """

    key = "iso_c"
    name = "Iso-C"
    summary = "Adds the experts up, then makes all directions of the sum equally strong."
    paper = "Marczak et al. 2025, No Task Left Behind (Iso-C), arXiv:2502.04959"
    exact = True
    order = 41
    parameters = (STRENGTH,)

    def merge_core(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Two small matrices per expert."""
        pairs = [(factors.b.double(), factors.a.double()) for factors in module.factors]
        weighted = zip(module.weights, module.factors, strict=True)
        b, a = stack_factors(pairs, [weight * factors.scaling for weight, factors in weighted])
        dtype = dtype_of(module)
        u, s, vh = svd_of_terms(b, a, dtype, least=1)
        full = len(s)
        rank = full if context.rank is None else min(full, context.rank)
        level = s.mean() * float(context.parameters["strength"])
        thin_b, thin_a = split_evenly(u, level.expand(rank), vh, rank)
        energy = float(level.square())
        factors = LoraFactors(a=thin_a, b=thin_b, scaling=1.0)
        return MergedModule(factors, rank * energy, full * energy)


@register
class Star(CoreMethod):
    """STAR (Lee et al. 2025, arXiv:2502.10339): Σᵢ wᵢ · T(ΔWᵢ).

    T keeps the fewest leading singular values that make up the share η of their sum (the nuclear
    norm), and multiplies them by (sum of all) / (sum of the kept), so that the nuclear norm stays.
    The paper averages; so does this with weights 1/n. The weight multiplies the update. A single
    expert at weight 1 comes back unchanged at η = 1 only.
    """

    key = "star"
    name = "STAR"
    summary = "Keeps only each expert's main directions, a little strengthened, and adds them up."
    paper = "Lee et al. 2025, STAR: Spectral Truncation and Rescale, arXiv:2502.10339"
    exact = True
    order = 42
    parameters = (
        Parameter(
            "keep", "Share kept", "float", 0.01, 1.0, 0.4,
            "How much of each expert's total strength its main directions must make up (the "
            "paper's η); the rest is dropped.",
        ),
    )  # fmt: skip

    def merge_core(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Two small matrices per expert."""
        share = float(context.parameters["keep"])
        bs, rows = [], []
        spectra = svds_of_experts(module)
        for weight, (u, s, vh) in zip(module.weights, spectra, strict=True):
            kept = truncate_and_rescale(s, share)
            bs.append(u[:, : len(kept)] * (kept * weight))
            rows.append(vh[: len(kept)])
        return from_product(torch.cat(bs, dim=1), torch.cat(rows), module, context)


def truncate_and_rescale(s: Tensor, share: float) -> Tensor:
    """The leading singular values that make up `share` of their sum, scaled to the sum of all.

    Args:
        s: (k,), descending, float64; k may be 0.
        share: in (0, 1].
    """
    if len(s) == 0:
        return s
    running = s.cumsum(0)
    # Rounding must not decide whether a share that is met exactly is met.
    kept = min(len(s), int((running < running[-1] * (share * (1 - 1e-6))).sum()) + 1)
    return s[:kept] * (running[-1] / running[kept - 1])
