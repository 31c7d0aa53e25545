"""Reading a few sentences with weights that nobody has merged yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from experts.spans import Span

if TYPE_CHECKING:
    from experts.merging.adapters import Adapter
    from experts.merging.live import LiveMerge
    from experts.merging.recipe import Recipe
    from sam_ui.services.engine import Engine

__all__ = ["Previewer"]

MAX_LOADED = 6
"""Experts that stay side by side: each costs a little of every pass, even at weight 0."""


class Previewer:
    """Keeps the experts of the last preview loaded, so that the next weights cost nothing.

    Args:
        engine: whose pool, base model and extractor are used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loaded: dict[tuple[str, str], Adapter] = {}  # (name, hash) → expert
        self._live: LiveMerge | None = None

    def read(
        self,
        recipe: Recipe,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[Span]]:
        """What the merged adapter of the recipe would find.

        A weighted sum at its full rank is read with live weights; everything else, and everything
        that a server reads, is merged in memory first.

        Raises:
            SamError: an unknown or changed expert, or one that does not fit.
            Cancelled: `cancelled` said so.
        """
        from experts.extract import Extractor
        from experts.merging.merge import merge

        adapters = self._adapters(recipe)
        extractor = self._engine.extractor
        exact = recipe.method == "linear" and recipe.rank is None
        if exact and isinstance(extractor, Extractor):
            weights = {expert.name: expert.weight for expert in recipe.experts}
            live = self._side_by_side()
            return live.extract(extractor, texts, types, weights=weights, cancelled=cancelled)
        merged = merge(recipe, adapters, cancelled=cancelled).adapter
        return extractor.extract(texts, types, adapter=merged, cancelled=cancelled)

    def _adapters(self, recipe: Recipe) -> list[Adapter]:
        """The recipe's experts; those that are loaded already are not read again."""
        from experts.merging.adapters import load_adapter

        known = self._loaded
        wanted: dict[tuple[str, str], Adapter] = {}
        for member in recipe.experts:
            expert = self._engine.pool.get(member.name)
            key = (expert.name, expert.card.hash)
            base = recipe.base_model or None
            wanted[key] = known.get(key) or load_adapter(
                expert.path, name=expert.name, expected_base=base
            )
        if not wanted.keys() <= known.keys():
            names = {name for name, _ in wanted}
            kept = {key: value for key, value in known.items() if key[0] not in names}
            room = max(0, MAX_LOADED - len(wanted))
            newest = list(kept.items())[len(kept) - min(room, len(kept)) :]
            self._loaded = {**dict(newest), **wanted}
            self._live = None
        return list(wanted.values())

    def _side_by_side(self) -> LiveMerge:
        from experts.merging.live import LiveMerge

        if self._live is None:
            self._live = LiveMerge(self._engine.base, list(self._loaded.values()))
        return self._live
