"""Fisher merging: where experts differ, the one counts more whose answers depend more on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from experts.errors import SamError
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.dense import from_dense
from experts.merging.passes import SENTENCES, Passes, parts, stop_if
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)

if TYPE_CHECKING:
    from experts.base import BaseModel
    from experts.head import CandidateHead
    from experts.training import _Target

__all__ = ["Fisher", "squared_gradients"]

_MOST_NUMBERS = 3 * 2**27  # dense float32 numbers held at a time: 1.5 GiB
_SEED = 0  # of the vocabulary sample beside the candidates of an answer

FLOOR = Parameter(
    "floor", "Caution", "float", 1e-6, 10.0, 0.1,
    "How strongly the result is held near the weighted average where no answer depends on an "
    "entry; larger is more careful.",
)  # fmt: skip
BALANCE = Parameter(
    "balance", "Balance the experts", "bool", None, None, True,
    "Gives every expert the same say in each layer, so that the weights decide between experts; "
    "switched off, experts that are less sure of their answers count more.",
)  # fmt: skip


@register
class Fisher(MergeMethod):
    """Fisher-weighted averaging (Matena & Raffel 2022, arXiv:2111.09832), diagonal, on dense ΔW.

    The parameters are the entries of each adapted layer's dense weight, not those of A and B, which
    mean nothing by themselves. Expert i's Fisher information of an entry is

        Fᵢ = 1/m · Σₑ (∂ log p(yₑ | xₑ) / ∂W)²,

    over m sentences xₑ and the expert's own answers yₑ to them (all types of a sentence together),
    as grounded decoding found them: the paper takes the expectation over the model's answers, this
    its likeliest one, hence no labels are needed. The gradient of a sentence is Δᵀ·X of the
    gradients Δ (n, out) at the layer's output and its inputs X (n, in). The merged entry is

        Σ wᵢ·F̂ᵢ·ΔWᵢ / Σ |wᵢ|·F̂ᵢ,   F̂ᵢ = Fᵢ/mean(Fᵢ) + floor

    with the mean over the layer (the authors' code, too, divides by a norm, of the whole model,
    and raises small values to a floor; `balance` off leaves Fᵢ as it is, the floor relative to its
    mean). A layer that an expert does not touch is its zero update. The result has no low rank and
    is brought back to one by randomized SVD.

    Streamed: three dense float32 matrices of each layer are held, of at most 1.5 GiB of layers at
    a time (or one layer); larger models are read again for each part.
    """

    key = "fisher"
    name = "Fisher merging"
    summary = (
        "Lets each expert answer sentences and, entry by entry, listens most to the expert whose "
        "answers depend on it."
    )
    paper = "Matena & Raffel 2022, Merging Models with Fisher-Weighted Averaging, arXiv:2111.09832"
    needs = "texts"
    order = 62
    parameters: ClassVar[tuple[Parameter, ...]] = (FLOOR, BALANCE, SENTENCES)

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Read the texts, merge, and bring every layer back to low rank."""
        from experts.head import CandidateHead

        assert context.data is not None
        base = context.data.base
        if base.quantization:
            raise SamError(
                f"Fisher merging cannot look inside a base model in {base.quantization}.",
                "Set SAM_DTYPE=auto for it, or choose another merge method.",
            )
        passes, head = Passes(adapters, context), CandidateHead(base.model)
        shapes = {name: f.shape for a in adapters for name, f in a.modules.items()}
        names = list(shapes)
        cost = {i: 3 * shapes[name][0] * shapes[name][1] for i, name in enumerate(names)}
        rounds = list(parts(names, cost, _MOST_NUMBERS))
        self.state["merged"] = {}
        for number, part in enumerate(rounds):
            over = {name: torch.zeros(shapes[name], device=base.device) for name in part}
            under = {name: torch.zeros(shapes[name], device=base.device) for name in part}
            for index, (adapter, weight) in enumerate(zip(adapters, context.weights, strict=True)):
                if context.progress is not None:
                    step = len(adapters) * len(rounds) + 2 * (number * len(adapters) + index)
                    message = f"Weighing what expert {index + 1} of {len(adapters)} knows"
                    context.progress(step, 3 * len(adapters) * len(rounds), message)
                fisher = squared_gradients(passes, head, adapter, part, context)
                for name in part:
                    share = self._share(fisher.pop(name), context)
                    under[name] += abs(weight) * share
                    if (factors := adapter.modules.get(name)) is not None:
                        over[name] += weight * share * factors.to(base.device).delta()
            for name in part:
                stop_if(context.cancelled)
                merged = over.pop(name) / under.pop(name)
                self.state["merged"][name] = from_dense(
                    merged.to(context.device), _module(name, adapters), context
                )

    @staticmethod
    def _share(fisher: Tensor, context: MergeContext) -> Tensor:
        """F̂: floored and, by default, of mean 1 + floor; ones for a layer that nobody reached."""
        floor = float(context.parameters["floor"])
        mean = float(fisher.mean())
        if mean <= 0:
            return torch.ones_like(fisher)
        scale = mean if context.parameters["balance"] else 1.0
        return fisher.add_(floor * mean).div_(scale)

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """What was prepared."""
        merged: MergedModule = self.state["merged"].pop(module.name)
        return merged


