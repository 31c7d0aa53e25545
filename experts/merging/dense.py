"""What the methods that look at every entry of ΔW share.

They touch some hundred million numbers an expert, so what they do runs at the speed of memory: the
updates are never held whole but made, and made again, a tile of rows at a time, small enough for
the processor's cache (to multiply the factors again costs as much as to read the product back);
masks are floating point (a tensor of booleans costs ten times as much) and tiles are changed in
place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy

import torch
from torch import Tensor

from experts.merging.adapters import LoraFactors
from experts.merging.lowrank import randomized_svd, split_evenly, working_dtype
from experts.merging.registry import MergeContext, MergedModule, ModuleInputs

__all__ = [
    "Change",
    "Tiles",
    "Updates",
    "from_dense",
    "just_below",
    "shrink_",
    "tile_rows",
]

Change = Callable[[Tensor], Tensor]
"""Does something to a tile (n, rows, in), in place."""
Tiles = Iterable[tuple[slice, Tensor]]
"""(rows, the experts' updates there (n, rows, in)); the next tile may overwrite the last."""

_TILE, _TILE_ON_DEVICE = 2**18, 2**24  # numbers of one expert; a GPU wants few launches instead


def tile_rows(shape: torch.Size, device: torch.device) -> list[slice]:
    """How a matrix is cut into tiles; depends on nothing but its shape and the kind of device."""
    numbers = _TILE if device.type == "cpu" else _TILE_ON_DEVICE
    step = max(1, numbers // shape[1])
    return [slice(row, min(row + step, shape[0])) for row in range(0, shape[0], step)]


class Updates:
    """wᵢ·ΔWᵢ of a layer's experts; to iterate is to make them, tile by tile (`Tiles`).

    Args:
        module: the layer.
        factor: multiplies all of them.
        change: makes what is done to each tile in turn, anew for every time the tiles are made
            (a stream of random numbers has to start again).
    """

    def __init__(
        self,
        module: ModuleInputs,
        *,
        factor: float = 1.0,
        change: Callable[[], Change] | None = None,
    ) -> None:
        self.dtype = working_dtype(*(factors.b for factors in module.factors))
        self.left = [
            factors.b.to(self.dtype) * (weight * factors.scaling * factor)
            for weight, factors in zip(module.weights, module.factors, strict=True)
        ]
        self.right = [factors.a.to(self.dtype) for factors in module.factors]
        self.shape = torch.Size(module.factors[0].shape)
        self.device = self.left[0].device
        self.change = change

    def then(self, change: Change) -> Updates:
        """The same updates, with one more thing done to each tile."""
        before, more = self.change, copy(self)
        more.change = lambda: change if before is None else _chain(before(), change)
        return more

    def __len__(self) -> int:
        """The number of experts."""
        return len(self.left)

    def new(self) -> Tensor:
        """An uninitialised matrix like one of the updates, (out, in)."""
        return torch.empty(self.shape, dtype=self.dtype, device=self.device)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        tiles = tile_rows(self.shape, self.device)
        size = (len(self), tiles[0].stop, self.shape[1])
        buffer = torch.empty(size, dtype=self.dtype, device=self.device)
        change = self.change() if self.change is not None else None
        for rows in tiles:
            tile = buffer[:, : rows.stop - rows.start]
            for update, left, right in zip(tile, self.left, self.right, strict=True):
                torch.mm(left[rows], right, out=update)
            yield rows, tile if change is None else change(tile)

    def sample(self) -> Tensor:
        """Some of the entries of every expert, the same places of all, (n, places).

        Rows and columns are dealt into groups like cards, and group g of the rows meets group g of
        the columns only: so every row and every column is there, each as often as any other.
        About 2·(out·in)^⅔ places.
        """
        # Odd, as widths and attention heads are even.
        groups = min(round(self.shape.numel() ** (1 / 3) / 2) | 1, *self.shape)
        out, into = (size // groups for size in self.shape)
        parts = []
        for left, right in zip(self.left, self.right, strict=True):
            rows = left[: out * groups].view(out, groups, -1).transpose(0, 1)
            columns = right[:, : into * groups].reshape(-1, into, groups).permute(2, 0, 1)
            parts.append((rows @ columns).flatten())
        sampled = torch.stack(parts)
        return sampled if self.change is None else self.change()(sampled[:, None])[:, 0]


def _chain(first: Change, second: Change) -> Change:
    return lambda tile: second(first(tile))


def just_below(threshold: float, dtype: torch.dtype) -> float:
    """The bound for `hardshrink`, which keeps what is larger, to keep magnitudes from `threshold`.

    Args:
        threshold: at least 0, a number of that type.
        dtype: a floating-point type.
    """
    bound = torch.tensor(threshold, dtype=dtype)
    # All magnitudes are above a negative bound; from 0 on, nothing is to be dropped.
    return float(torch.nextafter(bound, torch.full_like(bound, -torch.inf)))


def shrink_(delta: Tensor, bound: float) -> Tensor:
    """`delta` with every entry of a magnitude up to `bound` set to zero, in place."""
    shrunk: Tensor = torch.ops.aten.hardshrink.out(delta, bound, out=delta)
    return shrunk


def from_dense(dense: Tensor, module: ModuleInputs, context: MergeContext) -> MergedModule:
    """A dense result brought to the wanted rank (the experts' summed rank by default).

    The search for its main directions starts at the experts' own, near which they lie.

    Args:
        dense: (out, in).
        module: the layer.
        context: the merge's.
    """
    near = torch.cat([factors.a.to(dense.dtype) for factors in module.factors])
    u, s, vh = randomized_svd(dense, context.rank or module.total_rank, near=near)
    b, a = split_evenly(u, s, vh, len(s))
    total = float(dense.norm()) ** 2
    kept = min(float(s.double().square().sum()), total)
    return MergedModule(LoraFactors(a=a, b=b, scaling=1.0), kept, total)
