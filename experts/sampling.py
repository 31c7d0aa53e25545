"""Which sentences a training step sees, and which types are asked of them.

An expert that is trained with one fixed list of types learns the list and ignores what is asked
(F1 0.00 on unseen types). So every time a sentence is drawn, some of its types are dropped, the rest
is shuffled, types that it does not contain are added, and names are replaced by synonyms.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from experts.errors import SamError
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.spans import Example, Span

__all__ = ["Question", "Questions", "Sampler", "read_split"]


@dataclass(frozen=True, slots=True)
class Question:
    """A sentence and the types asked of it, with the true spans of each (often none)."""

    text: str
    types: tuple[str, ...]
    answers: tuple[tuple[Span, ...], ...]


class Questions(Protocol):
    """What a training run reads."""

    def step(self, number: int, size: int) -> list[Question]:
        """The questions of step `number` (from 0), the same whenever it is asked for."""
        ...


def read_split(data: Path, corpus: str, split: str) -> list[Example]:
    """Read ``<data>/<corpus>/<split>.jsonl``.

    Raises:
        SamError: naming the file, and the line, if it is missing or malformed.
    """
    path = data / corpus / f"{split}.jsonl"
    if not path.is_file():
        raise SamError(f"The recipe's corpus file {path} does not exist.", "Check --data.")
    examples: list[Example] = []
    # Bytes are cut at b"\n" only: a JSON string may hold U+2028 and its like as they are.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            spans = tuple(
                sorted(Span(e["start"], e["end"], e["label"]) for e in record["entities"])
            )
            examples.append(Example(record["text"], spans))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SamError(
                f"Line {number} of {path} is not a record with text and entities.",
                "Mend the line: each is a JSON object with `text` and `entities`.",
            ) from None
    return examples


@dataclass(frozen=True)
class _Source:
    recipe: CorpusRecipe
    labels: tuple[str, ...]
    full: tuple[Example, ...]
    empty: tuple[Example, ...]


class Sampler:
    """Draws the questions of each step; the same seed and step always give the same questions."""

    def __init__(self, recipe: TrainingRecipe, data: Path) -> None:
        self._recipe = recipe
        self._sources = [self._load(corpus, data) for corpus in recipe.data]
        self._shares = [source.recipe.share for source in self._sources]

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """Corpus → the labels that are asked."""
        return {s.recipe.corpus: s.labels for s in self._sources}

    def texts(self) -> list[str]:
        """All training sentences, those without entities included."""
        return [e.text for s in self._sources for e in (*s.full, *s.empty)]

    @staticmethod
    def _load(corpus: CorpusRecipe, data: Path) -> _Source:
        examples = read_split(data, corpus.corpus, "train")
        hidden = set(corpus.leave_out)
        kept = [
            Example(e.text, tuple(s for s in e.spans if s.label not in hidden)) for e in examples
        ]
        labels = tuple(sorted({s.label for e in kept for s in e.spans}))
        unknown = [label for label in (*corpus.types, *hidden) if label not in {*labels, *hidden}]
        if unknown:
            raise SamError(
                f"The recipe names the type {unknown[0]!r}, which {corpus.corpus} does not have.",
                f"It has: {', '.join(labels)}.",
            )
        if not labels:
            raise SamError(
                f"The corpus {corpus.corpus} has no entities of a type that may be asked.",
                "Take it out of the recipe, or leave out fewer types.",
            )
        full = tuple(e for e in kept if e.spans)
        empty = tuple(e for e in kept if not e.spans)
        return _Source(corpus, labels, full, empty)

    def step(self, number: int, size: int) -> list[Question]:
        """The questions of step `number` (from 0)."""
        rng = random.Random(f"{self._recipe.seed}:{number}")
        return [self._draw(number * size + i, rng) for i in range(size)]

    def _draw(self, position: int, rng: random.Random) -> Question:
        source = rng.choices(self._sources, self._shares)[0]
        empty_share = min(
            self._recipe.empty_rate, len(source.empty) / (len(source.full) + len(source.empty))
        )
        examples = source.empty if rng.random() < empty_share else source.full
        return self.question(source, rng.choice(examples), rng)

    def question(self, source: _Source, example: Example, rng: random.Random) -> Question:
        """Ask a varied set of types of one sentence."""
        present = sorted({span.label for span in example.spans})
        absent = [label for label in source.labels if label not in set(present)]
        rng.shuffle(present)
        keep = (
            len(present) if rng.random() < 0.7 else rng.randint(min(1, len(present)), len(present))
        )
        room = max(self._recipe.max_types - keep, 0)
        extra = rng.sample(absent, min(len(absent), rng.randint(min(2, room), room) if room else 0))
        asked = [*present[:keep], *extra][: max(self._recipe.max_types, 1)]
        if not asked:
            asked = [rng.choice(source.labels)]
        rng.shuffle(asked)
        return Question(
            example.text,
            tuple(self._name(source.recipe, label, rng) for label in asked),
            tuple(tuple(s for s in example.spans if s.label == label) for label in asked),
        )

    def _name(self, corpus: CorpusRecipe, label: str, rng: random.Random) -> str:
        names = corpus.types.get(label) or [label]
        if len(names) > 1 and rng.random() < self._recipe.synonym_rate:
            return rng.choice(names[1:])
        return names[0]
