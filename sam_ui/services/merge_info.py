"""A merge as the history shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from db.records import MergeRecord, RunRecord, SessionRecord
from sam_ui.services.merge_data import mean_coefficients
from sam_ui.services.views import MergeInfo

if TYPE_CHECKING:
    from sam_ui.services.engine import MergedAdapter

__all__ = ["found_weights", "is_stale", "merge_info"]


def is_stale(record: MergeRecord, session: SessionRecord, match: RunRecord | None) -> bool:
    """Whether texts, types or match have changed since the merge."""
    revisions = (record.corpus_revision, record.types_revision)
    changed = revisions != (session.corpus_revision, session.types_revision)
    return changed or (match is not None and match.created_at > record.created_at)


def merge_info(
    record: MergeRecord, session: SessionRecord, match: RunRecord | None, predicted: bool
) -> MergeInfo:
    """A line of the history.

    Args:
        match: the newest one.
        predicted: it has read the texts.
    """
    first = record.recipes[0]
    kept = record.details.get("found", [])  # an older version did not keep it
    found = [shown for part in kept for shown in _shown(part)]
    return MergeInfo(
        id=record.id,
        label=record.label,
        created_at=record.created_at,
        method=first["method"],
        parameters=first["parameters"],
        rank=first["rank"],
        dual=len(record.recipes) > 1,
        weights=record.details["weights"],
        recipes=tuple(record.recipes),
        retained_energy=record.retained_energy,
        seconds=record.details["seconds"],
        stale=is_stale(record, session, match),
        predicted=predicted,
        found=tuple(weights for _, weights in found) if len(found) == len(kept) else (),
        layerwise=any(layerwise for layerwise, _ in found),
        note=record.details.get("note", ""),
    )


def found_weights(merged: MergedAdapter) -> dict[str, Any]:
    """What the method made of the weights, as kept with a merge; {} where it has none to show."""
    if merged.weights is not None:
        return {"weights": merged.weights}
    if merged.coefficients is None:
        return {}
    rounded = {
        name: {module: float(f"{value:.6g}") for module, value in of.items()}
        for name, of in merged.coefficients.items()
    }
    return {"coefficients": rounded}


def _shown(kept: Mapping[str, Any]) -> list[tuple[bool, dict[str, float]]]:
    """Whether the weights differ between layers, and one weight an expert; [] for none."""
    if "weights" in kept:
        return [(False, dict(kept["weights"]))]
    if "coefficients" in kept:
        return [(True, mean_coefficients(kept["coefficients"]))]
    return []
