"""DARE: drop a random share of each expert's changes and enlarge the rest to make up for it."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from experts.merging.dense import from_dense, in_threads, positive, weighted_updates
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.ties import AVERAGE, STRENGTH, Ties, trim

__all__ = ["DROP", "SEED", "DareLinear", "DareTies", "drop_and_rescale", "uniform"]

_ONE = 0x3F800000  # the bits of 1.0
_BLOCK = 2**20  # numbers that one generator makes, so that threads can share the work

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
    """Random numbers in (0, 1) that depend on nothing but seed, expert, layer and kind of device.

    So neither the other experts nor the order in which layers are merged change what is dropped.

    Returns:
        float32, of `shape`, each (j + ½)/2²³ for a whole j.
    """
    digest = hashlib.sha256(f"{seed}\0{expert}\0{module}".encode()).digest()
    if device.type != "cpu":
        generator = torch.Generator(device)
        generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        bits = torch.randint(2**23, shape, generator=generator, device=device, dtype=torch.int32)
        return bits.bitwise_or_(_ONE).view(torch.float32).sub_(1 - 2**-24)
    bits = torch.empty(shape, dtype=torch.int32)
    flat = bits.view(-1).numpy().view(np.uint32)
    key = int.from_bytes(digest, "little")
    in_threads(_fill, [(flat[s : s + _BLOCK], (key, s)) for s in range(0, len(flat), _BLOCK)])
    # 23 random bits under the exponent of 1 are uniform in [1, 2).
    bits.view(-1).numpy().view(np.uint32)[:] >>= 9
    return bits.bitwise_or_(_ONE).view(torch.float32).sub_(1 - 2**-24)


def _fill(block: np.ndarray, seed: tuple[int, int]) -> None:
    """Fill `block` (uint32) with random bits."""
    raw = np.random.SFC64(seed).random_raw((len(block) + 1) // 2)
    block[:] = raw.view(np.uint32)[: len(block)]


def drop_and_rescale(delta: Tensor, drop: float, draw: Tensor) -> Tensor:
    """Each entry is 0 with probability `drop`, else divided by 1 - `drop`: the mean is unchanged.

    Args:
        delta: any shape; changed in place.
        drop: p, in [0, 1).
        draw: uniform in (0, 1), of delta's shape; changed in place.
    """
    if drop <= 0:
        return delta
    return delta.mul_(positive(draw.sub_(drop)).mul_(1 / (1 - drop)))


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

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """Dense."""
        return from_dense(self.dense(module, context), module, context)

    def dense(self, module: ModuleInputs, context: MergeContext) -> Tensor:
        """The merged update of one layer before it is brought to low rank, (out, in)."""
        updates = zip(module.experts, weighted_updates(module), strict=True)
        parts = [_dropped(update, expert, module.name, context) for expert, update in updates]
        return sum(parts[1:], start=parts[0])


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
