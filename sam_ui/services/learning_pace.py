"""How long learning takes here, from how long it has taken."""

from __future__ import annotations

import json
from pathlib import Path

from experts.files import written_whole

__all__ = ["LearningPace"]

USUAL = 0.3
"""Seconds for a unit of work (`experts.learning_plan`) on two cores, before any was measured."""
LOADING_S = 8.0
"""For the base model, and what else has to be begun."""


class LearningPace:
    """The pace of this machine, kept in a file of the data folder.

    Args:
        data_dir: the data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "learning-pace.json"

    def note(self, pace: float) -> None:
        """Remember a measured pace, seconds a unit; 0 was not measured."""
        if pace > 0:
            with written_whole(self._file) as temporary:
                temporary.write_text(json.dumps({"pace": round(pace, 4)}), "utf-8")

    def seconds(self, how: str, sentences: int, types: int, adapters: int = 1) -> float:
        """About how long learning will take.

        Args:
            how: one of `sam_ui.services.learning.HOWS`.
            sentences: corrected ones.
            adapters: of the merge.
        """
        from experts.learning_checks import weights_work
        from experts.learning_plan import LearningPlan, reading_work, sentence_work

        if how == "train":
            plan = LearningPlan.for_sentences(sentences)
            work = plan.work(sentences, types)
        elif how == "weights":
            work = weights_work(sentences) * sentence_work(types)
        else:
            work = reading_work(sentences, types)
        return LOADING_S + adapters * work * self._pace()

    def _pace(self) -> float:
        try:
            return float(json.loads(self._file.read_text("utf-8"))["pace"])
        except (OSError, ValueError, KeyError, TypeError):
            return USUAL
