"""Learning how strongly each expert enters each layer, with everything else frozen.

The experts stand side by side beside the base model's layers (`experts.stack`), so a merge with any
weights is one forward pass and the gradient of any loss with respect to all weights one backward
pass; no merged matrix is ever formed. What is learned is a few numbers, not a model.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from experts.base import BaseModel
from experts.errors import Cancelled, SamError
from experts.head import CandidateHead, decoder_of
from experts.merging.adapters import Adapter
from experts.packing import PackedRow
from experts.prompt import Prompter
from experts.reading import reader_of
from experts.stack import AdapterStack
from experts.support import can_read_packed

__all__ = ["Coefficients", "GatedExperts", "batches", "descend", "group_modules"]

_PASS_TOKENS = 512  # a forward pass that keeps its activations: bounds the memory at about 0.5 GB


def group_modules(modules: Sequence[str], share: str) -> dict[str, str]:
    """Module path → name of the group that shares its weights.

    Args:
        modules: module paths.
        share: "module" for weights of its own each; "layer" for one set per numbered layer of the
            model; "expert" for one in all.
    """
    if share == "module":
        return {name: name for name in modules}
    if share == "expert":
        return dict.fromkeys(modules, "all")
    numbers = {name: re.search(r"\.(\d+)\.", f".{name}.") for name in modules}
    return {name: found.group(1) if found else name for name, found in numbers.items()}


class Coefficients:
    """Weights of experts, one set for each group of modules.

    Args:
        groups: module path → its group (`group_modules`).
        start: initial weight of each expert, the same in all groups.

    Attributes:
        values: group → float32, shape (experts, runs): one column for each run of a module's output
            rows (`experts.stack.row_runs`).
        start: the initial weights, shape (experts, 1).
    """

    def __init__(self, groups: Mapping[str, str], start: Sequence[float]) -> None:
        self.groups = dict(groups)
        self.start = torch.tensor(list(start), dtype=torch.float32)[:, None]
        self.values = {
            group: self.start.clone().requires_grad_() for group in dict.fromkeys(groups.values())
        }

    def split(self, runs: Mapping[str, int]) -> Coefficients:
        """The same weights, each group cut into runs that can be learned apart.

        Args:
            runs: group → number of runs; 0 for one that is not learned any further.
        """
        result = Coefficients(self.groups, self.start[:, 0].tolist())
        for group, value in self.values.items():
            count = runs[group]
            copy = value.detach().mean(1, keepdim=True).repeat(1, max(count, 1))
            result.values[group] = copy.requires_grad_(count > 0)
        return result

    def gates(self) -> dict[str, Tensor]:
        """Module path → its weights, as `AdapterStack.weigh_modules` takes them."""
        return {name: self.values[group] for name, group in self.groups.items()}

    @property
    def trainable(self) -> list[Tensor]:
        """What is learned."""
        return [value for value in self.values.values() if value.requires_grad]

    def fill(self, weights: Sequence[float]) -> None:
        """One weight for each expert, the same in all groups."""
        with torch.no_grad():
            for value in self.values.values():
                value.copy_(torch.tensor(list(weights))[:, None].expand_as(value))

    def distance(self) -> Tensor:
        """Mean of |α - ᾱ| over all weights that are learned, ᾱ the initial ones; a scalar."""
        total = sum(((value - self.start).abs().sum() for value in self.trainable), torch.zeros(()))
        return total / max(1, sum(value.numel() for value in self.trainable))

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the values, for `restore`."""
        return {group: value.detach().clone() for group, value in self.values.items()}

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Put the values of a snapshot back."""
        with torch.no_grad():
            for group, value in self.values.items():
                value.copy_(values[group])


class GatedExperts:
    """A base model with experts beside its layers.

    Args:
        base: the base model; its weights are not touched.
        adapters: the experts.

    Attributes:
        stack: sets how strongly each expert reads.
        reader, head, prompter: what to read with.

    Raises:
        SamError: an expert does not fit the base model, or nothing can read the model.
    """

    def __init__(self, base: BaseModel, adapters: Sequence[Adapter]) -> None:
        self.base = base
        self.stack = AdapterStack(base, [adapter.products() for adapter in adapters])
        self.prompter = Prompter(base.tokenizer)
        self.packed = can_read_packed(base, self.prompter)
        self.reader = reader_of(base, packed=self.packed)
        self.head = CandidateHead(base.model)
        self._count = len(adapters)

    def check_learns(self) -> None:
        """Refuse a base model through which no gradient flows.

        Raises:
            SamError: it is quantized.
        """
        if self.base.quantization:
            raise SamError(
                f"Weights cannot be learned on a base model in {self.base.quantization}.",
                "Set SAM_DTYPE=auto for the merge; its result works in every format.",
            )

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """The experts read along, the model's own weights collect no gradient."""
        parameters = [p for p in self.base.model.parameters() if p.requires_grad]
        try:
            for parameter in parameters:
                parameter.requires_grad_(False)
            with torch.inference_mode(False), torch.enable_grad(), self.stack.attached():
                yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)

    def only(self, expert: int | None) -> None:
        """Let one expert read alone, or the bare base model."""
        self.stack.weigh([float(i == expert) for i in range(self._count)])

    def states(self, rows: Sequence[PackedRow]) -> list[Tensor]:
        """Hidden states of all tokens, in the order of the rows' `tokens`, float32, (n, d) each.

        Returns:
            That of the layer in the middle, then the last one behind the final norm; only the last
            where the base model cannot be read packed.
        """
        seen: list[Tensor] = []

        def keep(_: nn.Module, inputs: Any, output: Any) -> None:
            seen.append((output[0] if isinstance(output, tuple) else output)[0].float())

        with contextlib.ExitStack() as stack:
            middle = _middle_layer(self.base) if self.packed else None
            if middle is not None:
                stack.callback(middle.register_forward_hook(keep).remove)
            stack.enter_context(self.reader.reading())
            last = self.reader.read_through(rows)
        return [*seen, last.float()]


def _middle_layer(base: BaseModel) -> nn.Module | None:
    """The layer below which lies half of the model."""
    count = getattr(base.model.config.get_text_config(), "num_hidden_layers", 0)
    for child in decoder_of(base.model).children():
        if isinstance(child, nn.ModuleList) and len(child) == count and count > 1:
            return child[(count - 1) // 2]
    return None


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of rows, cut into forward passes of bounded length, in their order."""
    result: list[list[int]] = []
    size = 0
    for i, length in enumerate(lengths):
        if not result or size + length > _PASS_TOKENS:
            result.append([])
            size = 0
        result[-1].append(i)
        size += length
    return result


def descend(
    coefficients: Coefficients,
    backward: Callable[[int], None],
    *,
    steps: int,
    rate: float,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Adam on the coefficients, its step length falling to 0 along a cosine.

    Args:
        coefficients: changed in place.
        backward: adds the gradient of the loss of a step, given by its number.
        rate: the first steps' length: about how far a weight can move in one.
        progress: called with (steps done, all steps).

    Raises:
        Cancelled: if `cancelled` said so.
    """
    optimizer = torch.optim.Adam(coefficients.trainable, lr=rate, betas=(0.9, 0.99))
    for step in range(steps):
        if cancelled is not None and cancelled():
            raise Cancelled("The merge was cancelled.")
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        backward(step)
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
