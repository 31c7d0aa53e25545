"""Several adapters of one base model side by side, without merging and without reloading.

The factors of all adapters are stacked: one product with every A, a gate that says how much of each
adapter's rank-space a token gets, one product with every B. With a gate of ones and zeros each token
is read by its own adapter in a pass that all share; with weights it is the exact linear merge
Σ wᵢ·Bᵢ·Aᵢ, and new weights cost nothing but a small tensor. The weights may differ by layer and by
rows of a layer's output, and they can be learned: gradients flow to them and to nothing else here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from experts.base import BaseModel

__all__ = ["AdapterStack", "acting", "row_runs"]

Deltas = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def row_runs(rows: int, runs: int) -> torch.Tensor:
    """Cut rows 0 … rows - 1 into runs of even length: the run of each row, int64, shape (rows,).

    >>> row_runs(5, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    return torch.arange(rows) * runs // rows


class AdapterStack:
    """Adapters that read at the same time.

    Args:
        base: the base model; its weights are not touched.
        adapters: for each adapter: module path → (A of shape (r, in), B of shape (out, r)), scaling
            folded in. Modules and ranks may differ between adapters.

    Raises:
        SamError: for a module that the base model lacks or whose shape differs.
    """

    def __init__(self, base: BaseModel, adapters: Sequence[Deltas]) -> None:
        for deltas in adapters:
            base.check_fits(deltas)
        self._count = len(adapters)
        self._device, self._dtype = base.device, base.dtype
        self._gates: torch.Tensor | None = None  # (n or 1, adapters)
        self._by_owner: dict[tuple[int, ...], torch.Tensor] = {}
        self._by_module: Mapping[str, torch.Tensor] | None = None
        modules = dict(base.model.named_modules())
        self._stacks: dict[str, tuple[nn.Module, torch.Tensor, torch.Tensor, tuple[int, ...]]] = {}
        for name in dict.fromkeys(name for deltas in adapters for name in deltas):
            members = [(i, *deltas[name]) for i, deltas in enumerate(adapters) if name in deltas]
            a = torch.cat([a.to(self._device, self._dtype) for _, a, _ in members])
            b = torch.cat([b.to(self._device, self._dtype) for _, _, b in members], 1)
            owner = tuple(i for i, a, _ in members for _ in range(len(a)))
            self._stacks[name] = (modules[name], a.T.contiguous(), b.T.contiguous(), owner)

    def select(self, adapters: Sequence[int]) -> None:
        """Let each of the next pass's n tokens be read by one adapter, given by its index."""
        index = torch.tensor(adapters, device=self._device)
        self._set(nn.functional.one_hot(index, self._count).to(self._dtype))

    def weigh(self, weights: Sequence[float]) -> None:
        """Let every token be read by the weighted sum of all adapters, until this is changed."""
        self._set(torch.tensor([list(weights)], device=self._device, dtype=self._dtype))

    def weigh_modules(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Let every token be read by a weighted sum that differs by module, until this is changed.

        Gradients flow to the weights.

        Args:
            weights: for every adapted module path: any float dtype, shape (adapters, runs), column j
                for the j-th run of the module's output rows (`row_runs`).
        """
        self._gates, self._by_owner, self._by_module = None, {}, weights

    def _set(self, gates: torch.Tensor) -> None:
        self._gates, self._by_owner, self._by_module = gates, {}, None

    def _gate(self, owner: tuple[int, ...]) -> torch.Tensor:
        """Shape (n or 1, R): for each token and each of the R stacked ranks."""
        gate = self._by_owner.get(owner)
        if gate is None:
            assert self._gates is not None
            gate = self._gates[:, torch.tensor(owner, device=self._device)]
            self._by_owner[owner] = gate
        return gate

    def _scaled(
        self, b: torch.Tensor, weights: torch.Tensor, owner: tuple[int, ...]
    ) -> torch.Tensor:
        """`b`, shape (R, out), each rank and run of columns times its weight.

        By products with zeros and ones rather than by indexing, whose gradient would be summed in
        an order that depends on the threads.
        """
        ranks = nn.functional.one_hot(torch.tensor(owner, device=self._device), self._count)
        gate = ranks.to(weights.dtype) @ weights.to(self._device)
        if gate.shape[1] > 1:
            runs = row_runs(b.shape[1], gate.shape[1]).to(self._device)
            gate = gate @ nn.functional.one_hot(runs, gate.shape[1]).to(gate.dtype).T
        return (b * gate).to(self._dtype)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Add the gated adapters to the outputs of the base model's layers."""
        with contextlib.ExitStack() as hooks:
            for name, (module, a, b, owner) in self._stacks.items():
                handle = module.register_forward_hook(self._hook(name, a, b, owner))
                hooks.callback(handle.remove)
            yield

    def _hook(self, name: str, a: torch.Tensor, b: torch.Tensor, owner: tuple[int, ...]) -> Any:
        def add(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> Any:
            if self._by_module is not None:
                return output + (inputs[0] @ a) @ self._scaled(b, self._by_module[name], owner)
            ranks = (inputs[0] @ a) * self._gate(owner)
            return output + ranks @ b

        return add


def acting(base: BaseModel, deltas: Deltas) -> contextlib.AbstractContextManager[None]:
    """Let a model read as one expert, or as itself without any deltas.

    In its weights, which costs nothing a token; beside them if they are quantized.
    """
    if not base.quantization or not deltas:
        return base.adapted(deltas)
    stack = AdapterStack(base, [deltas])
    stack.weigh([1.0])
    return stack.attached()
