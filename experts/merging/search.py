"""Few-shot search: weights of the experts that do best on a person's corrections."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter
from experts.merging.coefficients import SEED, SHARE, LearnedMerge, data_of, side_by_side
from experts.merging.registry import MergeContext, Parameter, register
from experts.spans import Span

if TYPE_CHECKING:
    from experts.gates import Coefficients
    from experts.merging.data import MergeData
    from experts.practice import Practice

__all__ = ["FewShotSearch", "hold_out"]

_LEAST = 4  # corrections: three to learn from and one to check by
_CHECKS = 4  # times that a descent is checked on the corrections that were held out

Pair = tuple[str, list[Span]]


def hold_out(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Divide corrections into those to learn from and those to check by, at least one of each."""
    order = list(pairs)
    random.Random(seed).shuffle(order)
    held = min(max(1, round(len(order) * share)), len(order) - 1)
    return order[held:], order[:held]


@dataclass
class _Bench:
    """Corrections to learn from and others to check by, and how to score weights on them."""

    practice: Practice
    learn: list[Pair]
    check: list[Pair]
    score_f1: Callable[[Coefficients, Sequence[Pair]], float]

    def loss(self, learned: Coefficients, pairs: Sequence[Pair]) -> float:
        return self.practice.loss(learned, pairs)


