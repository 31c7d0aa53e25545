"""How long learning from corrections goes on, and what each of its steps reads."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experts.sampling import Question
from experts.spans import Example

__all__ = ["STOPS", "CorrectionSampler", "LearningPlan", "reading_work", "sentence_work"]

STOPS = (0.5, 0.75, 1.0)
"""Shares of a run after which it may stop."""

_READING = 0.6  # what finding the entities of a sentence costs, learning from it once being 1


@dataclass(frozen=True)
class LearningPlan:
    """How long and how fast.

    Attributes:
        epochs: how often each corrected sentence is read.
        learning_rate: of the A matrices.
        lora_plus_ratio: B's rate over A's.
        batch: sentences a step.
        replay: sentences of the replay for each corrected one.
        absent: how often a sentence is asked for a type that it does not have. Asked for all of them
            every time, twenty sentences teach above all that rare types are nowhere.
        seed: of the halves, of the order and of the sampled vocabulary.
    """

    epochs: int = 6
    learning_rate: float = 1e-4
    lora_plus_ratio: float = 16.0
    batch: int = 4
    replay: float = 0.0
    absent: float = 0.3
    seed: int = 0

    @classmethod
    def for_sentences(cls, count: int, **changes: Any) -> LearningPlan:
        """The plan for so many corrected sentences: few are read more often.

        Ten sentences are read 9 times, 20 are 6 times, 50 are 4 times, 100 are 3 times.
        """
        return cls(**{"epochs": max(2, min(10, round(27 / max(count, 1) ** 0.5))), **changes})

    def steps(self, sentences: int) -> int:
        """Of a whole run over so many sentences, those of the replay counted."""
        return max(4, -(-self.epochs * sentences // self.batch))

    def work(self, count: int, types: int, *, known: bool = False) -> float:
        """How much work learning from `count` sentences is; 1 for learning from one of usual length
        with five types once.

        Args:
            known: what the adapter finds in them beforehand is known.
        """
        passes = 2 * self.epochs * count * (1 + self.replay)  # two halves, then all
        reads = count * (len(STOPS) + (not known))
        return (passes + _READING * reads) * sentence_work(types)


def sentence_work(types: int) -> float:
    """Work of one sentence with so many types: its words, and a question for each type."""
    return (45 + 7 * types) / 80


def reading_work(sentences: int, types: int) -> float:
    """Work of finding the entities of some sentences, as of `LearningPlan.work`."""
    return _READING * sentences * sentence_work(types)


class CorrectionSampler:
    """Every corrected sentence once an epoch, in a new order, asked for the types that it has and
    some that it has not.

    Args:
        corrected: sentences with all their entities of the asked types.
        types: asked.
        replay: sentences with the answers that the model gave before, so that it does not unlearn.
        plan: seed, share of the replay and of the types that a sentence does not have.
    """

    def __init__(
        self,
        corrected: Sequence[Example],
        types: Sequence[str],
        replay: Sequence[Example],
        plan: LearningPlan,
    ) -> None:
        self._corrected, self._types, self._plan = list(corrected), list(types), plan
        self._replay = list(replay)
        self._orders: dict[int, list[Example]] = {}

    @property
    def epoch(self) -> int:
        """Sentences of an epoch, the replay's among them."""
        return len(self._corrected) + (self._replayed if self._replay else 0)

    @property
    def _replayed(self) -> int:
        return round(self._plan.replay * len(self._corrected))

    def step(self, number: int, size: int) -> list[Question]:
        """The questions of step `number` (from 0)."""
        rng = random.Random(f"{self._plan.seed}:{number}")
        places = range(number * size, (number + 1) * size)
        return [self._ask(self._at(place), rng) for place in places]

    def _at(self, place: int) -> Example:
        turn, position = divmod(place, self.epoch)
        if turn not in self._orders:
            rng = random.Random(f"{self._plan.seed}:order:{turn}")
            more = rng.choices(self._replay, k=self._replayed) if self._replay else []
            self._orders[turn] = rng.sample([*self._corrected, *more], self.epoch)
        return self._orders[turn][position]

    def _ask(self, example: Example, rng: random.Random) -> Question:
        # A row that grows too long loses its last types: not always the same ones.
        asked = rng.sample(self._types, len(self._types))
        there = {span.label for span in example.spans}
        kept = [k for k in asked if k in there or rng.random() < self._plan.absent] or asked[:1]
        answers = tuple(tuple(s for s in example.spans if s.label == kind) for kind in kept)
        return Question(example.text, tuple(kept), answers)