def _module(name: str, adapters: Sequence[Adapter]) -> ModuleInputs:
    present: list[LoraFactors] = [a.modules[name] for a in adapters if name in a.modules]
    return ModuleInputs(name, (), (), tuple(present))


def squared_gradients(
    passes: Passes,
    head: CandidateHead,
    adapter: Adapter,
    modules: Sequence[str],
    context: MergeContext,
) -> dict[str, Tensor]:
    """Mean over the expert's sentences of the squared gradient of its answers' log-likelihood.

    Returns:
        Module path → float32, (out, in); zeros where no gradient arrives.
    """
    from experts.stack import acting

    base = passes.base
    known = dict(base.model.named_modules())
    fisher: dict[str, Tensor] = {}
    for name in modules:
        weight: Any = known[name].weight
        shape = weight.shape[::-1] if type(known[name]).__name__ == "Conv1D" else weight.shape
        fisher[name] = torch.zeros(*shape, device=base.device)
    targets = passes.targets[adapter.name]
    with acting(base, adapter.products()), torch.enable_grad():
        for target in targets:
            stop_if(context.cancelled)
            gradients: dict[str, Tensor] = {}

            def see(name: str, inputs: Tensor, gradient: Tensor) -> None:
                product = gradient.flatten(0, -2).float().T @ inputs.flatten(0, -2).float()
                seen = gradients.get(name)  # noqa: B023 (used at once)
                gradients[name] = product if seen is None else seen + product  # noqa: B023

            with _watching(base, modules, see) as start:
                _backward(passes, head, target, start)
            for name, gradient in gradients.items():
                fisher[name].addcmul_(gradient, gradient, value=1 / len(targets))
    return fisher


@contextlib.contextmanager
def _watching(
    base: BaseModel, modules: Sequence[str], see: Callable[[str, Tensor, Tensor], None]
) -> Iterator[list[Tensor]]:
    """Call `see` with (module, inputs, gradient at its outputs) during a backward pass.

    Yields:
        A list that holds the embeddings after a forward pass: what to differentiate with respect
        to, as no weight asks for a gradient.
    """
    known = dict(base.model.named_modules())
    start: list[Tensor] = []

    def begin(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        start[:] = [output.detach().requires_grad_()]
        return start[0]

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def watch(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rows = inputs[0].detach()
            output.register_hook(lambda gradient: see(name, rows, gradient))

        return watch

    with contextlib.ExitStack() as hooks:
        embedding: Any = base.model.get_input_embeddings()
        hooks.callback(embedding.register_forward_hook(begin).remove)
        for name in modules:
            hooks.callback(known[name].register_forward_hook(hook(name)).remove)
        yield start


def _backward(passes: Passes, head: CandidateHead, target: _Target, start: list[Tensor]) -> None:
    """Differentiate the log-likelihood of a sentence's answers; no weight gets a gradient."""
    from experts.training import packed_loss

    generator = torch.Generator().manual_seed(_SEED)
    loss, _ = packed_loss(passes.reader, head, [target], generator)
    torch.autograd.grad(loss, start)
