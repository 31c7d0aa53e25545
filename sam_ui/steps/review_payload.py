"""A sentence as JSON for the span editor, with what it needs to go on without asking.

Offsets count code points. ``{"id", "position", "sentences", "document", "text", "before", "after",
"spans": [[start, end, type, score | null, [expert, …]], …], "predicted": as spans, "status",
"revision", "bulk", "previous", "next"}``, and for the whole screen ``"types"``, ``"ahead"`` (more of
these sentences), ``"view_only"``, ``"overlaps"``, ``"accept"`` (the label of the primary button that
accepts), ``"words"``, ``"session"`` and ``"nav"`` (the last change of place that the server knows).
``{"empty": true}`` where there is no sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experts.errors import SamError
from experts.spans import Span
from sam_ui.services.review_views import ReviewSentence
from sam_ui.span_editor import texts
from sam_ui.steps.review_place import Place, merge_of

if TYPE_CHECKING:
    from sam_ui.page import Visit

__all__ = ["editor_value", "packed", "unpacked"]

AHEAD = 3
"""Sentences that the browser has before they are asked for."""


def packed(
    spans: Sequence[Span], voters: Mapping[str, Sequence[str]] | None = None
) -> list[list[Any]]:
    """Spans as the editor reads them."""
    found = voters or {}
    return [
        [s.start, s.end, s.label, s.score, list(found.get(f"{s.start}:{s.end}:{s.label}", ()))]
        for s in spans
    ]


def unpacked(value: Any) -> list[Span]:
    """Spans as the editor sends them.

    Raises:
        SamError: they are none.
    """
    try:
        return [Span(int(start), int(end), str(label)) for start, end, label in value]
    except (TypeError, ValueError):
        raise SamError(
            "These spans cannot be read.", "Reload the page: what was saved is still there."
        ) from None


def editor_value(visit: Visit, place: Place, accept: str, said: str = "") -> str:
    """What the editor is to show.

    Args:
        accept: label of the primary button while it accepts.
        said: a message to begin with.
    """
    if place.sentence is None:
        return json.dumps({"empty": True})
    ahead = []
    if not visit.view_only:
        sentence = visit.services.review.sentence
        ahead = [sentence(visit.id, i, merge_id=merge_of(visit)) for i in place.coming[:AHEAD]]
    value = _sentence(visit, place, place.sentence) | {
        "types": [
            {"name": kind.name, "color": kind.color, "definition": kind.definition}
            for kind in visit.services.types.list(visit.id)
        ],
        "ahead": [_sentence(visit, place, each) for each in ahead],
        "view_only": visit.view_only,
        "overlaps": True,
        "accept": accept,
        "words": texts(),
        "said": said,
        "session": visit.id,
        "nav": visit.filters.get("nav", 0),
    }
    return json.dumps(value)


def _sentence(visit: Visit, place: Place, shown: ReviewSentence) -> dict[str, Any]:
    row = shown.sentence
    before, after = _context(visit, row.position, row.document)
    return {
        "id": row.id,
        "position": row.position + 1,
        "sentences": place.queue.sentences,
        "document": row.document,
        "text": row.text,
        "before": before,
        "after": after,
        "spans": packed(shown.spans, shown.voters),
        "predicted": packed(shown.predicted, shown.voters),
        "status": shown.status,
        "revision": shown.revision,
        "bulk": shown.bulk,
        "previous": place.neighbour(row.id, -1),
        "next": place.neighbour(row.id, 1),
    }


def _context(visit: Visit, position: int, document: str) -> tuple[str | None, str | None]:
    """The sentences before and after, of the same document."""
    page = visit.services.corpus.sentences(visit.id, offset=max(0, position - 1), limit=3)
    near = {row.position: row.text for row in page.rows if row.document == document}
    return near.get(position - 1), near.get(position + 1)
