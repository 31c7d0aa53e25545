"""Reviewing: what people say of the sentences, action by action."""

from __future__ import annotations

from collections.abc import Sequence

from db.records import EventRecord, StoredReview
from experts.errors import SamError
from experts.spans import Span
from sam_ui.services.review_bulk import ReviewBulk
from sam_ui.services.review_queue import Reasons, ReviewOrder
from sam_ui.services.review_saving import ReviewSaving, sentence_gone, status_of
from sam_ui.services.review_scores import ReviewScoring
from sam_ui.services.review_views import (
    AcceptPreview,
    Action,
    BulkChange,
    Estimate,
    EventInfo,
    IdenticalMention,
    Order,
    ReviewQueue,
    ReviewScores,
    ReviewSentence,
    Saved,
    StatusFilter,
)
from sam_ui.services.store import Store, sentence_row, unpack_spans
from sam_ui.services.views import SentenceRow
from sam_ui.words import _

__all__ = ["ReviewService"]

ACTIONS = ("edit", "accept", "skip", "undo", "redo", "apply_all")


class ReviewService:
    """Reviews of a session. `merge_id` is everywhere the merge whose predictions are reviewed, None
    for the one that predicted last; `who` the person's name, "" where it is not known. Methods
    raise `SamError` when session or merge are gone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._saving = ReviewSaving(store)
        self._order = ReviewOrder(store, self._saving)
        self._bulk = ReviewBulk(store, self._saving, self._order)
        self._scoring = ReviewScoring(store, self._saving)

    def queue(
        self,
        session_id: str,
        *,
        order: Order = "doubt",
        status: StatusFilter | None = None,
        types: Sequence[str] | None = None,
        search: str = "",
        seed: int = 0,
        offset: int = 0,
        merge_id: str | None = None,
    ) -> ReviewQueue:
        """Sentences in the order in which to look at them.

        Args:
            order: "doubt": the most doubtful first, see `review_queue`; "random": by `seed`;
                "diverse": spread over documents, lengths and types found, by `seed`.
            status: "reviewed": accepted or changed; "again": those of them that were reviewed before
                a type was added; None: all.
            types: only sentences with a span of one of these, as corrected or else as predicted.
            search: only sentences that contain this, whatever the case.
        """
        return self._order.queue(
            session_id,
            order=order,
            status=status,
            types=types,
            search=search,
            seed=seed,
            offset=offset,
            merge_id=merge_id,
        )

    def sentence(
        self, session_id: str, sentence_id: int, *, merge_id: str | None = None
    ) -> ReviewSentence:
        """A sentence with all that the editor shows of it; raises `SamError` when it is gone."""
        found = self.sentences(session_id, [sentence_id], merge_id=merge_id)
        if not found:
            raise sentence_gone()
        return found[0]

    def sentences(
        self, session_id: str, ids: Sequence[int], *, merge_id: str | None = None
    ) -> list[ReviewSentence]:
        """Several at once, in the order of `ids`; those that are gone are left out."""
        session = self._store.session(session_id)
        merge_id = self._saving.merge_id(session_id, merge_id)
        overview = self._order.overview(session, merge_id)
        rows = {row.id: sentence_row(row) for row in self._store.history.sentences(session_id, ids)}
        stored = self._store.reviews.stored(session_id, ids)
        found = self._saving.found(session_id, merge_id, ids)
        there = [ident for ident in ids if ident in rows and ident in stored]
        labels = {span.label for ident in there for span in found.get(ident, ())}
        reasons = self._order.reasons(session_id, overview, labels)
        types = self._saving.types(session_id)
        return [_view(reasons, types, stored[i], tuple(found.get(i, ())), rows[i]) for i in there]

    def put(
        self,
        session_id: str,
        sentence_id: int,
        spans: Sequence[Span],
        *,
        revision: int,
        who: str = "",
        action: Action = "edit",
        order: Order | None = None,
        force: bool = False,
        merge_id: str | None = None,
    ) -> Saved:
        """Keep one action: the spans that the sentence has now.

        Status: "skipped" for "skip"; for "undo" and "redo" that which the sentence had with these
        spans; else "accepted" where they are the predicted ones, "changed" where they are not.

        Args:
            spans: all of them; they may overlap.
            revision: `ReviewSentence.revision` or `Saved.revision`, as last seen. Where there is a
                later one, with other spans, nothing is kept: `Saved.conflict` says whose.
            order: of the queue in which the person came to the sentence; `estimate` needs it.
            force: write over what somebody else has said; it stays in the history.

        Raises:
            SamError: the sentence is gone, or a span lies outside it or is of an unknown type.
        """
        if action not in ACTIONS:
            raise SamError(
                _("“{action}” is nothing that can be done to a sentence.", action=action)
            )
        return self._saving.put(
            session_id,
            sentence_id,
            spans,
            action=action,
            revision=None if force else revision,
            who=who,
            picked=order or "",
            merge_id=merge_id,
        )

    def reopen(
        self,
        session_id: str,
        sentence_id: int,
        *,
        revision: int,
        who: str = "",
        force: bool = False,
    ) -> Saved:
        """Back to "open": the prediction counts again. Conflicts as with `put`."""
        return self._saving.reopen(
            session_id, sentence_id, revision=None if force else revision, who=who
        )

    def history(self, session_id: str, sentence_id: int) -> list[EventInfo]:
        """What was done to a sentence, newest first."""
        self._store.session(session_id)
        return [_event(record) for record in self._store.events.of(session_id, sentence_id)]

    def identical(
        self, session_id: str, surface: str, label: str, *, merge_id: str | None = None
    ) -> list[IdenticalMention]:
        """Where else exactly these words stand, at the borders of words, and are not marked as
        `label` yet; in the order of the texts. Skipped sentences are left out.
        """
        return self._bulk.identical(session_id, surface, label, merge_id)

    def apply_identical(
        self,
        session_id: str,
        mentions: Sequence[tuple[int, int, int]],
        label: str,
        *,
        who: str = "",
        merge_id: str | None = None,
    ) -> BulkChange:
        """Mark (sentence, start, end) as `label`; a span of another type in exactly that place
        gives way, one that overlaps stays. Sentences that are gone or skipped are left as they are.

        Raises:
            SamError: there is no such type.
        """
        return self._bulk.apply_identical(session_id, mentions, label, who, merge_id)

    def above(
        self, session_id: str, threshold: float, *, merge_id: str | None = None
    ) -> AcceptPreview:
        """What `accept_above` would accept."""
        sentences, spans, examples = self._bulk.above(session_id, threshold, merge_id)
        shown = self.sentences(session_id, examples, merge_id=merge_id)
        return AcceptPreview(sentences, spans, tuple(shown))

    def accept_above(
        self, session_id: str, threshold: float, *, who: str = "", merge_id: str | None = None
    ) -> BulkChange:
        """Accept the open sentences of which every span is at least that sure; those without any
        span are left open.

        Raises:
            SamError: the threshold is not in [0, 1].
        """
        return self._bulk.accept_above(session_id, threshold, who, merge_id)

    def undo_bulk(self, session_id: str, bulk_id: str, *, who: str = "") -> BulkChange:
        """Take back `apply_identical` or `accept_above`; sentences that somebody has touched since
        stay as they are.

        Raises:
            SamError: there is nothing to take back.
        """
        return self._bulk.undo(session_id, bulk_id, who)

    def scores(self, session_id: str, *, merge_id: str | None = None) -> ReviewScores:
        """What the merge had found in the sentences that were read, against what is right there."""
        return self._scoring.scores(session_id, merge_id)

    def estimate(self, session_id: str, *, merge_id: str | None = None) -> Estimate:
        """F1 to be expected on the sentences that nobody has read yet."""
        return self._scoring.estimate(session_id, merge_id)


def _view(
    reasons: Reasons,
    types: Sequence[str],
    stored: StoredReview,
    predicted: tuple[Span, ...],
    row: SentenceRow,
) -> ReviewSentence:
    scores = {span.key: span.score for span in predicted}
    spans = predicted
    unasked: tuple[str, ...] = ()
    if stored.spans is not None:
        said = unpack_spans(stored.spans)
        spans = tuple(Span(*span.key, scores.get(span.key)) for span in said)
        unasked = tuple(name for name in types if name not in stored.types)
    return ReviewSentence(
        sentence=row,
        spans=spans,
        predicted=predicted,
        status=status_of(stored.status),
        revision=stored.revision,
        who=stored.who,
        updated_at=stored.updated_at,
        doubt=reasons.doubt(row.id),
        why=reasons.why(row.id, row.text, predicted, unasked),
        voters=reasons.votes(row.id).voters,
        bulk=stored.unread,
        unasked=unasked,
    )


def _event(record: EventRecord) -> EventInfo:
    return EventInfo(
        who=record.who,
        at=record.at,
        action=record.action,
        before=unpack_spans(record.before["spans"]),
        after=unpack_spans(record.after["spans"]),
        revision=record.revision,
        status_before=status_of(record.before["status"]),
        status_after=status_of(record.after["status"]),
    )
