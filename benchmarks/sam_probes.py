"""Other ways to score experts by what they find in sampled sentences, without labels.

The product's probe takes a span as true with the mean probability of the surest quarter of the
experts; these are other candidates. All take expert → for each sentence its spans, and give expert →
score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from experts.evaluate import micro_f1
from experts.spans import Span

__all__ = ["PROBES", "against"]

Answers = Mapping[str, Sequence[Sequence[Span]]]
Key = tuple[int, tuple[int, int, str]]  # sentence, span


def mean_agreement(answers: Answers) -> dict[str, float]:
    """Mean F1 with every other expert's answers, in [0, 1]."""
    return {
        name: fmean([micro_f1(other, found) for o, other in answers.items() if o != name] or [0.0])
        for name, found in answers.items()
    }


def soft_votes(answers: Answers) -> dict[str, float]:
    """Expected F1, in [0, 1], if each span is true with the share of the *other* experts that
    found it: 2·Σ_found p / (number found + Σ_all p).
    """
    keys = {name: _keys(found) for name, found in answers.items()}
    scores = {}
    for name, mine in keys.items():
        others = [found for other, found in keys.items() if other != name]
        chance = {
            key: sum(key in found for found in others) / len(others) for key in set().union(*others)
        }
        total = len(mine) + sum(chance.values())
        scores[name] = 2 * sum(chance.get(key, 0.0) for key in mine) / total if total else 0.0
    return scores


def majority(answers: Answers) -> dict[str, float]:
    """F1 against the spans that at least half of the experts found, which is the usual way."""
    return _judged(answers, dict.fromkeys(answers, 1.0), needed=len(answers) / 2)


def two_votes(answers: Answers) -> dict[str, float]:
    """F1 against the spans that at least two experts found."""
    return _judged(answers, dict.fromkeys(answers, 1.0), needed=2.0)


def weighted_votes(answers: Answers, rounds: int = 5) -> dict[str, float]:
    """F1 against a vote in which an expert weighs as much as it scored in the round before; half of
    the weight is needed.
    """
    weights = dict.fromkeys(answers, 1.0)
    for _ in range(rounds):
        scores = _judged(answers, weights, needed=sum(weights.values()) / 2)
        if not any(scores.values()):
            return scores
        weights = scores
    return weights


def confidence(answers: Answers) -> dict[str, float]:
    """Mean probability that an expert gives to the spans that it found; 0 where it found none."""
    return {
        name: fmean([span.score or 0.0 for spans in found for span in spans] or [0.0])
        for name, found in answers.items()
    }


def against(answers: Answers, reference: Sequence[Sequence[Span]]) -> dict[str, float]:
    """F1 with one model's answers taken as true, such as those of all experts merged."""
    return {name: micro_f1(reference, found) for name, found in answers.items()}


PROBES: dict[str, Callable[[Answers], dict[str, float]]] = {
    "majority": majority,
    "mean agreement": mean_agreement,
    "soft votes": soft_votes,
    "two votes": two_votes,
    "weighted votes": weighted_votes,
    "confidence": confidence,
}


def _keys(found: Sequence[Sequence[Span]]) -> set[Key]:
    return {(i, span.key) for i, spans in enumerate(found) for span in spans}


def _judged(answers: Answers, weights: Mapping[str, float], needed: float) -> dict[str, float]:
    keys = {name: _keys(found) for name, found in answers.items()}
    votes: dict[Key, float] = {}
    for name, mine in keys.items():
        for key in mine:
            votes[key] = votes.get(key, 0.0) + weights[name]
    truth = {key for key, weight in votes.items() if weight >= needed - 1e-9}
    return {
        name: 2 * len(mine & truth) / (len(mine) + len(truth)) if mine or truth else 0.0
        for name, mine in keys.items()
    }
