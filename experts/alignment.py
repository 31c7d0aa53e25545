"""How far a merged model is from each of its experts, on that expert's texts.

The measure of Expert Merging (Zhang et al. 2025, arXiv:2509.25712): hidden states and predictions of
the merged model against those of the expert to whose domain a text belongs. No labels are needed:
the expert's own answer is read along, and compared at every token of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experts.errors import SamError
from experts.extract import Extractor
from experts.gates import Coefficients, GatedExperts, batches
from experts.merging.adapters import Adapter
from experts.packing import PackedRow
from experts.sampling import Question
from experts.training import build_row

__all__ = ["Alignment", "Lesson", "choose_texts", "lessons_of"]


@dataclass(slots=True)
class Lesson:
    """A text that an expert has answered, and what it thought.

    Attributes:
        expert: index.
        row: the text with its answered types.
        places: int64, (p,): tokens of the row whose successor belongs to an answer.
        candidates: int64, (c,): tokens that the answers may consist of.
        states: hidden states of the expert at the places, (p, d) each.
        log_p: its log-probabilities of the candidates at the places, (p, c).
    """

    expert: int
    row: PackedRow
    places: Tensor
    candidates: Tensor
    states: list[Tensor]
    log_p: Tensor


def choose_texts(own: Sequence[str], count: int, seed: str) -> list[str]:
    """At most `count` of the texts without duplicates; the same seed chooses the same."""
    texts = sorted({text for text in own if text.strip()})
    random.Random(seed).shuffle(texts)
    return texts[:count]


def lessons_of(
    experts: GatedExperts,
    adapters: Sequence[Adapter],
    texts: Sequence[Sequence[str]],
    types: Sequence[str],
    cancelled: Callable[[], bool] | None = None,
) -> list[Lesson]:
    """Let every expert answer its texts; their thoughts are still to be filled in (`Alignment`).

    Args:
        texts: for each expert.
        types: asked of every text.

    Raises:
        SamError: an expert has no text that is short enough to learn from.
    """
    extractor = Extractor(experts.base)
    prompter = experts.prompter
    unanswered = tuple(() for _ in types)
    lessons: list[Lesson] = []
    for index, (adapter, given) in enumerate(zip(adapters, texts, strict=True)):
        # Before they are answered, which takes longest for those that are too long to be used.
        own = [t for t in given if build_row(prompter, Question(t, tuple(types), unanswered))]
        found = extractor.extract_each(own, types, [adapter], cancelled=cancelled)[0]
        before = len(lessons)
        for text, spans in zip(own, found, strict=True):
            answers = tuple(tuple(s for s in spans if s.label == t) for t in types)
            target = build_row(prompter, Question(text, tuple(types), answers))
            if target is None:
                continue
            device = experts.base.device
            ends = {prompter.mention_end, prompter.list_end}
            candidates = sorted({*prompter.text(text).tokens, *ends})
            lessons.append(
                Lesson(
                    index,
                    target.row,
                    torch.tensor(target.predict, device=device),
                    torch.tensor(candidates, device=device),
                    [],
                    torch.empty(0),
                )
            )
        if len(lessons) == before:
            raise SamError(
                f"There is no text that the expert '{adapter.name}' could be compared on.",
                "Add sentences of ordinary length.",
            )
    return lessons


class Alignment:
    """The loss of Expert Merging over some lessons.

    Per expert k, at the answer's tokens x, with h the hidden states and p the probabilities of the
    merged model, hₖ and pₖ those of the expert:

        Lₖ = KL(pₖ ‖ p) + inner · mean over layers ℓ of E‖hℓ - hₖℓ‖² / E‖hℓ(base) - hₖℓ‖²

    and L = Σ βₖLₖ / Σ βₖ. Both terms are means over the tokens; KL in nats.

    Args:
        experts: must be attached.
        lessons: their thoughts are filled in here.
        importance: βₖ, at least 0, one for each expert.
        inner: how much the hidden states count.
    """

    def __init__(
        self,
        experts: GatedExperts,
        lessons: Sequence[Lesson],
        importance: Sequence[float],
        inner: float,
    ) -> None:
        self._experts, self._inner = experts, inner
        self.lessons = list(lessons)
        total = sum(importance)
        self._importance = [value / total for value in importance]
        self._scale: dict[int, list[float]] = {}
        with torch.no_grad():
            for expert in sorted({lesson.expert for lesson in lessons}):
                self._consult(expert, [x for x in lessons if x.expert == expert])

    def _consult(self, expert: int, lessons: Sequence[Lesson]) -> None:
        """What the expert thinks, and how far the base model is from that."""
        self._experts.only(expert)
        for part in _parts(lessons):
            for lesson, states in zip(part, self._read(part), strict=True):
                lesson.states = states
                lesson.log_p = self._log_p(lesson, states)
        self._experts.only(None)
        sums = [0.0] * len(lessons[0].states)
        for part in _parts(lessons):
            for lesson, states in zip(part, self._read(part), strict=True):
                for i, (base, own) in enumerate(zip(states, lesson.states, strict=True)):
                    sums[i] += float((base - own).square().sum())
        places = sum(len(lesson.places) for lesson in lessons)
        # An expert that changes nothing is no distance away: any scale will do.
        self._scale[expert] = [value / places or 1.0 for value in sums]

    def _read(self, lessons: Sequence[Lesson]) -> list[list[Tensor]]:
        """For each lesson the hidden states at its places."""
        layers = self._experts.states([lesson.row for lesson in lessons])
        result: list[list[Tensor]] = []
        begin = 0
        for lesson in lessons:
            index = lesson.places + begin
            result.append([layer.index_select(0, index) for layer in layers])
            begin += len(lesson.row.tokens)
        return result

    def _log_p(self, lesson: Lesson, states: Sequence[Tensor]) -> Tensor:
        return self._experts.head.logits(states[-1], lesson.candidates).log_softmax(-1)

    def _loss(self, lesson: Lesson, states: Sequence[Tensor]) -> Tensor:
        log_p = self._log_p(lesson, states)
        loss = (lesson.log_p.exp() * (lesson.log_p - log_p)).sum(-1).mean()
        scales = self._scale[lesson.expert]
        for mine, own, scale in zip(states, lesson.states, scales, strict=True):
            distance = (mine - own).square().sum(-1).mean() / scale
            loss = loss + self._inner / len(scales) * distance
        return loss

    def backward(self, lessons: Sequence[Lesson], coefficients: Coefficients) -> float:
        """The loss over some lessons, its gradient added to the coefficients; see `loss`."""
        return self._sum(lessons, coefficients, learn=True)

    def loss(self, coefficients: Coefficients) -> float:
        """The loss over all lessons; every expert counts by its importance, not by its lessons."""
        with torch.no_grad():
            return self._sum(self.lessons, coefficients, learn=False)

    def _sum(self, lessons: Sequence[Lesson], coefficients: Coefficients, *, learn: bool) -> float:
        counts: dict[int, int] = {}
        for lesson in lessons:
            counts[lesson.expert] = counts.get(lesson.expert, 0) + 1
        total = 0.0
        self._experts.stack.weigh_modules(coefficients.gates())
        for part in _parts(lessons):
            losses = [
                self._importance[lesson.expert] / counts[lesson.expert] * self._loss(lesson, states)
                for lesson, states in zip(part, self._read(part), strict=True)
            ]
            loss = torch.stack(losses).sum()
            if learn:
                loss.backward()
            total += float(loss.detach())
        return total


def _parts(lessons: Sequence[Lesson]) -> list[list[Lesson]]:
    groups = batches([len(lesson.row.tokens) for lesson in lessons])
    return [[lessons[i] for i in group] for group in groups]
