"""Learning from corrected sentences: LoRA+ goes on from an adapter, and says what that brought.

A run learns from all corrections; before it, two others learn from one half each and read the other,
which nobody has shown them. Their answers tell when to stop and what to expect: for each half the
stopping point is the one that was best on the *other*, so the estimate does not choose for itself. If it
is below what the adapter did before, the adapter stays as it was.
Reference of the optimizer: LoRA+, arXiv 2402.12354.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path

from experts.base import BaseModel
from experts.evaluate import micro_f1
from experts.extract import Extractor
from experts.files import written_whole
from experts.learning_outcome import FEWEST, Outcome, check_corrections, compare
from experts.learning_plan import (
    STOPS,
    CorrectionSampler,
    LearningPlan,
    reading_work,
    sentence_work,
)
from experts.merging.adapters import Adapter, content_hash, products_of
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.spans import Example, Span
from experts.stack import acting
from experts.training import train_adapter

__all__ = [
    "FEWEST",
    "CorrectionSampler",
    "Learned",
    "LearningPlan",
    "check_corrections",
    "halves",
    "learn",
]

Progress = Callable[[float, float, str], None]
"""Called with (work done, all work, what is being done)."""

READING = "Reading your corrections"
HALVES = (
    "Learning from one half, to check on the other",
    "Learning from the other half, to check on the first",
)
ALL = "Learning from all your corrections"


@dataclass(frozen=True)
class Learned(Outcome):
    """What a run brought.

    Attributes:
        path: folder of the new adapter, in PEFT's format.
        steps, of: steps taken, and those of the whole plan; 0 when stopping at once was best.
        found: what was found in each corrected sentence, as `before` and `after` are scored.
        seconds: of the whole.
        pace: seconds for a unit of `LearningPlan.work`; 0 where nothing was left to do.
    """

    path: Path
    steps: int
    of: int
    found: tuple[list[list[Span]], list[list[Span]]]
    seconds: float
    pace: float


def learn(
    base: BaseModel,
    start: Adapter,
    corrected: Sequence[Example],
    types: Sequence[str],
    out: Path,
    *,
    replay: Sequence[Example] = (),
    plan: LearningPlan | None = None,
    before: Sequence[Sequence[Span]] | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
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
        plan: by default the one for so many sentences.
        before: what `start` finds in the corrected sentences, where that is known.
        work: folder of what is finished: a run that was cut off goes on from there. The caller
            deletes it. By default nothing is kept.
        progress: all three runs and the reading counted.
        cancelled: asked at every step.

    Raises:
        SamError: fewer than four sentences, no entity among them, no types, spans that do not fit.
        Cancelled: if `cancelled` said so; only `work` is kept.
    """
    began = time.monotonic()
    examples = check_corrections(corrected, types)
    plan = plan or LearningPlan.for_sentences(len(examples))
    with contextlib.ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made_of = _made_of(base, start, examples, types, replay, plan)
        kept = _Kept(folder, made_of)
        course = _Course(base, start, examples, list(types), list(replay), plan, kept, cancelled)
        course.tell = progress or (lambda done, total, said: None)
        first = course.read_before(before)
        answers = [first, *course.read_halves()]  # by stop, of each sentence
        after: list[list[Span]] = [[] for _ in examples]
        parts = course.halves
        for half, other in (parts, parts[::-1]):
            stop = _best_stop(examples, answers, half)
            for i in other:
                after[i] = answers[stop][i]
        gold = [example.spans for example in examples]
        # What did not help on unseen sentences is not done.
        helps = micro_f1(gold, after) >= micro_f1(gold, first)
        stop = _best_stop(examples, answers, range(len(examples))) if helps else 0
        steps = course.learn_all(stop, out)
    outcome = compare(gold, first, after if helps else first, seed=plan.seed)
    seconds = time.monotonic() - began
    return Learned(
        **vars(outcome),
        path=out,
        steps=steps,
        of=course.steps(range(len(examples))),
        found=(first, after if helps else first),
        seconds=seconds,
        pace=seconds / course.worked if course.worked else 0.0,
    )


class _Kept:
    """Answers and checkpoints of a run in a folder, emptied where they are of another run."""

    def __init__(self, folder: Path, made_of: str) -> None:
        self._folder, self._file = folder, folder / "answers.json"
        try:
            state = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            state = {}
        if state.get("made_of") != made_of:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            state = {"made_of": made_of, "answers": {}}
        self._state = state

    def answers(self, name: str) -> list[list[Span]] | None:
        known = self._state["answers"].get(name)
        return None if known is None else [[Span(*span) for span in spans] for spans in known]

    def keep(self, name: str, found: Sequence[Sequence[Span]]) -> None:
        packed = [[[s.start, s.end, s.label, s.score] for s in spans] for spans in found]
        self._state["answers"][name] = packed
        with written_whole(self._file) as temporary:
            temporary.write_text(json.dumps(self._state), "utf-8")

    def folder(self, name: str) -> Path:
        return self._folder / name


