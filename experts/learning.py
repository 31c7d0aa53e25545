"""Learning from corrected sentences: LoRA+ goes on from an adapter, and says what that brought.

A run learns from all corrections; before it, two others learn from one half each and read the other,
which nobody has shown them. Their answers tell when to stop and what to expect: for each half the
stopping point is the one that was best on the *other*, so the estimate does not choose for itself. If it
is below what the adapter did before, the adapter stays as it was.
Reference of the optimizer: LoRA+, arXiv 2402.12354.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from experts.base import BaseModel
from experts.errors import SamError
from experts.evaluate import Report, evaluate, f1_counts, micro_f1
from experts.extract import Extractor
from experts.merging.adapters import Adapter
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.sampling import Question
from experts.spans import Example, Span, check_spans
from experts.training import train_adapter

__all__ = ["CorrectionSampler", "Learned", "LearningPlan", "check_corrections", "learn"]

FEWEST = 4
"""Corrected sentences with which learning starts: two for each half."""
ENOUGH_SENTENCES, ENOUGH_SPANS = 10, 20
"""With fewer, before and after are shown but nothing is claimed."""

_STOPS = 4  # places in a run where it may stop
_RESAMPLES = 2000


@dataclass(frozen=True)
class LearningPlan:
    """How long and how fast.

    Attributes:
        epochs: how often each corrected sentence is read.
        learning_rate: of the A matrices.
        lora_plus_ratio: B's rate over A's.
        batch: sentences a step.
        replay: sentences of the replay for each corrected one.
        seed: of the halves, of the order and of the sampled vocabulary.
    """

    epochs: int = 6
    learning_rate: float = 1e-4
    lora_plus_ratio: float = 16.0
    batch: int = 4
    replay: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """What a run brought.

    Attributes:
        path: folder of the new adapter, in PEFT's format.
        steps, of: steps taken, and those of the whole plan; 0 when stopping at once was best.
        before, after: strict scores on the corrected sentences, each read by a model that has not
            learned from it.
        gain: change of micro F1.
        interval: 95 % of it, by paired bootstrap over sentences.
        enough: whether there was enough to tell.
        seconds: of the whole.
    """

    path: Path
    steps: int
    of: int
    before: Report
    after: Report
    gain: float
    interval: tuple[float, float]
    enough: bool
    seconds: float

    @property
    def better(self) -> bool:
        """Whether the gain is beyond what chance makes."""
        return self.enough and self.interval[0] > 0


class CorrectionSampler:
    """Every corrected sentence once an epoch, in a new order, all types asked of it.

    Args:
        corrected: sentences with all their entities of the asked types.
        types: asked.
        replay: sentences with the answers that the model gave before, so that it does not unlearn.
        plan: seed and share of the replay.
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
        answers = tuple(tuple(s for s in example.spans if s.label == kind) for kind in asked)
        return Question(example.text, tuple(asked), answers)


