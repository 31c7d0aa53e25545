"""Where somebody is in the review: the queue with its filters, the sentence, what comes next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from experts.errors import SamError
from sam_ui.services.review_views import Order, ReviewQueue, ReviewSentence, StatusFilter

if TYPE_CHECKING:
    from sam_ui.page import Visit

__all__ = ["Place", "find_place", "merge_of", "order_of", "set_filter", "who"]

FILTERS = ("q_status", "q_type", "q_search")


@dataclass(frozen=True)
class Place:
    """The sentence of a visit among those of the queue.

    Attributes:
        sentence: None when no sentence fits the filters.
        ids: of the queue, in order.
        at: index of the sentence in `ids`, or where it would be.
        coming: those that wait for somebody, in the order in which they come after it.
        filtered: whether there are filters that leave sentences out.
    """

    queue: ReviewQueue
    sentence: ReviewSentence | None
    ids: tuple[int, ...]
    at: int
    coming: tuple[int, ...]
    filtered: bool

    @property
    def left(self) -> int:
        """Sentences of the whole session that nobody has reviewed or skipped."""
        return self.queue.sentences - self.queue.reviewed - self.queue.skipped

    def neighbour(self, ident: int, by: int) -> int | None:
        """The id that stands `by` after `ident` in the queue; None at its ends."""
        # Where it has left the queue, the next one has taken its place.
        at = self._index.get(ident, self.at - (by > 0)) + by
        return self.ids[at] if 0 <= at < len(self.ids) else None

    @cached_property
    def _index(self) -> Mapping[int, int]:
        return {ident: number for number, ident in enumerate(self.ids)}


def merge_of(visit: Visit) -> str | None:
    """The merge that was chosen, if it is still there."""
    merge = visit.filters.get("merge")
    known = {each.id for each in visit.services.merge.list(visit.id) if each.predicted}
    return merge if merge in known else None


def who(visit: Visit) -> str:
    """The name that the visit's link carries, "" without."""
    if visit.session is None:
        return ""
    links = visit.services.links.list(visit.id)
    return next((link.label for link in links if link.id == visit.session.link_id), "")


def set_filter(visit: Visit, name: str, value: Any) -> None:
    """Choose an order or a filter of the queue; the sentence stays if it is still in it."""
    if name == "q_order" and value not in get_args(Order):
        return
    if name == "q_status" and value not in ("", *get_args(StatusFilter)):
        return
    if name == "q_order":
        visit.filters["spot"] = 0
    visit.filters[name] = value
    visit.filters["strict"] = True


def order_of(visit: Visit) -> Order:
    """The order that was chosen."""
    order: Order = visit.filters.get("q_order", "doubt")
    return order


def find_place(visit: Visit) -> Place:
    """The place that the visit's filters name: the sentence "at", or with "onward" the one that
    comes next after it. "spot" remembers the index of a sentence that has left the queue.
    """
    filters, merge = visit.filters, merge_of(visit)
    kind, status = filters.get("q_type"), filters.get("q_status") or None
    onward, strict = filters.pop("onward", False), filters.pop("strict", False)
    queues = [
        visit.services.review.queue(
            visit.id, order=order_of(visit), status=each, types=[kind] if kind else None,
            search=filters.get("q_search", ""), merge_id=merge,
        )
        for each in dict.fromkeys((status, "open"))
    ]  # fmt: skip
    queue, ids = queues[0], queues[0].ids
    # Of reviewed sentences none is open: there one goes through them all.
    looping = status in (None, "open")
    waiting = frozenset(queues[-1].ids if looping else ids)
    here = _number(filters.get("at"))
    if strict and here not in ids:
        here = None  # it does not fit the filters that were just set
    at = _spot(ids, here, filters.get("spot", 0))
    if here is None or onward:
        coming = _coming(ids, waiting, at, here, looping)
        # With nothing left the sentence that was accepted stays.
        here = next(iter([*coming, *([here] if here is not None else ids[:1])]), None)
    sentence = _sentence(visit, here, merge)
    if sentence is None and here is not None:  # its file was removed, or the link is an old one
        here = next(iter([*(each for each in ids if each in waiting), *ids]), None)
        sentence = _sentence(visit, here, merge)
    at = _spot(ids, here, at)
    filters |= {"at": here, "spot": at}
    return Place(
        queue=queue, sentence=sentence, ids=ids, at=at,
        coming=tuple(_coming(ids, waiting, at, here, looping)),
        filtered=any(filters.get(name) for name in FILTERS),
    )  # fmt: skip


def _sentence(visit: Visit, ident: int | None, merge: str | None) -> ReviewSentence | None:
    if ident is None:
        return None
    with suppress(SamError):
        return visit.services.review.sentence(visit.id, ident, merge_id=merge)
    return None


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _spot(ids: Sequence[int], ident: int | None, before: int) -> int:
    """Index of the sentence; where it was before when it has left the queue."""
    try:
        return ids.index(ident) if ident is not None else 0
    except ValueError:
        return min(max(0, before), len(ids))


def _coming(
    ids: Sequence[int], waiting: Collection[int], at: int, here: int | None, looping: bool
) -> list[int]:
    """Of `ids` those that wait, from `at` on and, looping, from the beginning again."""
    order = [*ids[at:], *(ids[:at] if looping else ())]
    return [each for each in order if each in waiting and each != here]
