"""Weights that change while the model is loaded: experts side by side, no merge.

The weighted sum Σ wᵢΔWᵢ is linear in the weights, so a model that carries all experts beside its
layers (`experts.stack`) is any such merge at once; a slider moves a handful of numbers.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experts.errors import SamError
from experts.merging.adapters import Adapter
from experts.merging.merge import MergeResult, merge
from experts.merging.recipe import Recipe, RecipeExpert
from experts.spans import Span

if TYPE_CHECKING:  # the list of methods imports this package, and must not load transformers
    from experts.base import BaseModel
    from experts.extract import Extractor

__all__ = ["LiveMerge"]


class LiveMerge:
    """Experts that are merged by weights which may change between any two passes of the model.

    `weigh` may be called from any thread at any time. A pass that is running keeps the weights that
    it began with, and so does a whole call of `extract`, because its passes build on each other.
    Passes themselves must come one after another, as for every base model.

    Args:
        base: the base model; its weights are not touched.
        adapters: the experts, of this base model, names unique. They stay in memory twice: as they
            are given, for `freeze`, and stacked in the base model's precision.

    Raises:
        SamError: no expert, a name twice, or an expert that does not fit the base model.
    """

    def __init__(self, base: BaseModel, adapters: Sequence[Adapter]) -> None:
        from experts.head import decoder_of
        from experts.stack import AdapterStack

        if not adapters:
            raise SamError("There is no expert to weigh.", "Choose at least one.")
        self.names = tuple(adapter.name for adapter in adapters)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise SamError(f"Two adapters are named '{twice[0]}'.", "Rename one of them.")
        self._adapters = tuple(adapters)
        self._stack = AdapterStack(base, [adapter.products() for adapter in adapters])
        self._decoder = decoder_of(base.model)
        self._wanted = tuple(1 / len(adapters) for _ in adapters)
        self._running = threading.RLock()

    @property
    def weights(self) -> dict[str, float]:
        """Expert → weight of the next pass."""
        return dict(zip(self.names, self._wanted, strict=True))

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Use these weights from the next pass on; experts that are not named have the weight 0.

        Raises:
            SamError: an expert that is not loaded, or a weight that is not a finite number.
        """
        self._wanted = self._checked(weights)  # one assignment: no pass can see half of it

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Within the block every pass of the base model reads with the weights of its beginning."""
        with self._reading(lambda: self._wanted):
            yield

    @contextlib.contextmanager
    def _reading(self, weights: Callable[[], tuple[float, ...]]) -> Iterator[None]:
        """Before each pass `weights` is asked once; only this thread sets the stack's gates."""
        current: tuple[float, ...] | None = None

        def before(*_: Any) -> None:
            nonlocal current
            wanted = weights()
            if wanted is not current:
                self._stack.weigh(wanted)
                current = wanted

        with self._running, self._stack.attached():
            handle = self._decoder.register_forward_pre_hook(before)
            try:
                yield
            finally:
                handle.remove()

    def extract(
        self,
        extractor: Extractor,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        weights: Mapping[str, float] | None = None,
        **options: Any,
    ) -> list[list[Span]]:
        """Find mentions with the weights as they are now.

        Args:
            extractor: of the same base model.
            texts, types, options: as of `Extractor.extract`, without `adapter`.
            weights: for this call only, in place of those that were set.

        Raises:
            SamError: as `weigh` and `Extractor.extract`.
        """
        held = self._wanted if weights is None else self._checked(weights)
        return extractor.extract_within(self._reading(lambda: held), texts, types, **options)

    def freeze(self, rank: int | None = None) -> MergeResult:
        """Make one adapter of the experts at their present weights, by the ordinary linear merge.

        Args:
            rank: of the adapter; None keeps everything. What it costs is in the result's
                `retained_energy` and `per_module`.

        Raises:
            SamError: all weights are 0, or the rank is more than the experts' together.
        """
        return merge(self.recipe(rank), self._adapters)

    def recipe(self, rank: int | None = None) -> Recipe:
        """The recipe of `freeze`."""
        return Recipe(
            experts=[RecipeExpert(name=n, weight=w) for n, w in self.weights.items()],
            rank=rank,
            base_model=self._adapters[0].base_model,
        )

    def _checked(self, weights: Mapping[str, float]) -> tuple[float, ...]:
        for name, weight in weights.items():
            if name not in self.names:
                raise SamError(
                    f"The expert '{name}' is not loaded.", f"Loaded: {', '.join(self.names)}."
                )
            if not math.isfinite(weight):
                raise SamError(f"The weight of {name} is not a number.", "Set it again.")
        return tuple(float(weights.get(name, 0.0)) for name in self.names)
