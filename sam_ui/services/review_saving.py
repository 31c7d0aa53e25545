"""Keeping what people say of sentences: which status follows, and who was faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from db.records import NewReview, StoredReview
from experts.errors import SamError
from experts.spans import Span, check_spans
from sam_ui.services.predict import PredictService
from sam_ui.services.review_views import REVIEWED, Conflict, Saved, Status
from sam_ui.services.store import Store, spans_of, unpack_spans
from sam_ui.words import _

__all__ = [
    "ReviewSaving",
    "checked_spans",
    "keys",
    "plain",
    "sentence_gone",
    "shown_spans",
    "status_of",
    "unknown_type",
]

Packed = list[list[Any]]
"""[[start, end, type], …], sorted: a set of spans has one form."""


def sentence_gone() -> SamError:
    """What to say when a sentence was removed with its file."""
    return SamError("This sentence is no longer among your texts.", "Reload the page.")


def unknown_type(label: str) -> SamError:
    """What to say when a span is of a type that the session does not have."""
    what = _("“{type}” is not one of your entity types.", type=label)
    return SamError(what, "Add it in step 1 first.")


def plain(spans: Sequence[Span]) -> Packed:
    """Without scores, each span once."""
    return [list(key) for key in sorted({span.key for span in spans})]


def keys(packed: Sequence[Sequence[Any]]) -> set[tuple[Any, ...]]:
    """For comparing spans."""
    return {tuple(span[:3]) for span in packed}


def status_of(value: str) -> Status:
    """A status that the database has."""
    known: tuple[Status, ...] = ("accepted", "changed", "skipped")
    return next((status for status in known if status == value), "open")


def checked_spans(text: str, spans: Sequence[Span], types: Sequence[str]) -> Packed:
    """Spans that may be kept; they may overlap, of one and the same only one is kept.

    Raises:
        SamError: a span lies outside the text or is of another type.
    """
    check_spans(text, spans, where="your correction")
    for span in spans:
        if span.label not in types:
            raise unknown_type(span.label)
    return plain(spans)


class ReviewSaving:
    """Writes reviews of a session; what it decides is decided in the transaction that keeps it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._predict = PredictService(store)

    def types(self, session_id: str) -> list[str]:
        """Names of the session's types."""
        return [kind.name for kind in self._store.types.list(session_id)]

    def merge_id(self, session_id: str, merge_id: str | None = None) -> str | None:
        """The merge whose predictions are reviewed, None before the first prediction.

        Raises:
            SamError: there is no merge of that id.
        """
        merge = self._predict.shown_merge(session_id, merge_id)
        return merge.id if merge else None

    def found(
        self, session_id: str, merge_id: str | None, sentence_ids: Sequence[int] | None
    ) -> dict[int, list[Span]]:
        """Sentence -> spans that the merge predicts in it, of the types that the session has."""
        if merge_id is None:
            return {}
        known = set(self.types(session_id))
        found = self._store.history.found(session_id, merge_id, sentence_ids)
        spans = {ident: spans_of(records) for ident, records in found.items()}
        return {i: [span for span in row if span.label in known] for i, row in spans.items()}

    def put(
        self,
        session_id: str,
        sentence_id: int,
        spans: Sequence[Span],
        *,
        action: str,
        revision: int | None,
        types: Sequence[str] | None = None,
        who: str = "",
        picked: str = "",
        merge_id: str | None = None,
    ) -> Saved:
        """Keep one action.

        Args:
            revision: what the person has seen; None writes over whatever there is.
            types: those that were looked for, None for all of the session.

        Raises:
            SamError: session or sentence are gone, or the spans do not fit.
        """
        self._store.session(session_id)
        known = self.types(session_id)
        asked = known if types is None else [name for name in known if name in set(types)]
        merge_id = self.merge_id(session_id, merge_id)
        predicted = plain(self.found(session_id, merge_id, [sentence_id]).get(sentence_id, ()))
        saved: list[Saved] = []

        def decide(stored: Mapping[int, StoredReview]) -> list[NewReview]:
            old = stored.get(sentence_id)
            if old is None:
                raise sentence_gone()
            packed = checked_spans(old.text, spans, asked)
            before = shown_spans(old, predicted)
            same = keys(packed) == keys(before)
            if revision is not None and old.revision > revision and not same:
                saved.append(_conflict(old, before))
                return []
            status = _status(action, packed, predicted, old)
            if same and _says_the_same(old, status, who, asked):
                saved.append(Saved(old.revision, status))
                return []
            saved.append(Saved(old.revision + 1, status))
            after = packed if status in REVIEWED else predicted
            read = old.status in REVIEWED and not old.unread  # that it was picked then still counts
            change = NewReview(sentence_id, status, after, asked, before, action, who)
            return [replace(change, picked=old.picked if read else picked)]

        self._store.reviews.change(session_id, [sentence_id], decide, past=True)
        return saved[0]

    def reopen(
        self,
        session_id: str,
        sentence_id: int,
        *,
        revision: int | None,
        who: str = "",
        action: str = "reopen",
    ) -> Saved:
        """Back to "open"; without a correction there is nothing to keep but the event.

        Raises:
            SamError: the sentence is gone.
        """
        self._store.session(session_id)
        merge_id = self.merge_id(session_id)
        predicted = plain(self.found(session_id, merge_id, [sentence_id]).get(sentence_id, ()))
        saved: list[Saved] = []

        def decide(stored: Mapping[int, StoredReview]) -> list[NewReview]:
            old = stored.get(sentence_id)
            if old is None:
                raise sentence_gone()
            before = shown_spans(old, predicted)
            if old.status == "open":
                saved.append(Saved(old.revision, "open"))
                return []
            if revision is not None and old.revision > revision:
                saved.append(_conflict(old, before))
                return []
            saved.append(Saved(old.revision + 1, "open"))
            return [NewReview(sentence_id, "open", predicted, [], before, action, who)]

        self._store.reviews.change(session_id, [sentence_id], decide)
        return saved[0]


def shown_spans(stored: StoredReview, predicted: Packed) -> Packed:
    """The spans that a sentence shows: of its correction, else predicted."""
    return predicted if stored.spans is None else stored.spans


def _conflict(stored: StoredReview, spans: Packed) -> Saved:
    status = status_of(stored.status)
    assert stored.updated_at is not None  # it has a revision
    said = Conflict(stored.who, stored.updated_at, unpack_spans(spans), stored.revision, status)
    return Saved(stored.revision, status, said)


def _says_the_same(stored: StoredReview, status: Status, who: str, types: Sequence[str]) -> bool:
    """Whether an action with the same spans as before changes nothing else either."""
    if status == "open":
        return stored.status == "open"
    if (stored.status, stored.who, stored.unread) != (status, who, False):
        return False
    return status == "skipped" or stored.types == list(types)


def _status(action: str, packed: Packed, predicted: Packed, stored: StoredReview) -> Status:
    """Undoing and redoing bring back the status that the sentence had with these spans."""
    if action == "skip":
        return "skipped"
    as_found = keys(packed) == keys(predicted)
    if action in ("undo", "redo"):
        possible = ("open", *REVIEWED) if as_found else REVIEWED
        states = [state for event in stored.events for state in (event.before, event.after)]
        for state in states:
            if keys(state["spans"]) == keys(packed) and state["status"] in possible:
                return status_of(state["status"])
    return "accepted" if as_found else "changed"
