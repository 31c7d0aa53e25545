"""TIES in coordinates that the experts share: KnOTS and Core Space."""

from __future__ import annotations

from typing import ClassVar

import torch

from experts.merging.cores import frames_of
from experts.merging.lowrank import signs_of
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    register,
)
from experts.merging.spectra import dtype_of, from_product, left_basis, svds_of_experts
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
    both_sides: ClassVar[bool] = False

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """R×in numbers per expert, R×R in Core Space; bases and their signs are the layer's own."""
        frames = frames_of(module)
        core, dtype = frames.core, dtype_of(module)
        spectra, power = svds_of_experts(core), 0.5 if self.both_sides else 1.0
        left = left_basis(torch.cat([u * s**power for u, s, _ in spectra], dim=1), dtype)
        if left.shape[1] == 0:
            return frames.finish(from_product(left, spectra[0][2], core, context))
        left = left * signs_of(frames.left(left))
        right, rows = None, [factors.a.double() for factors in module.factors]
        if self.both_sides:
            right = left_basis(torch.cat([vh.T * s.sqrt() for _, s, vh in spectra], dim=1), dtype)
            right = right * signs_of(frames.right(right.T).T)
            rows = [factors.a.double() @ right for factors in core.factors]
        density = float(context.parameters["density"])
        coordinates = [
            trim(((left.T @ factors.b.double() * factors.scaling) @ row).to(dtype), density)
            * weight
            for weight, factors, row in zip(module.weights, core.factors, rows, strict=True)
        ]
        merged = elect_and_merge(coordinates, module.weights, context).double()
        if right is not None:
            merged = merged @ right.T
        result = from_product(left, merged, core, context)
        return frames.finish(result, rows=right is not None)


@register
class CoreTies(KnotsTies):
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
    order = 31
    both_sides = True