@register
class FewShotSearch(LearnedMerge):
    """Weights that minimise the loss, or maximise F1, of the person's corrections.

    By gradient: the loss is that of training (cross-entropy of the corrected answers, in nats a
    token), one backward pass through the experts side by side gives ∂L/∂c for all weights c at once,
    and Adam follows it. Derivative-free: CMA-ES (Hansen & Ostermeier 2001; the library `cma`) draws
    weights, one for each expert, and learns where good ones lie, by loss or by F1; as for LoRA
    experts in LoraHub (Huang et al. 2023, arXiv:2307.13269), which searches with Nevergrad on the
    loss of few examples. Both add `hold` times the mean of |c - c₀|, c₀ the weights of the recipe.

    Few corrections are easily learned by heart. A share of them is therefore held out. A descent is
    checked on them several times and its best moment is kept; and whatever was found is taken only
    if neither the loss nor the F1 of the held-out corrections is worse than with the initial
    weights, which stay otherwise (`state["report"]["kept_initial"]`, said in `state["note"]`).

    Deterministic on the CPU. `state` as of `LearnedMerge`.

    Raises (in `prepare`):
        SamError: no types, fewer than four corrections, corrections that are all too long, an expert
            that does not fit the base model, or a quantized base model with `how` = gradient.
        Cancelled: between two steps.
    """

    key = "search"
    name = "Learned from corrections"
    summary = "Tries out weights on the sentences that you have corrected, and keeps the best."
    paper = "Huang et al. 2023, LoraHub, arXiv:2307.13269; Hansen & Ostermeier 2001, CMA-ES"
    needs = "corrections"
    exact = True
    batched = True
    order = 62
    parameters = (
        Parameter(
            "how", "How to search", "choice", None, None, "gradient",
            "Follow the slope of the error (gradient, the quickest), or try out weights and compare "
            "the error (trials_loss) or the F1 score (trials_f1, the slowest).",
            choices=("gradient", "trials_loss", "trials_f1"),
        ),
        Parameter(
            "steps", "Rounds", "int", 1, 1000, 20,
            "Moves along the slope, or weights that are tried out.",
        ),
        Parameter(
            SHARE.name, SHARE.label, "choice", None, None, "expert",
            f"{SHARE.meaning} Trials always use one for the whole expert.", choices=SHARE.choices,
        ),
        Parameter(
            "hold", "Stay near the sliders", "float", 0.0, 100.0, 0.05,
            "How strongly the weights are held at those that you have set; 0 lets them go.",
        ),
        Parameter(
            "rate", "Largest move a round", "float", 0.0001, 2.0, 0.05,
            "How far a weight can move in one of the first rounds; for trials, how widely they are "
            "spread at first is four times as much.",
        ),
        Parameter(
            "check", "Corrections to check by", "float", 0.1, 0.9, 0.3,
            "The share of the corrections that is not learned from but shows whether what was "
            "learned holds for others.",
        ),
        SEED,
    )  # fmt: skip

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Search, check, and keep either what was found or the recipe's weights."""
        from experts.gates import Coefficients, GatedExperts, group_modules
        from experts.practice import Practice

        data, settings = data_of(self, context), context.parameters
        pairs = _corrections(data, self.key)
        learn, check = hold_out(pairs, float(settings["check"]), int(settings["seed"]))
        modules = list(dict.fromkeys(name for adapter in adapters for name in adapter.modules))
        by_gradient = settings["how"] == "gradient"
        groups = group_modules(modules, str(settings["share"]) if by_gradient else "expert")
        learned = Coefficients(groups, context.weights)
        experts = GatedExperts(data.base, adapters)
        if by_gradient:
            experts.check_learns()

        def score_f1(weights: Coefficients, pairs: Sequence[Pair]) -> float:
            return self._f1(weights, pairs, adapters, context)

        practice = Practice(experts, data.types, int(settings["seed"]))
        bench = _Bench(practice, learn, check, score_f1)
        before = {"loss": bench.loss(learned, check), "f1": score_f1(learned, check)}
        start = learned.snapshot()
        if by_gradient:
            self._descend(bench, learned, context)
        else:
            self._try_out(bench, learned, context)
        after = {"loss": bench.loss(learned, check), "f1": score_f1(learned, check)}
        worse = after["loss"] > before["loss"] or after["f1"] < before["f1"]
        if worse:
            learned.restore(start)
        unmoved = all(torch.equal(value, start[name]) for name, value in learned.values.items())
        self.keep(adapters, context, learned)
        self._tell(bench, before, after, kept_initial=unmoved)

    def _descend(self, bench: _Bench, learned: Coefficients, context: MergeContext) -> None:
        """Adam; the values with the lowest loss on the held-out corrections remain."""
        from experts.gates import descend

        settings, steps = context.parameters, int(context.parameters["steps"])
        hold = float(settings["hold"])
        best, lowest = learned.snapshot(), bench.loss(learned, bench.check)
        moments = {math.ceil(steps * (i + 1) / _CHECKS) for i in range(_CHECKS)}

        def backward(step: int) -> None:
            bench.practice.backward(learned, bench.learn, step)
            (hold * learned.distance()).backward()

        def tell(done: int, steps: int) -> None:
            nonlocal best, lowest
            if done in moments and (loss := bench.loss(learned, bench.check)) < lowest:
                best, lowest = learned.snapshot(), loss
            if context.progress is not None:
                context.progress(done, steps, "learning from the corrections")

        descend(
            learned, backward, steps=steps, rate=float(settings["rate"]),
            progress=tell, cancelled=context.cancelled,
        )  # fmt: skip
        learned.restore(best)

    def _try_out(self, bench: _Bench, learned: Coefficients, context: MergeContext) -> None:
        """CMA-ES over one weight for each expert; the best of all that were tried remains."""
        from experts.practice import evolve

        settings, start = context.parameters, learned.snapshot()
        by_loss, hold = settings["how"] == "trials_loss", float(settings["hold"])
        trials, done = int(settings["steps"]), 0

        def cost(values: Sequence[float]) -> float:
            nonlocal done
            if context.cancelled is not None and context.cancelled():
                raise Cancelled("The merge was cancelled.")
            learned.fill(values)
            score = (
                bench.loss(learned, bench.learn)
                if by_loss
                else 1.0 - bench.score_f1(learned, bench.learn)
            )
            done += 1
            if context.progress is not None:
                context.progress(min(done, trials), trials, "trying out weights")
            return score + hold * float(learned.distance().detach())

        initial = learned.start[:, 0].tolist()
        best = evolve(cost, initial, 4 * float(settings["rate"]), trials, int(settings["seed"]))
        learned.restore(start)
        if best is not None:
            learned.fill(best)

    def _f1(
        self,
        weights: Coefficients,
        pairs: Sequence[Pair],
        adapters: Sequence[Adapter],
        context: MergeContext,
    ) -> float:
        """Micro F1 of the merge with these weights on corrected texts."""
        from experts.evaluate import micro_f1
        from experts.extract import Extractor

        data = data_of(self, context)
        values = {name: gate.detach().tolist() for name, gate in weights.gates().items()}
        merged = side_by_side(
            adapters,
            {a.name: {name: values[name][k] for name in a.modules} for k, a in enumerate(adapters)},
        )
        found = Extractor(data.base).extract(
            [text for text, _ in pairs], data.types, adapter=merged, cancelled=context.cancelled
        )
        return micro_f1([spans for _, spans in pairs], found)

    def _tell(
        self,
        bench: _Bench,
        before: dict[str, float],
        after: dict[str, float],
        *,
        kept_initial: bool,
    ) -> None:
        report: dict[str, Any] = {"learned_from": len(bench.learn), "checked_by": len(bench.check)}
        report |= {"before": before, "after": after, "kept_initial": kept_initial}
        self.state["report"] = report
        numbers = (
            f"their loss went from {before['loss']:.3f} to {after['loss']:.3f}, their F1 from "
            f"{before['f1']:.2f} to {after['f1']:.2f}"
        )
        start = f"Learned from {len(bench.learn)} corrections, checked by {len(bench.check)} more"
        self.state["note"] = (
            f"{start}. Nothing better was found than the weights that you have set, which stay: "
            f"with the best of the others, {numbers}."
            if kept_initial
            else f"{start}: {numbers}."
        )


def _corrections(data: MergeData, method: str) -> list[Pair]:
    """The corrected texts, with the spans of the asked types.

    Raises:
        SamError: too few.
    """
    types = set(data.types)
    pairs = [(text, [s for s in spans if s.label in types]) for text, spans in data.corrected]
    if len(pairs) < _LEAST:
        raise SamError(
            f"The merge method '{method}' needs at least {_LEAST} corrected sentences; there are "
            f"{len(pairs)}.",
            "Correct some more in Review, or choose a method that needs none.",
        )
    return pairs
