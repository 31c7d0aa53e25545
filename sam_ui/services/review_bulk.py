"""Many sentences at once: the same mention everywhere, all that is sure enough, and undoing it.

Nobody reads these sentences one by one: they are marked as unread, and prove nothing about how good
a merge is.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from db.records import NewReview, StoredReview
from experts.errors import SamError
from experts.spans import Span
from experts.words import occurrences
from sam_ui.services.review_queue import Overview, ReviewOrder
from sam_ui.services.review_saving import (
    ReviewSaving,
    checked_spans,
    keys,
    plain,
    shown_spans,
)
from sam_ui.services.review_views import REVIEWED, BulkChange, IdenticalMention
from sam_ui.services.store import Store, unpack_spans
from sam_ui.words import _

__all__ = ["ReviewBulk"]

MOST_SHOWN = 1000
_EXAMPLES = 5
_AT_ONCE = 500
Change = Callable[[StoredReview], NewReview | None]


class ReviewBulk:
    """Changes of many sentences of a session, each of them one transaction."""

    def __init__(self, store: Store, saving: ReviewSaving, order: ReviewOrder) -> None:
        self._store = store
        self._saving = saving
        self._order = order

    def identical(
        self, session_id: str, surface: str, label: str, merge_id: str | None
    ) -> list[IdenticalMention]:
        """As in `ReviewService`; at most `MOST_SHOWN`."""
        self._store.session(session_id)
        if not surface.strip():
            return []
        merge_id = self._saving.merge_id(session_id, merge_id)
        rows = [
            (ident, position, text, places)
            for ident, position, text in self._store.overview.containing(session_id, surface)
            if (places := list(occurrences(text, surface)))
        ]
        mentions: list[IdenticalMention] = []
        for first in range(0, len(rows), _AT_ONCE):
            part = rows[first : first + _AT_ONCE]
            shown = self._shown(session_id, [row[0] for row in part], merge_id)
            for ident, position, text, places in part:
                spans = shown.get(ident)
                for start, end in places if spans is not None else ():
                    there = Span(start, end, label)
                    near = [span for span in spans or () if span.overlaps(there)]
                    if all(span.key != there.key for span in near):
                        has = next((span.label for span in near), None)
                        mentions.append(IdenticalMention(ident, position, text, start, end, has))
            if len(mentions) >= MOST_SHOWN:
                break
        return mentions[:MOST_SHOWN]

    def _shown(
        self, session_id: str, ids: Sequence[int], merge_id: str | None
    ) -> dict[int, tuple[Span, ...]]:
        """Spans as corrected, else as predicted, of sentences that are not skipped."""
        found = self._saving.found(session_id, merge_id, ids)
        return {
            ident: unpack_spans(shown_spans(review, plain(found.get(ident, ()))))
            for ident, review in self._store.reviews.stored(session_id, ids).items()
            if review.status != "skipped"
        }

    def apply_identical(
        self,
        session_id: str,
        mentions: Sequence[tuple[int, int, int]],
        label: str,
        who: str,
        merge_id: str | None,
    ) -> BulkChange:
        """As in `ReviewService`."""
        types = self._types(session_id)
        if label not in types:
            raise SamError(
                _("“{type}” is not one of your entity types.", type=label),
                "Add it in step 1 first.",
            )
        wanted: dict[int, list[tuple[int, int]]] = {}
        for ident, start, end in mentions:
            wanted.setdefault(ident, []).append((start, end))
        merge_id = self._saving.merge_id(session_id, merge_id)
        found = self._saving.found(session_id, merge_id, list(wanted))

        def change(old: StoredReview) -> NewReview | None:
            before = shown_spans(old, plain(found.get(old.sentence_id, ())))
            places = wanted[old.sentence_id]
            kept = [span for span in before if (span[0], span[1]) not in places]
            new = [*unpack_spans(kept), *(Span(start, end, label) for start, end in places)]
            asked = types if old.spans is None else sorted({*old.types, label}, key=types.index)
            packed = checked_spans(old.text, new, asked)
            if old.status == "skipped" or keys(packed) == keys(before):
                return None
            read = old.status in REVIEWED and not old.unread
            return NewReview(
                old.sentence_id, "changed", packed, asked, before, "apply_all", who,
                unread=not read, picked=old.picked,
            )  # fmt: skip

        return self._change(session_id, list(wanted), change)

    def above(
        self, session_id: str, threshold: float, merge_id: str | None
    ) -> tuple[int, int, list[int]]:
        """How many sentences would be accepted, with how many spans, and the least sure of them."""
        overview, sure = self._sure(session_id, threshold, merge_id)
        least = sorted(sure, key=lambda ident: sure[ident])
        return len(sure), sum(overview.lines[ident].spans for ident in sure), least[:_EXAMPLES]

    def accept_above(
        self, session_id: str, threshold: float, who: str, merge_id: str | None
    ) -> BulkChange:
        """As in `ReviewService`."""
        types = self._types(session_id)
        merge_id = self._saving.merge_id(session_id, merge_id)
        _, sure = self._sure(session_id, threshold, merge_id)
        found = self._saving.found(session_id, merge_id, list(sure))

        def change(old: StoredReview) -> NewReview | None:
            packed = plain(found.get(old.sentence_id, ()))
            if old.status != "open" or not packed:
                return None
            return NewReview(
                old.sentence_id, "accepted", packed, types, packed, "accept_all", who, unread=True
            )

        return self._change(session_id, list(sure), change)

    def undo(self, session_id: str, bulk_id: str, who: str) -> BulkChange:
        """As in `ReviewService`."""
        types = set(self._types(session_id))
        events = {e.sentence_id: e for e in self._store.events.of_bulk(session_id, bulk_id)}
        if not bulk_id or not events:
            raise SamError("There is nothing to take back.", "Reload the page.")

        def change(old: StoredReview) -> NewReview | None:
            event = events[old.sentence_id]
            state = event.before
            renamed = not {span[2] for span in state["spans"]} <= types
            if old.revision != event.revision or renamed:
                return None
            return NewReview(
                old.sentence_id, state["status"], state["spans"], state["types"],
                event.after["spans"], "undo", who, unread=state["unread"], picked=state["picked"],
            )  # fmt: skip

        return self._change(session_id, list(events), change)

    def _sure(
        self, session_id: str, threshold: float, merge_id: str | None
    ) -> tuple[Overview, dict[int, float]]:
        """The open ones of `Overview.sure`."""
        if not (math.isfinite(threshold) and 0 <= threshold <= 1):
            raise SamError(
                _("{number} is no probability.", number=threshold), "Use a number from 0 to 1."
            )
        session = self._store.session(session_id)
        overview = self._order.overview(session, self._saving.merge_id(session_id, merge_id))
        statuses = self._store.reviews.statuses(session_id)
        sure = overview.sure(threshold).items()
        return overview, {i: p for i, p in sure if statuses.get(i, "open") == "open"}

    def _types(self, session_id: str) -> list[str]:
        self._store.session(session_id)
        return self._saving.types(session_id)

    def _change(self, session_id: str, ids: Sequence[int], change: Change) -> BulkChange:
        """Change what `change` does not leave as it is, under one new id."""
        bulk = uuid.uuid4().hex

        def decide(stored: Mapping[int, StoredReview]) -> list[NewReview]:
            changed = [change(stored[ident]) for ident in ids if ident in stored]
            return [replace(new, bulk=bulk) for new in changed if new is not None]

        done = self._store.reviews.change(session_id, ids, decide)
        return BulkChange(bulk if done else "", len(done), len(ids) - len(done))