class _Course:
    """The runs on the halves and on all, with one count of work for all.

    Attributes:
        halves: numbers of the sentences of each.
        worked: what was done now, as of `LearningPlan.work`; not what an earlier attempt had done.
    """

    def __init__(
        self,
        base: BaseModel,
        start: Adapter,
        examples: Sequence[Example],
        types: list[str],
        replay: list[Example],
        plan: LearningPlan,
        kept: _Kept,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._base, self._start, self._examples = base, start, examples
        self._types, self._replay, self._plan = types, replay, plan
        self._kept, self._cancelled = kept, cancelled
        self._extractor = Extractor(base)
        self.halves = halves(examples, plan.seed)
        self.tell: Progress = lambda done, total, said: None
        self.worked = self._done = 0.0
        self._per_step = plan.batch * sentence_work(len(types))
        everything = range(len(examples))
        steps = sum(map(self.steps, [*self.halves, everything]))
        reads = len(examples) * (1 + len(STOPS))
        self._total = steps * self._per_step + reading_work(reads, len(types))

    def steps(self, part: Sequence[int]) -> int:
        """Of a whole run on some of the sentences."""
        return self._plan.steps(self._sampler(part).epoch)

    def _sampler(self, part: Sequence[int]) -> CorrectionSampler:
        chosen = [self._examples[i] for i in part]
        return CorrectionSampler(chosen, self._types, self._replay, self._plan)

    def _advance(self, work: float, said: str, *, now: bool = True) -> None:
        self._done += work
        self.worked += work if now else 0.0
        self.tell(min(self._done, self._total), self._total, said)

    def read_before(self, known: Sequence[Sequence[Span]] | None) -> list[list[Span]]:
        """What the adapter finds in all sentences as it is."""
        if known is not None:
            self._advance(reading_work(len(known), len(self._types)), READING, now=False)
            return [list(spans) for spans in known]
        acts = acting(self._base, products_of(self._start))
        return self._read("before", range(len(self._examples)), READING, acts)

    def _read(
        self,
        name: str,
        part: Sequence[int],
        said: str,
        acts: contextlib.AbstractContextManager[None],
    ) -> list[list[Span]]:
        """What is found in some sentences, by the base model as `acts` makes it."""
        known = self._kept.answers(name)
        if known is not None:
            self._advance(reading_work(len(part), len(self._types)), said, now=False)
            return known
        told = 0

        def report(done: int, _: int) -> None:
            nonlocal told
            self._advance(reading_work(done - told, len(self._types)), said)
            told = done

        found = self._extractor.extract_within(
            acts, [self._examples[i].text for i in part], self._types,
            progress=report, cancelled=self._cancelled,
        )  # fmt: skip
        self._kept.keep(name, found)
        return found

    def read_halves(self) -> list[list[list[Span]]]:
        """For each stop, what is found in each sentence by the run that has not learned from it."""
        answers: list[list[list[Span]]] = [[[] for _ in self._examples] for _ in STOPS]
        for number, unseen in enumerate(self.halves[::-1]):
            names = [f"half {number} stop {stop}" for stop in range(len(STOPS))]
            for resume in (True, False):
                if None not in map(self._kept.answers, names):
                    break
                # Cut off between a checkpoint and the reading after it: from the beginning.
                self._learn_half(number, unseen, names, resume=resume)
            for stop, name in enumerate(names):
                found = self._kept.answers(name) or []
                for i, spans in zip(unseen, found, strict=True):
                    answers[stop][i] = spans
        return answers

    def _learn_half(
        self, number: int, unseen: Sequence[int], names: Sequence[str], *, resume: bool
    ) -> None:
        part, said = self.halves[number], HALVES[number]
        steps = self.steps(part)
        stops = {round(steps * share): stop for stop, share in enumerate(STOPS)}

        def read(step: int) -> None:
            if step in stops:
                self._read(names[stops[step]], unseen, said, contextlib.nullcontext())

        with tempfile.TemporaryDirectory() as folder:
            self._train(part, Path(folder), f"half {number}", steps, said, read, resume=resume)

    def learn_all(self, stop: int, out: Path) -> int:
        """Learn from all sentences up to a stop, 0 for none; returns the steps taken."""
        everything = range(len(self._examples))
        share = STOPS[stop - 1] if stop else 0.0
        until = round(self.steps(everything) * share)
        self._train(everything, out, "all", until, ALL, lambda step: None, resume=True)
        self.tell(self._total, self._total, ALL)
        return until

    def _train(
        self,
        part: Sequence[int],
        out: Path,
        name: str,
        until: int,
        said: str,
        watch: Callable[[int], None],
        *,
        resume: bool,
    ) -> None:
        before, last = self._done, 0

        def stepped(step: int) -> None:
            nonlocal last
            self._advance((step - last - 1) * self._per_step, said, now=False)  # an earlier attempt
            self._advance(self._per_step, said)
            last = step
            watch(step)

        self.tell(before, self._total, said)
        train_adapter(
            self._base, self._recipe(self.steps(part)), self._sampler(part), out,
            start=self._start, until=until, watch=stepped, resume=resume,
            cancelled=self._cancelled, checkpoint=self._kept.folder(name),
        )  # fmt: skip

    def _recipe(self, steps: int) -> TrainingRecipe:
        plan, rank = self._plan, self._start.rank
        return TrainingRecipe(
            name="learned", title="", description="", sentences=steps * plan.batch,
            batch=plan.batch, rank=rank, alpha=2 * rank, learning_rate=plan.learning_rate,
            lora_plus_ratio=plan.lora_plus_ratio, seed=plan.seed,
            data=[CorpusRecipe(corpus="corrections", licence="", source="")],
        )  # fmt: skip


def halves(examples: Sequence[Example], seed: int) -> tuple[list[int], list[int]]:
    """Two halves of the sentences; equal texts fall into one, or it would know the other.

    Args:
        examples: with at least two different texts.
    """
    groups: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault(example.text, []).append(i)
    parts = list(groups.values())
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


def _made_of(
    base: BaseModel,
    start: Adapter,
    examples: Sequence[Example],
    types: Sequence[str],
    replay: Sequence[Example],
    plan: LearningPlan,
) -> str:
    """A digest of all that a run depends on."""
    sentences = [asdict(example) for example in (*examples, *replay)]
    parts = [base.name, content_hash(start), sentences, list(types), asdict(plan)]
    return sha256(json.dumps(parts).encode()).hexdigest()
