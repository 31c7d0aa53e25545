"""DARE: drop a random share of each expert's changes and enlarge the rest to make up for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.spectra import from_dense
from experts.merging.ties import AVERAGE, STRENGTH, Ties, trim

__all__ = ["DROP", "SEED", "DareLinear", "DareTies", "drop_and_rescale", "uniform"]

DROP = Parameter(
    "drop", "Share dropped", "float", 0.0, 0.95, 0.5,
    "How much of each expert is left out at random: 0.5 drops half of its changes and doubles "
    "the others.",
)  # fmt: skip
SEED = Parameter(
    "seed", "Random seed", "int", 0, 2**31 - 1, 0,
    "Another number draws other changes to drop; the same number always gives the same result.",
)  # fmt: skip


def uniform(shape: torch.Size, seed: int, expert: str, module: str, device: torch.device) -> Tensor:
    """Random numbers in [0, 1) that depend on nothing but seed, expert, layer and kind of device.

    So neither the other experts nor the order in which layers are merged change what is dropped.

    Returns:
        float32, of `shape`.
    """
    digest = hashlib.sha256(f"{seed}\0{expert}\0{module}".encode()).digest()
    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.rand(shape, generator=generator, device=device)


def drop_and_rescale(delta: Tensor, drop: float, draw: Tensor) -> Tensor:
    """Each entry is 0 with probability `drop`, else divided by 1 - `drop`: the mean is unchanged.

    Args:
        delta: any shape; changed in place.
        drop: p, in [0, 1).
        draw: uniform in [0, 1), of delta's shape.
    """
    return delta.mul_(draw >= drop).div_(1 - drop)


def _dropped(delta: Tensor, expert: str, module: str, context: MergeContext) -> Tensor:
    drop, seed = float(context.parameters["drop"]), int(context.parameters["seed"])
    draw = uniform(delta.shape, seed, expert, module, delta.device)
    return drop_and_rescale(delta, drop, draw)


@register
class DareLinear(MergeMethod):
    """DARE with task arithmetic (Yu et al. 2023, arXiv:2311.03099): Σᵢ wᵢ · DARE(ΔWᵢ).

    DARE(ΔW) = mask ⊙ ΔW / (1 - p), where the mask keeps an entry with probability 1 - p. The
    weight multiplies the update; the expected result is the weighted sum. A single expert at weight
    1 comes back unchanged at p = 0 only. The result has no low rank and is brought back to one.
    """

    key = "dare_linear"
    name = "DARE, weighted sum"
    summary = "Leaves out some of each expert's changes at random, so that experts collide less."
    paper = "Yu et al. 2023, Language Models are Super Mario (DARE), arXiv:2311.03099"
    order = 20
    parameters = (DROP, SEED)

    def merge_group(
        self, group: Sequence[ModuleInputs], context: MergeContext
    ) -> list[MergedModule]:
        """Dense, one module after the other."""
        return [from_dense(self.dense(module, context), module, context) for module in group]

    def dense(self, module: ModuleInputs, context: MergeContext) -> Tensor:
        """The merged update of one layer before it is brought to low rank, (out, in)."""
        parts = [
            _dropped(factors.delta(), expert, module.name, context).mul_(weight)
            for expert, weight, factors in zip(
                module.experts, module.weights, module.factors, strict=True
            )
        ]
        return torch.stack(parts).sum(dim=0)


@register
class DareTies(Ties):
    """DARE before TIES (Yu et al. 2023, arXiv:2311.03099): TIES on DARE(ΔWᵢ).

    As `ties`, with ΔWᵢ replaced by DARE(ΔWᵢ); the weights enter as there, so only their ratio
    matters while `average` is on. DARE has thinned the experts out already, so the trimming of TIES
    is off (density 1) unless asked for. A single expert comes back unchanged at p = 0, density 1.
    The mean over the experts that kept an entry leaves out those that dropped it, so where experts
    agree the result is larger than theirs, up to 1/(1 - p) times: lower `strength` if need be.
    """

    key = "dare_ties"
    name = "DARE, vote"
    summary = "Leaves out changes at random, then lets the experts vote where they disagree."
    paper = "Yu et al. 2023, Language Models are Super Mario (DARE), arXiv:2311.03099"
    order = 21
    parameters = (
        DROP,
        Parameter(
            "density", "Share kept", "float", 0.01, 1.0, 1.0,
            "How much of each expert is kept after dropping: 0.3 keeps the largest 30 % of its "
            "changes, 1 keeps them all.",
        ),
        STRENGTH,
        AVERAGE,
        SEED,
    )  # fmt: skip

    def sparsify(self, delta: Tensor, expert: str, module: str, context: MergeContext) -> Tensor:
        """DARE, then the trimming of TIES."""
        dropped = _dropped(delta, expert, module, context)
        return trim(dropped, float(context.parameters["density"]))
