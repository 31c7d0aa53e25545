"""How well the chosen experts go together, remembered until one of them changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import combinations
from math import isnan
from typing import TYPE_CHECKING

from sam_ui.services.merge_views import CompatibilityPair, CompatibilityView
from sam_ui.services.store import Store

if TYPE_CHECKING:
    from experts.merging.compatibility import Compatibility

__all__ = ["Comparisons"]

KEPT = 32


class Comparisons:
    """Comparisons of experts of the pool; no base model is needed for them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[tuple[str, str], ...], Compatibility] = {}
        self._lock = threading.Lock()

    def view(self, names: Sequence[str]) -> CompatibilityView:
        """Compare experts by name, in this order.

        Raises:
            SamError: fewer than two, an unknown one, one that is named twice or does not fit.
        """
        experts = [self._store.pool.get(name) for name in names]
        key = tuple((expert.name, expert.card.hash or "") for expert in experts)
        with self._lock:  # two that ask at once: the second gets what the first has computed
            result = self._known.get(key)
            if result is None:
                result = self._compare(names)
                while len(self._known) >= KEPT:
                    del self._known[next(iter(self._known))]
                self._known[key] = result
        titles = {expert.name: expert.card.title or expert.name for expert in experts}
        said = result.pair_sentences(titles)
        pairs = []
        for i, j in combinations(range(len(experts)), 2):
            conflict, error = result.conflict[i][j], result.conflict_error[i][j]
            known = not isnan(conflict)
            pairs.append(
                CompatibilityPair(
                    first=experts[i].name,
                    second=experts[j].name,
                    cosine=result.cosine[i][j],
                    overlap=result.overlap[i][j],
                    conflict=conflict if known else None,
                    conflict_error=error if known else None,
                    sentence=said[i, j],
                )
            )
        worst = max(pairs, key=lambda pair: pair.conflict or 0.0)
        return CompatibilityView(
            experts=tuple(result.experts),
            pairs=tuple(pairs),
            retained=dict(result.retained),
            sentence=worst.sentence,
        )

    def _compare(self, names: Sequence[str]) -> Compatibility:
        from experts.merging.adapters import load_adapter
        from experts.merging.compatibility import compare

        pool = self._store.pool
        return compare([load_adapter(pool.get(name).path, name=name) for name in names])
