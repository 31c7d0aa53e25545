"""WUDI-Merging: the update that disturbs no expert on what that expert's own update reacts to."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.merging.cores import CoreMethod
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.spectra import dtype_of, from_product, svd_of_columns, svds_of_experts
from experts.merging.ties import STRENGTH

__all__ = ["Wudi", "damped_inverse"]


@register
class Wudi(CoreMethod):
    """WUDI-Merging (Cheng et al. 2025, arXiv:2503.08099) in closed form.

    The rows of an update span roughly the inputs that its task has, so what the merged update ΔW
    does wrong there is ‖(ΔW - ΔWᵢ)·ΔWᵢᵀ‖². The paper minimises Σᵢ of this over ‖ΔWᵢ‖² by 300 steps
    of Adam that start at the sum; it is a least-squares problem, so here it is solved. With ΔWᵢ =
    UᵢSᵢVᵢᵀ, K = [… √|wᵢ|·VᵢSᵢ/‖ΔWᵢ‖ …] and T = [… √|wᵢ|·wᵢ·UᵢSᵢ²/‖ΔWᵢ‖ …] it is min ‖X·K - T‖², K
    and T having R columns, and X = T·K⁺. Exact in factored space, without squaring a condition
    number. Singular values of K below 8·R·ε of the largest (ε of the experts' precision) count as 0.

    Where experts react to nearly the same inputs but differ in what they do, the exact minimiser
    can be very large. `ridge` ρ adds ρ·‖K‖₂²·‖X - Σᵢ wᵢΔWᵢ‖², which draws to the weighted sum what
    the experts leave undetermined (as does the paper's early stop); 0 is the exact minimiser.

    The weight multiplies the update and its term: at equal weights w this is the paper's result for
    the updates w·ΔWᵢ, at weights of 1 the paper's. So experts that do not overlap are added up, and
    an expert of small weight neither contributes nor resists much. A single expert at weight 1
    comes back unchanged; what k copies at 1/k share fully is counted once, at 1/k.
    """

    key = "wudi"
    name = "WUDI"
    summary = (
        "Adds the experts up so that none of them disturbs another in what that one reacts to."
    )
    paper = (
        "Cheng et al. 2025, Whoever Started the Interference Should End It (WUDI-Merging), "
        "arXiv:2503.08099"
    )
    exact = True
    order = 44
    parameters = (
        Parameter(
            "ridge", "Caution", "float", 0.0, 1.0, 0.01,
            "How strongly the result is held near the plain weighted sum where the experts "
            "contradict each other; 0 trusts the formula alone and can exaggerate.",
        ),
        STRENGTH,
    )  # fmt: skip

    def merge_core(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Two small matrices per expert."""
        return _wudi(module, context)


def _wudi(module: ModuleInputs, context: MergeContext) -> MergedModule:
    us, vs, plain, inner, outer = [], [], [], [], []
    for weight, (u, s, vh) in zip(module.weights, svds_of_experts(module), strict=True):
        us.append(u)
        vs.append(vh.T)
        plain.append(weight * s)
        share = abs(weight) ** 0.5 * s / s.norm()  # of no entries if the update is zero
        inner.append(share)
        outer.append(weight * s * share)
    left, right = torch.cat(us, dim=1), torch.cat(vs, dim=1)
    sums = torch.cat(plain)[:, None] * right.T
    system = right * torch.cat(inner)
    missing = torch.diag(torch.cat(outer)) - sums @ system
    inverse = damped_inverse(system, float(context.parameters["ridge"]), dtype_of(module))
    rows = (sums + missing @ inverse) * float(context.parameters["strength"])
    return from_product(left, rows, module, context)


def damped_inverse(columns: Tensor, ridge: float, dtype: torch.dtype) -> Tensor:
    """K⁺ of thin `columns`, each 1/σ of it replaced by σ/(σ² + ridge·σ₁²), and by 0 if σ is noise.

    Args:
        columns: K, (n, k), float64; k may be 0.
        ridge: at least 0.
        dtype: precision of the data behind it.

    Returns:
        (k, n).
    """
    left, sizes, right = svd_of_columns(columns, dtype)
    inverse = sizes / (sizes.square() + ridge * sizes[:1].square())
    damped: Tensor = (right.T * inverse) @ left.T
    return damped
