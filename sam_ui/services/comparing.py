"""How well the chosen experts go together, remembered until one of them changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isnan
from typing import TYPE_CHECKING

from experts.errors import SamError
from sam_ui.services.merge_views import CompatibilityPair, CompatibilityView
from sam_ui.services.store import Store
from sam_ui.words import _

if TYPE_CHECKING:
    from experts.merging.compatibility import Compatibility

__all__ = ["Comparisons", "summary_words"]

log = logging.getLogger(__name__)

KEPT = 32
SAME, MUCH_ALIKE, OPPOSED = 0.999, 0.3, -0.1  # cosines of whole updates
AT_ODDS = 0.6  # share of opposite signs; experts that know nothing of each other have one half

Key = tuple[tuple[str, str], ...]


class Comparisons:
    """Comparisons of experts of the pool; no base model is needed for them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Key, Compatibility] = {}
        self._lock = threading.Lock()
        self._asked: dict[Key, SamError | None] = {}  # None while it is being computed

    def view(self, names: Sequence[str]) -> CompatibilityView:
        """Compare experts by name, in this order.

        Raises:
            SamError: fewer than two, an unknown one, one that is named twice or does not fit.
        """
        experts = [self._store.pool.get(name) for name in names]
        key = self._key(names)
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
            summary=summary_words(pairs, titles),
        )

    def soon(self, names: Sequence[str]) -> CompatibilityView | None:
        """The same without waiting: None while it is being computed on a thread of its own.

        Raises:
            SamError: as `view`; for what the computation found, at the next call, once.
        """
        key = self._key(names)
        if key in self._known:
            return self.view(names)
        if key in self._asked:
            problem = self._asked[key]
            if problem is not None:
                del self._asked[key]
                raise problem
            return None
        self._asked[key] = None
        threading.Thread(target=self._fulfil, args=(key, list(names)), daemon=True).start()
        return None

    def _fulfil(self, key: Key, names: Sequence[str]) -> None:
        try:
            self.view(names)
        except SamError as problem:
            self._asked[key] = problem
        except Exception:
            log.exception("Experts could not be compared")
            self._asked[key] = SamError(
                "How well these experts go together could not be computed.", "Merging still works."
            )
        else:
            self._asked.pop(key, None)

    def _key(self, names: Sequence[str]) -> Key:
        experts = [self._store.pool.get(name) for name in names]
        return tuple((expert.name, expert.card.hash or "") for expert in experts)

    def _compare(self, names: Sequence[str]) -> Compatibility:
        from experts.merging.adapters import load_adapter
        from experts.merging.compatibility import compare

        pool = self._store.pool
        return compare([load_adapter(pool.get(name).path, name=name) for name in names])


def summary_words(pairs: Sequence[CompatibilityPair], titles: Mapping[str, str]) -> str:
    """What the numbers of all pairs mean for a merge, in one or two sentences without jargon.

    Args:
        pairs: at least one.
        titles: expert name -> how it is called on the screen.
    """

    def both(pair: CompatibilityPair) -> str:
        return _("{first} and {second}", first=titles[pair.first], second=titles[pair.second])

    alike = max(pairs, key=lambda pair: pair.cosine)
    odds = max(pairs, key=lambda pair: pair.conflict or 0.0)
    apart = min(pairs, key=lambda pair: pair.cosine)
    if apart.cosine < OPPOSED:
        return _(
            "{both} partly undo each other. Leave one of them out, or look at your sentences with "
            "and without it.",
            both=both(apart),
        )
    if (odds.conflict or 0.0) > AT_ODDS:
        return _(
            "{both} often pull in opposite directions, so a plain sum may lose some of what they "
            "know. A method that lets experts vote, such as TIES, may keep more.",
            both=both(odds),
        )
    if alike.cosine >= SAME:
        return _("{both} are the same expert: using both adds nothing.", both=both(alike))
    if alike.cosine >= MUCH_ALIKE:
        return _(
            "{both} have learned much the same. They do not disturb each other, but one of them "
            "may be enough.",
            both=both(alike),
        )
    if len(pairs) == 1:
        return _(
            "{both} have mostly learned different things and hardly disturb each other.",
            both=both(alike),
        )
    return _("These experts have mostly learned different things and hardly disturb each other.")
