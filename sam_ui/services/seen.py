"""The pool as the screens need it, remembered until its folders change."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sam_ui.services.pool import expert_info, expert_types
from sam_ui.services.views import ExpertInfo

if TYPE_CHECKING:
    from experts.pool import Pool

__all__ = ["SeenExpert", "SeenPool"]


@dataclass(frozen=True, slots=True)
class SeenExpert:
    """An expert's card without its vectors and sentences, of which a large pool has many.

    Attributes:
        types: (name, definition) of each.
    """

    info: ExpertInfo
    types: tuple[tuple[str, str], ...]
    hash: str


class SeenPool:
    """Reads the cards when `Pool.state` is another than before.

    Attributes:
        version: another number whenever they were read again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: object = None
        self._seen: Mapping[str, SeenExpert] = {}
        self.version = 0

    def get(self, pool: Pool) -> Mapping[str, SeenExpert]:
        """By name, in the pool's order; do not change it."""
        with self._lock:  # several who ask at once: one reads
            state = pool.state()
            if state != self._state:
                self._seen = _read(pool)
                self.version += 1
                self._state = state  # as it was before: a change meanwhile is seen the next time
            return self._seen


def _read(pool: Pool) -> dict[str, SeenExpert]:
    seen = {}
    for expert in pool.list():
        card = expert.card.model_dump(mode="json", exclude={"mean", "exemplars"})
        info = expert_info(expert.name, card, bundled=expert.bundled)
        seen[expert.name] = SeenExpert(info, expert_types(card), expert.card.hash)
    return seen
