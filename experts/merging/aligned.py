"""TIES in coordinates that the experts share: KnOTS and Core Space."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    register,
)
from experts.merging.spectra import dtype_of, from_product, left_basis, svd_of_expert
from experts.merging.ties import AVERAGE, DENSITY, STRENGTH, elect_and_merge, trim

__all__ = ["CoreTies", "KnotsTies"]


@register
class KnotsTies(MergeMethod):
    """KnOTS-TIES (Stoica et al. 2024, arXiv:2410.19735).

    The updates are laid side by side, [ΔW₁ … ΔWₙ] = U·S·[V₁ᵀ … Vₙᵀ]; TIES merges the coordinates
    S·Vᵢᵀ (= UᵀΔWᵢ, R×in) as the authors' code does, and the result is U times the merged ones.
    Exact in factored space: [ΔW₁ … ΔWₙ] is [u₁s₁ … uₙsₙ] times orthonormal rows. Weights enter in
    TIES, after the SVD: only their ratio matters while `average` is on. Each layer is trimmed on
    its own. A single expert comes back unchanged at density 1.
    """

    key = "knots_ties"
    name = "KnOTS with TIES"
    summary = "Turns the experts into a common frame first, then lets them vote on each change."
    paper = "Stoica et al. 2024, Model merging with SVD to tie the Knots, arXiv:2410.19735"
    exact = True
    order = 30
    parameters = (DENSITY, STRENGTH, AVERAGE)

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """One module after the other; R×in numbers per expert."""
        return [_knots(module, context) for module in group]


def _knots(module: ModuleInputs, context: MergeContext) -> MergedModule:
    spectra = [svd_of_expert(factors) for factors in module.factors]
    basis = left_basis(torch.cat([u * s for u, s, _ in spectra], dim=1), dtype_of(module))
    if basis.shape[1] == 0:
        return from_product(basis, spectra[0][2], module, context)
    density = float(context.parameters["density"])
    coordinates = [trim(basis.T @ (u * s) @ vh, density) for u, s, vh in spectra]
    merged = elect_and_merge(coordinates, module.weights, context)
    return from_product(basis, merged, module, context)


@register
class CoreTies(MergeMethod):
    """Core Space merging with TIES (Panariello et al. 2025, arXiv:2509.17786).

    U spans all Bᵢ (left singular vectors of [B₁ … Bₙ]) and V all Aᵢ; the cores UᵀΔWᵢV, R×R, hold
    the updates without loss; TIES merges the cores and U·merged·Vᵀ is the result. Weights enter in
    TIES, as in `knots_ties`. The paper takes A and B as they were trained, so its bases change with
    the factorisation; here each ΔWᵢ is first split evenly (B = u√s, A = √s·vᵀ), which makes the
    result depend on ΔWᵢ alone. A single expert comes back unchanged at density 1 (its core is
    diagonal).
    """

    key = "core_ties"
    name = "Core Space with TIES"
    summary = "Describes every expert by a small table in a common frame and votes on its entries."
    paper = "Panariello et al. 2025, Low-Rank Model Merging in Core Space, arXiv:2509.17786"
    exact = True
    order = 31
    parameters = (DENSITY, STRENGTH, AVERAGE)

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """One module after the other; R×R numbers per expert."""
        return [_core(module, context) for module in group]


def _core(module: ModuleInputs, context: MergeContext) -> MergedModule:
    spectra = [svd_of_expert(factors) for factors in module.factors]
    dtype = dtype_of(module)
    left = left_basis(torch.cat([u * s.sqrt() for u, s, _ in spectra], dim=1), dtype)
    right = left_basis(torch.cat([vh.T * s.sqrt() for _, s, vh in spectra], dim=1), dtype)
    if left.shape[1] == 0:
        return from_product(left, right.T, module, context)
    density = float(context.parameters["density"])
    cores = [trim((left.T @ u * s) @ (vh @ right), density) for u, s, vh in spectra]
    merged = elect_and_merge(cores, module.weights, context)
    return from_product(left @ merged, right.T, module, context)
