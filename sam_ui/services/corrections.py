"""What people say the spans of a sentence are: the truth that experts are measured by."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from db.records import CorrectionRecord
from experts.errors import SamError
from experts.spans import Span, check_spans
from sam_ui.services.review_saving import ReviewSaving
from sam_ui.services.store import Store, unpack_spans

__all__ = ["CorrectionInfo", "CorrectionService", "usable"]


@dataclass(frozen=True, slots=True)
class CorrectionInfo:
    """What somebody said of a sentence.

    Attributes:
        spans: all that there are of `types`, sorted.
        who: "" where it is not known.
        unread: made in bulk, nobody has read the sentence: nothing is to be measured by it.
    """

    sentence_id: int
    spans: tuple[Span, ...]
    types: tuple[str, ...]
    who: str
    created_at: datetime
    updated_at: datetime
    unread: bool = False


class CorrectionService:
    """Corrections of a session: at most one a sentence."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(
        self,
        session_id: str,
        sentence_id: int,
        spans: Sequence[Span],
        *,
        types: Sequence[str] | None = None,
        who: str = "",
    ) -> None:
        """Say what there is to find in a sentence, in place of what was said before.

        Args:
            spans: all of them; none says that there is nothing to find.
            types: those that were looked for; None: all of the session.
            who: as the person is called, if that is known.

        Raises:
            SamError: the sentence is gone, or a span has another type, lies outside the sentence or
                overlaps another.
        """
        self._store.session(session_id)
        known = [kind.name for kind in self._store.types.list(session_id)]
        asked = known if types is None else [name for name in known if name in set(types)]
        stored = self._store.reviews.get(session_id, sentence_id)
        if stored is None:
            raise _gone()
        ordered = _checked(stored.text, spans, asked)
        ReviewSaving(self._store).put(
            session_id, sentence_id, ordered, action="edit", revision=None, types=asked, who=who
        )

    def remove(self, session_id: str, sentence_id: int) -> bool:
        """Take a correction back; whether there was one."""
        if self._store.corrections.get(session_id, sentence_id) is None:
            return False
        ReviewSaving(self._store).reopen(session_id, sentence_id, revision=None)
        return True

    def list(self, session_id: str) -> builtins.list[CorrectionInfo]:
        """In the order of the texts; those of removed files are left out."""
        return [_info(record) for record in self._store.corrections.list(session_id)]

    def count(self, session_id: str) -> int:
        return self._store.corrections.count(session_id)


def usable(record: CorrectionRecord, types: Sequence[str]) -> tuple[Span, ...] | None:
    """The spans of these types; None where the correction does not speak of all of them, or nobody
    has read the sentence: what was accepted in bulk is no truth to measure by.
    """
    if record.unread or not set(types) <= set(record.types):
        return None
    return tuple(span for span in unpack_spans(record.spans) if span.label in set(types))


def _info(record: CorrectionRecord) -> CorrectionInfo:
    return CorrectionInfo(
        record.sentence_id,
        unpack_spans(record.spans),
        tuple(record.types),
        record.who,
        record.created_at,
        record.updated_at,
        record.unread,
    )


def _checked(text: str, spans: Sequence[Span], types: Sequence[str]) -> builtins.list[Span]:
    check_spans(text, spans, where="your correction")
    ordered = sorted({span.key: span for span in spans}.values(), key=lambda span: span.key)
    for span in ordered:
        if span.label not in types:
            raise SamError(
                f"“{span.label}” is not one of your entity types.", "Add it in step 1 first."
            )
    for before, after in pairwise(ordered):
        if before.overlaps(after):
            raise SamError(
                f"“{text[before.start : before.end]}” and “{text[after.start : after.end]}” "
                "overlap.",
                "Keep one of them.",
            )
    return ordered


def _gone() -> SamError:
    return SamError("This sentence is no longer among your texts.", "Compare the experts again.")
