"""Which of several types a mention has, where more than one claims it.

Every type is asked for on its own, so a party is found as a "political party" and as an
"organisation", and the probabilities of the two answers do not say which is meant: each only says
that the mention belongs into that list. So the question is turned round. Behind the same text the
model reads ``<mention> is a``, and the type names compete for what follows. Names that the model
likes whatever the mention are held back by what it says of a text without content (contextual
calibration, Zhao et al. 2021, arXiv 2102.09690; half of it, which was best on dev sentences).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from experts.head import CandidateHead
from experts.prompt import Prompter
from experts.spans import Span

__all__ = ["Contested", "TypeNames", "contested", "settle"]

_ASK = " is a"
_NOTHING = " It"
_CALIBRATION = 0.5

Path = tuple[int, ...]


class TypeNames:
    """The asked types as a tree of tokens.

    Attributes:
        nodes: where names part: the tokens before → the tokens that may follow.
    """

    def __init__(self, prompter: Prompter, types: Sequence[str]) -> None:
        self._ask = prompter.phrase(_ASK)
        self._nothing = prompter.phrase(_NOTHING)
        end = prompter.mention_end
        self._names = {name: (*prompter.phrase(f" {name}"), end) for name in types}
        children: dict[Path, dict[int, None]] = {}
        for name in self._names.values():
            for i, token in enumerate(name):
                children.setdefault(name[:i], {})[token] = None
        self.nodes = {path: list(after) for path, after in children.items() if len(after) > 1}

    def paths(self, types: Sequence[str]) -> list[Path]:
        """The nodes that decide about some types."""
        wanted = {
            name[:i] for name in map(self._names.__getitem__, types) for i in range(len(name))
        }
        return [path for path in self.nodes if path in wanted]

    def question(self, mention: Sequence[int], path: Path) -> list[int]:
        """What the model reads before it chooses at a node."""
        return [*mention, *self._ask, *path]

    def blank_question(self, path: Path) -> list[int]:
        """The same of a mention that says nothing."""
        return [*self._nothing, *self._ask, *path]

    def log_probabilities(
        self, head: CandidateHead, hidden: torch.Tensor, paths: Sequence[Path]
    ) -> list[dict[int, float]]:
        """What may follow at nodes.

        Args:
            hidden: shape (n, d): behind each question.
            paths: its node.

        Returns:
            For each question token → log-probability among the node's tokens, in nats.
        """
        ids = sorted({token for path in paths for token in self.nodes[path]})
        column = {token: c for c, token in enumerate(ids)}
        logits = head.logits(hidden, torch.tensor(ids, device=hidden.device)).cpu()
        found = []
        for row, path in zip(logits, paths, strict=True):
            tokens = self.nodes[path]
            values = row[[column[token] for token in tokens]].log_softmax(-1).tolist()
            found.append(dict(zip(tokens, values, strict=True)))
        return found

    def score(self, name: str, answers: Mapping[Path, Mapping[int, float]]) -> float:
        """Log-probability of a type's name, given what may follow at the nodes on its way."""
        tokens = self._names[name]
        return sum(
            answers[tokens[:i]][token] for i, token in enumerate(tokens) if tokens[:i] in answers
        )


@dataclass(frozen=True, slots=True)
class Contested:
    """A mention that overlaps mentions of other types.

    Attributes:
        begin, end: tokens of the text.
        types: those that claim it, and those whose mentions overlap it.
    """

    begin: int
    end: int
    types: tuple[str, ...]


def contested(mentions: Mapping[str, Sequence[tuple[int, int]]]) -> list[Contested]:
    """The mentions, as token ranges by type, for which a verdict is needed; each range once."""
    flat = [(begin, end, name) for name, ranges in mentions.items() for begin, end in ranges]
    claims: dict[tuple[int, int], dict[str, None]] = {}
    for begin, end, name in flat:
        rivals = [o for b, e, o in flat if o != name and b < end and begin < e]
        if rivals:
            claims.setdefault((begin, end), {})[name] = None
    return [Contested(begin, end, tuple(types)) for (begin, end), types in claims.items()]


def settle(spans: Sequence[Span], verdicts: Mapping[tuple[int, int, str], float]) -> list[Span]:
    """Of mentions that overlap the longest stays, of equally long ones the one that is likeliest.

    Args:
        spans: of one text; the score is the chance of being in its type's list.
        verdicts: (start, end, type) → log-probability of the type, calibrated; 0 where none was
            needed.

    Returns:
        Spans sorted by position without overlaps. The score of one that had rivals is divided
        among them by chance and verdict.
    """
    claim = {s.key: math.log(s.score or 1e-12) + verdicts.get(s.key, 0.0) for s in spans}
    ranked = sorted(spans, key=lambda s: (s.start - s.end, -claim[s.key], s.start, s.label))
    kept: list[Span] = []
    for span in ranked:
        if not any(span.overlaps(other) for other in kept):
            kept.append(span)
    return sorted(_shared(span, [s for s in spans if s.overlaps(span)], claim) for span in kept)


def _shared(
    span: Span, rivals: Sequence[Span], claim: Mapping[tuple[int, int, str], float]
) -> Span:
    if len(rivals) < 2 or span.score is None:
        return span
    highest = max(claim[s.key] for s in rivals)
    total = sum(math.exp(claim[s.key] - highest) for s in rivals)
    share = math.exp(claim[span.key] - highest) / total
    return Span(span.start, span.end, span.label, max(span.score * share, 1e-300))


def calibrated(score: float, blank: float) -> float:
    """A type's score less its share of what the model says of nothing."""
    return score - _CALIBRATION * blank
