"""Iso-CTS: what the experts have in common and what each has on its own, all equally strong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from experts.merging.adapters import LoraFactors
from experts.merging.cores import CoreMethod
from experts.merging.lowrank import fix_signs, stack_factors
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
    significant,
    svd_of_terms,
    svds_of_experts,
)
from experts.merging.ties import STRENGTH

__all__ = ["IsoCts", "shares"]


@register
class IsoCts(CoreMethod):
    """Iso-CTS (Marczak et al. 2025, arXiv:2502.04959): common and task-specific directions, flat.

    Of the weighted sum Σᵢ wᵢΔWᵢ the k strongest directions are kept, U_c·S_c·V_cᵀ; of each expert
    the t strongest directions of (I - U_cU_cᵀ)·wᵢΔWᵢ. All of them together, left and right vectors
    each replaced by the nearest orthonormal ones, get the mean of all their singular values: λ · σ̄ ·
    U⊥·V⊥ᵀ. As in the authors' code t = round((1 - common)·r/n) and k = r - n·t, where n counts the
    experts that change the layer; r is min(out, in) there and the numerical rank of the weighted
    sum here, because most directions of LoRA updates are empty (see `iso_c`). An expert that has
    fewer than t directions of its own gives those that it has.

    The weight multiplies the update before the spectrum is made flat. A wanted rank keeps the
    directions that were strongest. A single expert does not come back unchanged. With common = 1
    this is `iso_c`.
    """

    key = "iso_cts"
    name = "Iso-CTS"
    summary = "Keeps what experts share and what only one of them knows, all equally strong."
    paper = "Marczak et al. 2025, No Task Left Behind (Iso-CTS), arXiv:2502.04959"
    exact = True
    order = 43
    parameters = (
        Parameter(
            "common", "Share held in common", "float", 0.0, 1.0, 0.8,
            "How much room goes to what the experts share; the rest is divided among what each "
            "of them has on its own.",
        ),
        STRENGTH,
    )  # fmt: skip

    def merge_core(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Two small matrices per expert."""
        dtype = dtype_of(module)
        spectra = [
            (u, weight * s, vh)
            for weight, (u, s, vh) in zip(module.weights, svds_of_experts(module), strict=True)
            if len(s) > 0
        ]
        if not spectra:
            empty = module.factors[0].b.double()[:, :0]
            return from_product(empty, module.factors[0].a.double()[:0], module, context)
        b, a = stack_factors([(u * s, vh) for u, s, vh in spectra], [1.0] * len(spectra))
        u, s, vh = svd_of_terms(b, a, dtype, least=1)
        common, own = shares(len(s), len(spectra), float(context.parameters["common"]))
        parts = [(u[:, :common], s[:common], vh[:common])]
        parts += [_own(expert, parts[0][0], own, dtype) for expert in spectra]
        return _flatten(parts, module, context)


def shares(rank: int, experts: int, common: float) -> tuple[int, int]:
    """How many common directions, and how many of each expert; as in the authors' code.

    Args:
        rank: of the whole.
        experts: at least 1.
        common: share of common directions, in [0, 1].
    """
    own = min(round((rank - int(rank * common)) / experts), rank // experts)
    return rank - own * experts, own


def _own(
    expert: tuple[Tensor, Tensor, Tensor], common: Tensor, count: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The expert's strongest directions that are left without the common ones; u, s, vh."""
    u, weighted, vh = expert
    u, s, vh = svd_of_terms((u - common @ (common.T @ u)) * weighted, vh, dtype)
    # What is noise is judged by the size of the whole update, of which nothing may be left.
    whole = weighted.abs().max()
    kept = min(count, significant(torch.cat([whole[None], s]), len(weighted), dtype) - 1)
    return u[:, :kept], s[:kept], vh[:kept]


def _flatten(
    parts: Sequence[tuple[Tensor, Tensor, Tensor]], module: ModuleInputs, context: MergeContext
) -> MergedModule:
    dtype = dtype_of(module)
    sizes = torch.cat([s for _, s, _ in parts])
    level = sizes.mean() * float(context.parameters["strength"])
    left = polar_factor(torch.cat([u for u, _, _ in parts], dim=1), dtype)
    right = polar_factor(torch.cat([vh.T for _, _, vh in parts], dim=1), dtype)
    full = len(sizes)
    # The squared norm of a partial isometry is its rank.
    if min(round(float(side.square().sum())) for side in (left, right)) < full:
        return from_product(left * level, right.T, module, context)
    # All directions weigh the same now, so an SVD could not tell which were strong.
    rank = full if context.rank is None else min(full, context.rank)
    strongest = sizes.argsort(descending=True, stable=True)[:rank]
    root = level.sqrt()
    thin_b, thin_a = fix_signs(left[:, strongest] * root, right[:, strongest].T * root)
    factors = LoraFactors(a=thin_a, b=thin_b, scaling=1.0)
    energy = float(level.square())
    return MergedModule(factors, rank * energy, full * energy)
