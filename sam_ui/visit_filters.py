"""What a person filters by in one tab of a browser, where several events may be at work at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam_ui.page import Updates, Visit

__all__ = ["SharedFilters"]

PLACE = frozenset({"nav", "at", "onward", "spot"})
"""Where somebody is in the review. "nav" counts the moves in the browser: an event that began before
a move and ends after it does not move back."""

_changing = threading.Lock()


class SharedFilters:
    """One event's view of the filters. It writes what it has changed and nothing else, so that of
    two quick events neither undoes the other.

    Args:
        kept: the state of the tab, the same object for all of its events; anything but a dict,
            such as None after a restart, begins anew.

    Attributes:
        kept: as it is now, to be handed back to the tab.
    """

    def __init__(self, kept: Any) -> None:
        self.kept: dict[str, Any] = kept if isinstance(kept, dict) else {}
        self._seen: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """A copy to work with."""
        with _changing:
            self._seen = deepcopy(self.kept)
        return deepcopy(self._seen)

    def write(self, filters: dict[str, Any]) -> bool:
        """Keep what differs from what was read last.

        Returns:
            Whether other events have changed something since then.
        """
        with _changing:
            others = self.kept != self._seen
            late = PLACE if self.kept.get("nav", 0) > filters.get("nav", 0) else frozenset[str]()
            for key in self._seen.keys() - filters.keys() - late:
                self.kept.pop(key, None)
            for key, value in filters.items():
                if key not in late and (key not in self._seen or self._seen[key] != value):
                    self.kept[key] = deepcopy(value)
            self._seen = deepcopy(filters)
        return others

    def painted(self, visit: Visit, paint: Callable[[Visit], Updates]) -> Updates:
        """Keep what the visit's handler has changed, and paint with the changes of all events: once
        more where another has made some meanwhile, which has painted without these.
        """
        self.write(visit.filters)
        visit.filters = self.read()
        updates = paint(visit)
        if self.write(visit.filters):
            visit.filters = self.read()
            updates |= paint(visit)
            self.write(visit.filters)
        return updates
