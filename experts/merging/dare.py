"""DARE: drop a random share of each expert's changes and enlarge the rest to make up for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from experts.merging.dense import Change, Updates, from_dense
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.ties import AVERAGE, STRENGTH, Ties, trimmed

__all__ = [
    "DROP",
    "SEED",
    "DareLinear",
    "DareTies",
    "Draws",
    "draws_of",
    "dropped",
    "dropping",
    "dropping_below",
]

DROP = Parameter(
    "drop", "Share dropped", "float", 0.0, 0.95, 0.5,
    "How much of each expert is left out at random: 0.5 drops half of its changes and doubles "
    "the others.",
)  # fmt: skip
SEED = Parameter(
    "seed", "Random seed", "int", 0, 2**31 - 1, 0,
    "Another number draws other changes to drop; the same number always gives the same result.",
)  # fmt: skip


class Draws:
    """Random bits that depend on nothing but seed, expert, layer and kind of device.

    So neither the other experts nor the order in which layers are merged change what is dropped.
    """

    def __init__(self, seed: int, expert: str, module: str, device: torch.device) -> None:
        digest = hashlib.sha256(f"{seed}\0{expert}\0{module}".encode()).digest()
        self.device = device
        if device.type == "cpu":
            self._bits = np.random.SFC64(int.from_bytes(digest, "little"))
        else:
            self._generator = torch.Generator(device)
            self._generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def next(self, shape: torch.Size) -> Tensor:
        """The stream's next whole numbers, uniform from -2¹⁵ to 2¹⁵ - 1, int16, of `shape`."""
        if self.device.type == "cpu":
            raw = self._bits.random_raw(-(-shape.numel() // 4))  # 64 bits each
            return torch.from_numpy(raw.view(np.int16)[: shape.numel()]).view(shape)
        return torch.randint(
            -(2**15), 2**15, shape, generator=self._generator, device=self.device, dtype=torch.int16
        )


def dropping_below(probability: Tensor) -> Tensor:
    """Of the 2¹⁶ numbers that can be drawn, the largest that drops an entry.

    Args:
        probability: of being dropped, float64, any shape; is kept to a precision of 2⁻¹⁷.
    """
    return torch.ceil(probability * 2**16 - 0.5) - 2**15 - 1


def dropping(drop: float, draws: Sequence[Draws]) -> Change:
    """Sets each entry of a tile to 0 with probability `drop`, to a precision of 2⁻¹⁷.

    Args:
        drop: p, in [0, 1).
        draws: one for each expert.
    """
    if drop <= 0:
        return lambda tile: tile
    highest = float(dropping_below(torch.tensor(drop, dtype=torch.float64)))

    def change(tile: Tensor) -> Tensor:
        for update, stream in zip(tile, draws, strict=True):
            drawn = stream.next(tile.shape[1:])
            update.mul_(drawn.to(tile.dtype).sub_(highest).clamp_(0, 1))
        return tile

    return change


def dropped(module: ModuleInputs, context: MergeContext) -> Updates:
    """DARE(wᵢ·ΔWᵢ): each entry is 0 with probability p, else divided by 1 - p."""
    drop = float(context.parameters["drop"])
    return Updates(
        module,
        factor=1 / (1 - drop),
        change=lambda: dropping(drop, draws_of(module, context)),
    )


def draws_of(module: ModuleInputs, context: MergeContext) -> list[Draws]:
    """A stream for each expert of the layer, at its beginning."""
    seed, device = int(context.parameters["seed"]), module.factors[0].b.device
    return [Draws(seed, expert, module.name, device) for expert in module.experts]


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

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Dense."""
        return from_dense(self.dense(module, context), module, context)

    def dense(self, module: ModuleInputs, context: MergeContext) -> Tensor:
        """The merged update of one layer before it is brought to low rank, (out, in)."""
        updates = dropped(module, context)
        merged = updates.new()
        for rows, tile in updates:
            torch.sum(tile, 0, out=merged[rows])
        return merged


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

    def sparse(self, module: ModuleInputs, context: MergeContext) -> Updates:
        """DARE, then the trimming of TIES."""
        return trimmed(dropped(module, context), float(context.parameters["density"]))
