"""RegMean: the update whose outputs are nearest to every expert's outputs on its own inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from experts.merging.adapters import Adapter
from experts.merging.moments import Moments, solve_positive
from experts.merging.passes import (
    SENTENCES,
    Passes,
    parts,
    shared_inputs,
    stop_if,
    watching,
)
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    register,
)
from experts.merging.spectra import dtype_of, from_product, left_basis, svd_of_expert

__all__ = ["RegMean", "RegMeanCore"]

_MOST_NUMBERS = 2**27  # float64 numbers of Gram matrices held at a time: 1 GiB

ALPHA = Parameter(
    "alpha", "Relations between features", "float", 0.0, 1.0, 0.9,
    "How far it counts which features of your texts occur together; the paper's α. At 0 every "
    "feature is averaged on its own, at 1 relations count in full, which needs many sentences.",
)  # fmt: skip
RIDGE = Parameter(
    "ridge", "Caution", "float", 1e-6, 10.0, 0.01,
    "How strongly the result is held near the weighted average of the experts where the texts "
    "say little; larger is more careful.",
)  # fmt: skip


class _Watched:
    """The selected experts' passes, one after the other, with what their layers read."""

    def __init__(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        self.adapters, self.context = adapters, context
        self.passes = Passes(adapters, context)
        self.modules = list(dict.fromkeys(name for a in adapters for name in a.modules))
        device = self.passes.base.device
        # Metal has no float64.
        self.device = torch.device("cpu") if device.type == "mps" else device
        self._steps = 0

    def each(
        self, modules: Sequence[str], see: Callable[[Adapter, float, str, Tensor], None]
    ) -> None:
        """Call `see` with (expert, |weight| / tokens, module, rows (n, in)) for every pass."""
        from experts.stack import acting

        count = len(self.adapters)
        with torch.inference_mode():
            for adapter, weight in zip(self.adapters, self.context.weights, strict=True):
                scale = abs(weight) / self.passes.tokens(adapter.name)
                if self.context.progress is not None:
                    share = count + min(self._steps, 2 * count - 1)
                    self.context.progress(share, 3 * count, "Reading with the experts")
                self._steps += 1
                with acting(self.passes.base, adapter.products()):
                    for batch in self.passes.batches(adapter.name):
                        stop_if(self.context.cancelled)

                        def watch(name: str, inputs: Tensor) -> None:
                            rows = self.passes.kept(batch[0], inputs)  # noqa: B023 (used at once)
                            see(adapter, scale, name, rows.to(self.device))  # noqa: B023

                        with watching(self.passes.base, modules, watch):
                            self.passes.read(batch)

    def ridge(self, energy: float) -> float:
        """λ for a layer: the parameter, relative to the mean energy of its input features.

        Args:
            energy: mean diagonal of Σ |wᵢ|·Gᵢ. A layer that no text reaches has none; any λ then
                gives the weighted average.
        """
        total = sum(map(abs, self.context.weights))
        return float(self.context.parameters["ridge"]) * energy / total if energy > 0 else 1.0


@register
class RegMean(MergeMethod):
    """RegMean (Jin et al. 2023, arXiv:2212.09849), on the updates, exactly and in factored form.

    The paper merges linear layers by W = (Σ G̃ᵢ)⁻¹ Σ G̃ᵢWᵢ (there with inputs as rows of W), with
    Gᵢ the Gram matrix of the inputs that expert i's layer gets, its off-diagonal entries multiplied
    by α, the i-th term by expert i's weight. The base's part of W cancels out, so for ΔW (out, in):

        ΔW = [Σ wᵢ·ΔWᵢ·(G̃ᵢ + λI)] · [Σ |wᵢ|·(G̃ᵢ + λI)]⁻¹,   G̃ᵢ = α·Gᵢ + (1 - α)·diag(Gᵢ),

    the minimum of Σ wᵢ·(‖Xᵢ(ΔW - ΔWᵢ)ᵀ‖²/nᵢ + regulariser), where the regulariser is the paper's:
    tr((ΔW - ΔWᵢ)·Λᵢ·(ΔW - ΔWᵢ)ᵀ), with λI added to its Λᵢ. λ is `ridge` times the mean of the
    inputs' squares. It pulls towards the experts, not towards zero, so one expert alone comes back
    unchanged, and where no text says anything the result is the weighted average. Grams are means
    over an expert's tokens, so the length of texts has no say, and only the ratio of weights has.

    ΔWᵢ = sᵢ·BᵢAᵢ, so the result is [B₁…Bₙ] times a right factor (R, in) that is solved for;
    no (out, in) matrix is formed. At most 1 GiB of Gram matrices is held: if the model's need more,
    the texts are read again for each part of the model.
    """

    key = "regmean"
    name = "RegMean"
    summary = (
        "Lets each expert read sentences of its own field and finds the one model whose layers "
        "answer most like all of them."
    )
    paper = "Jin et al. 2023, Dataless Knowledge Fusion by Merging Weights, arXiv:2212.09849"
    needs = "texts"
    exact = True
    order = 60
    parameters: ClassVar[tuple[Parameter, ...]] = (ALPHA, RIDGE, SENTENCES)

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Read the texts and solve for every layer's right factor."""
        watched = _Watched(adapters, context)
        passes = watched.passes
        groups = shared_inputs(passes, watched.modules)
        features = {a: adapter.modules[a].shape[1] for adapter in adapters for a in adapter.modules}
        tokens = sum(passes.tokens(adapter.name) for adapter in adapters)
        cost = {
            position: features[group[0]] * min(features[group[0]], tokens)
            for position, group in enumerate(groups)
        }
        self.state["right"] = {}
        for part in parts(groups, cost, _MOST_NUMBERS):
            self._solve(part, watched, {group[0]: features[group[0]] for group in part})

    def _solve(self, part: list[list[str]], watched: _Watched, features: dict[str, int]) -> None:
        """The right factors of the modules of some groups, each of which shares its inputs."""
        alpha = float(watched.context.parameters["alpha"])
        moments = {leader: Moments(size, alpha) for leader, size in features.items()}
        reads: dict[tuple[str, str], Tensor] = {}  # (expert, module) → A·G̃, times |w|

        def see(adapter: Adapter, scale: float, name: str, rows: Tensor) -> None:
            if name in moments:
                moments[name].add(rows, scale)
            factors = adapter.modules.get(name)
            if factors is None:
                return
            rows = rows.float()
            a = factors.a.to(rows)
            full = ((a @ rows.T) @ rows).double()
            own = a.double() * rows.double().square().sum(0)
            read = scale * (alpha * full + (1 - alpha) * own)
            key = (adapter.name, name)
            reads[key] = reads[key] + read if key in reads else read

        watched.each([name for group in part for name in group], see)
        total = sum(map(abs, watched.context.weights))
        for group in part:
            moment = moments[group[0]]
            ridge = watched.ridge(moment.energy)
            for name in group:
                stop_if(watched.context.cancelled)
                rights = []
                for adapter, weight in zip(watched.adapters, watched.context.weights, strict=True):
                    if (factors := adapter.modules.get(name)) is None:
                        continue
                    own = abs(weight) * ridge * factors.a.to(watched.device).double()
                    read = reads.get((adapter.name, name))
                    sign = factors.scaling * (1 if weight > 0 else -1)
                    rights.append(sign * (own if read is None else own + read))
                self.state["right"][name] = moment.solve(torch.cat(rights), ridge * total)

    def merge_module(self, module: ModuleInputs, context: MergeContext) -> MergedModule:
        """[B₁…Bₙ] times the right factor."""
        b = torch.cat([factors.b.double() for factors in module.factors], dim=1)
        right = self.state["right"][module.name].to(context.device)
        return from_product(b, right, module, context)


@register
class RegMeanCore(RegMean):
    """RegMean's problem, solved in the input subspace that the experts themselves read.

    Let Q (in, R) be an orthonormal basis of the rows of all ΔWᵢ in a layer. This solves exactly

        min over ΔW with rows in span(Q) of Σ wᵢ·tr((ΔW - ΔWᵢ)·(G̃ᵢ + λI)·(ΔW - ΔWᵢ)ᵀ),

    RegMean's own problem (the same G̃ᵢ, α and λ) with the constraint that the merged layer looks at
    nothing that no expert looks at: with ΔWᵢ = MᵢQᵀ and Hᵢ = Qᵀ(G̃ᵢ + λI)Q, the result is
    [Σ wᵢMᵢHᵢ][Σ |wᵢ|Hᵢ]⁻¹Qᵀ. It needs R×R matrices where RegMean needs in×in, hence one reading
    and hardly any memory whatever the model. Without the constraint RegMean also uses directions
    that correlate with the experts'. The core is that of Panariello et al. 2025 (arXiv:2509.17786);
    taking RegMean there is ours.
    """

    key = "regmean_core"
    name = "RegMean in the core"
    summary = (
        "Like RegMean, but the merged model looks only at what some expert looks at: faster, and "
        "for models of any size."
    )
    paper = (
        "Jin et al. 2023, arXiv:2212.09849, in the core space of Panariello et al. 2025, "
        "arXiv:2509.17786"
    )
    order = 61

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Read the texts once and solve for every layer's right factor."""
        watched = _Watched(adapters, context)
        alpha = float(context.parameters["alpha"])
        bases = {name: _basis(adapters, name).to(watched.device) for name in watched.modules}
        grams: dict[tuple[str, str], Tensor] = {}  # (expert, module) → QᵀGQ, times |w|
        squares: dict[tuple[str, str], Tensor] = {}  # the diagonal of G, times |w|

        def see(adapter: Adapter, scale: float, name: str, rows: Tensor) -> None:
            rows = rows.float()
            seen = (rows @ bases[name].float()).double()
            key = (adapter.name, name)
            gram, square = scale * (seen.T @ seen), scale * rows.double().square().sum(0)
            grams[key] = grams[key] + gram if key in grams else gram
            squares[key] = squares[key] + square if key in squares else square

        watched.each(watched.modules, see)
        self.state["right"] = {}
        for name, basis in bases.items():
            stop_if(context.cancelled)
            energy = sum(float(s.mean()) for (_, m), s in squares.items() if m == name)
            ridge = watched.ridge(energy)
            rights, total = [], torch.zeros_like(basis.T @ basis)
            for adapter, weight in zip(adapters, context.weights, strict=True):
                core = abs(weight) * ridge * (basis.T @ basis)
                if (adapter.name, name) in grams:
                    square = squares[adapter.name, name]
                    own = basis.T @ (square[:, None] * basis)
                    core = core + alpha * grams[adapter.name, name] + (1 - alpha) * own
                total = total + core
                if (factors := adapter.modules.get(name)) is not None:
                    sign = factors.scaling * (1 if weight > 0 else -1)
                    rights.append(sign * (factors.a.to(basis) @ basis) @ core)
            right = torch.cat(rights)
            self.state["right"][name] = (
                solve_positive(total, right) @ basis.T if basis.shape[1] else right @ basis.T
            )


def _basis(adapters: Sequence[Adapter], name: str) -> Tensor:
    """Q (in, R), float64, on the CPU: what the experts' updates of a layer read."""
    present = [adapter.modules[name] for adapter in adapters if name in adapter.modules]
    dtype = dtype_of(ModuleInputs(name, (), (), tuple(present)))
    return left_basis(torch.cat([svd_of_expert(f)[2].T for f in present], dim=1), dtype)
