"""The loss of corrected texts as a function of the experts' weights, and a search without slopes."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from experts.errors import SamError
from experts.gates import Coefficients, GatedExperts, batches
from experts.sampling import Question
from experts.spans import Span
from experts.training import build_row, packed_loss

__all__ = ["Practice", "evolve"]

_BATCH = 8  # corrections a step

Pair = tuple[str, list[Span]]


class Practice:
    """Reads corrected texts with their answers.

    Args:
        experts: side by side, not attached.
        types: asked of every text.
        seed: of the order in which texts come, and of the sampled vocabulary in the loss.
    """

    def __init__(self, experts: GatedExperts, types: Sequence[str], seed: int) -> None:
        self._experts, self._types, self._seed = experts, tuple(types), seed

    def loss(self, coefficients: Coefficients, pairs: Sequence[Pair]) -> float:
        """Mean cross-entropy of the answers' tokens over all texts, in nats."""
        with torch.no_grad():
            return self._sum(coefficients, pairs, self._seed, learn=False)

    def backward(self, coefficients: Coefficients, pairs: Sequence[Pair], step: int) -> float:
        """The loss of a step's texts, its gradient added to the coefficients."""
        size = min(_BATCH, len(pairs))
        turn, place = divmod(step * size, len(pairs))
        order: list[Pair] = []
        for number in (turn, turn + 1):  # a step may end in the next round through all texts
            part = list(pairs)
            random.Random(f"{self._seed}:{number}").shuffle(part)
            order += part
        return self._sum(coefficients, order[place : place + size], self._seed + step, learn=True)

    def _sum(
        self, coefficients: Coefficients, pairs: Sequence[Pair], seed: int, *, learn: bool
    ) -> float:
        targets = [target for pair in pairs if (target := self._target(*pair)) is not None]
        if not targets:
            raise SamError(
                "The corrected sentences are too long to learn from.", "Correct shorter ones."
            )
        count = sum(len(target.predict) for target in targets)
        generator = torch.Generator().manual_seed(seed)
        total = 0.0
        with self._experts.attached():
            self._experts.stack.weigh_modules(coefficients.gates())
            for part in batches([len(target.row.tokens) for target in targets]):
                with torch.set_grad_enabled(learn):
                    loss, _ = packed_loss(
                        self._experts.reader,
                        self._experts.head,
                        [targets[i] for i in part],
                        generator,
                    )
                if learn:
                    (loss / count).backward()
                total += float(loss.detach())
        return total / count

    def _target(self, text: str, spans: Sequence[Span]) -> Any:
        answers = tuple(tuple(s for s in spans if s.label == t) for t in self._types)
        return build_row(self._experts.prompter, Question(text, self._types, answers))


def evolve(
    cost: Callable[[Sequence[float]], float],
    start: Sequence[float],
    spread: float,
    trials: int,
    seed: int,
) -> list[float] | None:
    """Minimise by CMA-ES (Hansen & Ostermeier 2001).

    Args:
        cost: what to minimise.
        start: where to begin.
        spread: standard deviation of the first draws.
        trials: evaluations beside that of the start; as many generations as fit in, at least one.
        seed: the same one draws the same; numpy's global generator is left alone.

    Returns:
        The best of all that were tried, None if none was better than the start.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it could not draw plots
        import cma  # type: ignore[import-untyped]

    rng = np.random.default_rng(seed)
    count = max(2, len(start))  # the library knows no single dimension: a second one without effect
    best, lowest = None, cost(list(start))
    size = max(4, min(4 + int(3 * np.log(count)), trials))
    options = {
        "seed": np.nan,
        "randn": lambda *shape: rng.standard_normal(shape),
        "verbose": -9,
        "popsize": size,
    }
    strategy = cma.CMAEvolutionStrategy([*start] + [0.0] * (count - len(start)), spread, options)
    for _ in range(max(1, trials // size)):
        drawn = strategy.ask()
        owns = [[float(value) for value in values[: len(start)]] for values in drawn]
        costs = [cost(own) for own in owns]
        i = min(range(len(costs)), key=costs.__getitem__)
        if costs[i] < lowest:
            best, lowest = owns[i], costs[i]
        if strategy.stop():
            break
        strategy.tell(drawn, costs)
    return best
