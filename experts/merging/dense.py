"""What the methods that look at every entry of ΔW share.

They touch some hundred million numbers an expert, so what they do is made of operations that run at
the speed of memory: thresholds and masks in floating point (a tensor of booleans costs ten times as
much), selection among a few candidates only, and random bits straight from a generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experts.merging.adapters import LoraFactors
from experts.merging.lowrank import randomized_svd, split_evenly
from experts.merging.registry import MergeContext, MergedModule, ModuleInputs

__all__ = ["from_dense", "in_threads", "keep_from", "largest", "positive", "weighted_updates"]

_SAMPLE = 16384  # entries from which `largest` guesses


def weighted_updates(module: ModuleInputs) -> list[Tensor]:
    """wᵢ·ΔWᵢ of each expert, dense, (out, in); new tensors, free to be changed in place."""
    return [
        (factors.b * (weight * factors.scaling)) @ factors.a
        for weight, factors in zip(module.weights, module.factors, strict=True)
    ]


def in_threads(function: Callable[..., None], pieces: Iterable[Sequence[object]]) -> None:
    """Call `function` with each of the argument lists, on as many threads as torch may use.

    For code that lets other threads run (NumPy on large arrays). The result must not depend on the
    order.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        for piece in pieces:
            function(*piece)
        return
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(function, *piece) for piece in pieces]:
            future.result()


def largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest of `values` (exact; a threshold, so no int64 indices as from topk).

    Selecting among a million entries is slow, so a regular sample first brackets the answer and
    only what lies inside the bracket is ranked; if the sample misleads, everything is.

    Args:
        values: (n,).
        k: from 1 to n.

    Returns:
        A scalar tensor.
    """
    size = values.numel()
    if values.device.type == "cpu":
        return torch.from_numpy(np.asarray(_largest(values.numpy(), k)))
    if size > 16 * _SAMPLE:
        low, high = _bracket(values[:: size // _SAMPLE | 1].sort().values, k / size)
        above = int((values > high).sum())
        inside = values[(values >= low) & (values <= high)]
        if above < k <= above + inside.numel():
            return inside.kthvalue(inside.numel() - (k - above) + 1).values
    return values.kthvalue(size - k + 1).values


def _largest(values: np.ndarray, k: int) -> np.floating:
    """`largest` with NumPy, whose partition is vectorised."""
    size = len(values)
    if size > 16 * _SAMPLE:
        # An odd step: matrices have even widths, and must not be sampled in one column.
        low, high = _bracket(np.sort(values[:: size // _SAMPLE | 1]), k / size)
        above = int(np.count_nonzero(values > high))
        inside = np.compress((values >= low) & (values <= high), values)
        if above < k <= above + len(inside):
            values, k, size = inside, k - above, len(inside)
    found: np.floating = np.partition(values, size - k)[size - k]
    return found


def _bracket(sample: Any, share: float) -> tuple[Any, Any]:
    """Entries of the sorted sample that have the wanted quantile between them."""
    middle = (1 - share) * len(sample)
    margin = 2 + round(4 * math.sqrt(len(sample) * share * (1 - share)))  # 4 standard deviations
    return (
        sample[max(0, round(middle) - margin)],
        sample[min(len(sample) - 1, round(middle) + margin)],
    )


def keep_from(delta: Tensor, threshold: Tensor) -> Tensor:
    """`delta` with every entry of a magnitude below `threshold` (at least 0) set to zero."""
    if float(threshold) <= 0:
        return delta
    # Shrinkage keeps what is larger than its bound.
    below = torch.nextafter(threshold, torch.zeros_like(threshold))
    return torch.nn.functional.hardshrink(delta, float(below))


def positive(values: Tensor) -> Tensor:
    """1 where `values` are positive, else 0, in place and in floating point."""
    return values.sign_().clamp_(min=0)


def from_dense(dense: Tensor, module: ModuleInputs, context: MergeContext) -> MergedModule:
    """A dense result brought to the wanted rank (the experts' summed rank by default).

    The search for its main directions starts at the experts' own, near which they lie.

    Args:
        dense: (out, in).
        module: the layer.
        context: the merge's.
    """
    near = torch.cat([factors.a.to(dense.dtype) for factors in module.factors]).T
    u, s, vh = randomized_svd(dense, context.rank or module.total_rank, near=near)
    b, a = split_evenly(u, s, vh, len(s))
    total = float(dense.norm()) ** 2
    kept = min(float(s.double().square().sum()), total)
    return MergedModule(LoraFactors(a=a, b=b, scaling=1.0), kept, total)
