"""The annotations of a session in the formats that other tools read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experts.spans import Span
from sam_ui.services.corrections import CorrectionInfo
from sam_ui.services.views import PredictionRow

if TYPE_CHECKING:
    from experts.export.formats import Row

__all__ = ["export_rows", "state_of"]


def export_rows(
    rows: Sequence[PredictionRow], corrections: Sequence[CorrectionInfo], *, reviewed: bool
) -> list[Row]:
    """Sentences with what is to be handed over: corrections count over predictions.

    Args:
        reviewed: only sentences that somebody has corrected or accepted.
    """
    from experts.export.formats import Row

    said = {correction.sentence_id: correction for correction in corrections}
    return [
        Row(
            row.sentence.text,
            _settled(row, said.get(row.sentence.id)),
            row.spans,
            row.sentence.document,
        )
        for row in rows
        if not reviewed or row.sentence.id in said
    ]


def _settled(row: PredictionRow, correction: CorrectionInfo | None) -> tuple[Span, ...] | None:
    """A correction says nothing of types that were added later: of these the predictions stay."""
    if correction is None:
        return None
    own = correction.spans
    others = [
        span
        for span in row.spans
        if span.label not in correction.types and not any(span.overlaps(one) for one in own)
    ]
    return tuple(sorted([*own, *others], key=lambda span: span.key))


def state_of(corrections: Sequence[CorrectionInfo]) -> str:
    """Another word whenever a correction is another."""
    digest = hashlib.sha256()
    for each in corrections:
        digest.update(repr((each.sentence_id, each.types, each.spans)).encode())
    return digest.hexdigest()[:16]