def learn(
    base: BaseModel,
    start: Adapter,
    corrected: Sequence[Example],
    types: Sequence[str],
    out: Path,
    *,
    replay: Sequence[Example] = (),
    plan: LearningPlan | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Learned:
    """Go on from `start` on corrected sentences.

    Args:
        base: the base model; unchanged afterwards.
        start: the merged adapter; keeps its rank.
        corrected: sentences with all their entities; those of other types are left out.
        types: what will be asked, at least one.
        out: folder for the new adapter's two files.
        replay: other sentences of the person's, with the answers of `start` to them.
        progress: called with (steps done, all steps), all three runs counted.
        cancelled: asked at every step.

    Raises:
        SamError: fewer than four sentences, no entity among them, no types, spans that do not fit.
        Cancelled: if `cancelled` said so; nothing is kept.
    """
    began = time.monotonic()
    plan = plan or LearningPlan()
    examples = check_corrections(corrected, types)
    runs = _Runs(base, start, examples, list(types), list(replay), plan, progress, cancelled)
    halves = _halves(examples, plan.seed)
    runs.total = sum(map(runs.steps, [*halves, range(len(examples))]))
    extractor = Extractor(base)
    texts = [example.text for example in examples]
    before = extractor.extract(texts, types, adapter=start, cancelled=cancelled)
    answers = [before]  # by stop, of each sentence
    answers += [[[] for _ in examples] for _ in range(_STOPS)]
    for half, other in (halves, halves[::-1]):

        def read(stop: int, unseen: Sequence[int] = other) -> None:
            asked = [texts[i] for i in unseen]
            found = extractor.extract_within(contextlib.nullcontext(), asked, types)
            for i, spans in zip(unseen, found, strict=True):
                answers[stop][i] = spans

        with tempfile.TemporaryDirectory() as folder:
            runs.train(half, Path(folder), watch=read)
    after: list[list[Span]] = [[] for _ in examples]
    for half, other in (halves, halves[::-1]):
        stop = _best_stop(examples, answers, half)
        for i in other:
            after[i] = answers[stop][i]
    gold = [example.spans for example in examples]
    # What did not help on unseen sentences is not done.
    helps = micro_f1(gold, after) >= micro_f1(gold, before)
    stop = _best_stop(examples, answers, range(len(examples))) if helps else 0
    steps = runs.train(range(len(examples)), out, stop=stop)
    gain, interval = _gain(gold, before, after, plan.seed)
    spans = sum(map(len, gold))
    return Learned(
        path=out,
        steps=steps,
        of=runs.steps(range(len(examples))),
        before=evaluate(gold, before),
        after=evaluate(gold, after),
        gain=gain,
        interval=interval,
        enough=len(examples) >= ENOUGH_SENTENCES and spans >= ENOUGH_SPANS,
        seconds=time.monotonic() - began,
    )


class _Runs:
    """Training runs on parts of the corrections, with one count of steps for all."""

    def __init__(
        self,
        base: BaseModel,
        start: Adapter,
        examples: Sequence[Example],
        types: list[str],
        replay: list[Example],
        plan: LearningPlan,
        progress: Callable[[int, int], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._base, self._start, self._examples = base, start, examples
        self._types, self._replay, self._plan = types, replay, plan
        self._progress, self._cancelled = progress, cancelled
        self._done = 0
        self.total = 0

    def steps(self, part: Sequence[int]) -> int:
        """Of a whole run on some of the sentences."""
        sampler = self._sampler(part)
        return max(_STOPS, -(-self._plan.epochs * sampler.epoch // self._plan.batch))

    def _sampler(self, part: Sequence[int]) -> CorrectionSampler:
        chosen = [self._examples[i] for i in part]
        return CorrectionSampler(chosen, self._types, self._replay, self._plan)

    def train(
        self,
        part: Sequence[int],
        out: Path,
        *,
        stop: int = _STOPS,
        watch: Callable[[int], None] | None = None,
    ) -> int:
        """Train up to a stop, and let `watch` read at each stop; returns the steps taken."""
        steps = self.steps(part)
        stops = {round(steps * i / _STOPS): i for i in range(1, _STOPS + 1)}

        def stepped(number: int) -> None:
            self._done += 1
            if self._progress:
                self._progress(self._done, self.total)
            if watch and number in stops:
                watch(stops[number])

        until = round(steps * stop / _STOPS)
        with tempfile.TemporaryDirectory() as folder:
            train_adapter(
                self._base, self._recipe(steps), self._sampler(part), out, start=self._start,
                until=until, watch=stepped, cancelled=self._cancelled, checkpoint=Path(folder) / "c",
            )  # fmt: skip
        return until

    def _recipe(self, steps: int) -> TrainingRecipe:
        plan, rank = self._plan, self._start.rank
        return TrainingRecipe(
            name="learned", title="", description="", sentences=steps * plan.batch,
            batch=plan.batch, rank=rank, alpha=2 * rank, learning_rate=plan.learning_rate,
            lora_plus_ratio=plan.lora_plus_ratio, seed=plan.seed,
            data=[CorpusRecipe(corpus="corrections", licence="", source="")],
        )  # fmt: skip


def check_corrections(corrected: Sequence[Example], types: Sequence[str]) -> list[Example]:
    """The sentences with their entities of the asked types only.

    Raises:
        SamError: as `learn`.
    """
    if not types:
        raise SamError("No entity types are named.", "Name at least one.")
    if len(corrected) < FEWEST:
        raise SamError(
            f"{len(corrected)} corrected sentences are too few to learn from.",
            f"Correct at least {FEWEST}; 20 are a good start.",
        )
    for number, example in enumerate(corrected, start=1):
        check_spans(example.text, example.spans, where=f"corrected sentence {number}")
    asked = set(types)
    kept = [Example(e.text, tuple(s for s in e.spans if s.label in asked)) for e in corrected]
    if not any(example.spans for example in kept):
        raise SamError(
            "The corrected sentences have no entity of the asked types.",
            "Mark some, or ask for the types that they have.",
        )
    return kept


def _halves(examples: Sequence[Example], seed: int) -> tuple[list[int], list[int]]:
    """Two halves of the sentences; equal texts fall into one, or it would know the other."""
    groups: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault(example.text, []).append(i)
    parts = list(groups.values())
    if len(parts) < 2:
        raise SamError("All corrected sentences are the same.", "Correct different ones.")
    random.Random(seed).shuffle(parts)
    # With entities first, so that each half has some.
    parts.sort(key=lambda part: not any(examples[i].spans for i in part))
    first, second = ([*chain.from_iterable(parts[i::2])] for i in (0, 1))
    return first, second


def _best_stop(
    examples: Sequence[Example], answers: Sequence[Sequence[Sequence[Span]]], part: Sequence[int]
) -> int:
    """The stop with the highest F1 on some sentences, the later of equal ones."""
    gold = [examples[i].spans for i in part]
    scores = [micro_f1(gold, [found[i] for i in part]) for found in answers]
    return max(range(len(scores)), key=lambda stop: (scores[stop], stop))


def _gain(
    gold: Sequence[Sequence[Span]],
    before: Sequence[Sequence[Span]],
    after: Sequence[Sequence[Span]],
    seed: int,
) -> tuple[float, tuple[float, float]]:
    """Change of micro F1, and 95 % of it by paired bootstrap over sentences."""
    counts = np.array([f1_counts(gold, found) for found in (before, after)])
    draws = np.random.default_rng(seed).integers(len(gold), size=(_RESAMPLES, len(gold)))

    def f1(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        hits, spans = rows[..., 0].sum(-1), rows[..., 1].sum(-1)
        scores: npt.NDArray[np.float64] = hits / np.maximum(spans, 1)
        return scores

    change = f1(counts[1][draws]) - f1(counts[0][draws])
    low, high = np.quantile(change, (0.025, 0.975))
    return float(f1(counts[1]) - f1(counts[0])), (float(low), float(high))
