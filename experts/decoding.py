"""Grounded decoding: which tokens may come next in one branch.

An answer is a list of mentions copied from the text, from left to right, without overlap. The state
knows every place of the text that the answer's last tokens can stand for, so offsets come out of the
decoding itself and nothing is searched for afterwards.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from dataclasses import dataclass, field

from experts.prompt import TokenizedText

__all__ = ["CopyState", "Mention"]


@dataclass(frozen=True, slots=True)
class Mention:
    """Tokens ``begin`` … ``end - 1`` of the text; `log_probability` in nats, among valid answers."""

    begin: int
    end: int
    log_probability: float


@dataclass(slots=True)
class CopyState:
    """Where one branch's answer stands.

    Attributes:
        text: the text that is copied from (L tokens).
        mention_end, list_end: token ids that end a mention and the answer.
        mentions: what has been completed.
        finished: whether the answer is complete.
    """

    text: TokenizedText
    mention_end: int
    list_end: int
    mentions: list[Mention] = field(default_factory=list)
    finished: bool = False
    _cursor: int = 0  # first token at which the next mention may begin
    _places: list[tuple[int, int]] = field(default_factory=list)  # (begin, next token) of each copy
    _log_probability: float = 0.0
    _starts: frozenset[int] | None = None

    @property
    def between(self) -> bool:
        """Whether the next token begins a mention or ends the answer."""
        return not self._places

    @property
    def may_close(self) -> bool:
        """Whether the mention that is being copied may end here."""
        return any(self._at_boundary(position) for _, position in self._places)

    def _at_boundary(self, token: int) -> bool:
        if self._starts is None:
            self._starts = frozenset(self.text.first)
        return token in self._starts

    def allowed(self) -> list[int]:
        """Token ids that lead to a valid answer; never empty, without repetition."""
        tokens = self.text.tokens
        if self.between:
            first = self.text.first
            starts = first[bisect_left(first, self._cursor) : -1]
            return list(dict.fromkeys([self.list_end, *(tokens[t] for t in starts)]))
        allowed: dict[int, None] = {}
        for _, position in self._places:
            if self._at_boundary(position):
                allowed[self.mention_end] = None
            if position < len(tokens):
                allowed[tokens[position]] = None
        return list(allowed)

    def push(self, token: int, log_probability: float) -> None:
        """Append an allowed token.

        Args:
            token: one of `allowed()`.
            log_probability: of that token among the allowed ones, in nats.

        Raises:
            ValueError: if the token is not allowed.
        """
        if self.between and token == self.list_end:
            self.finished = True
            return
        if not self.between and token == self.mention_end:
            self._close(log_probability)
            return
        tokens = self.text.tokens
        if self.between:
            places = [(t, t) for t in self.text.first[:-1] if t >= self._cursor]
            self._log_probability = 0.0
        else:
            places = self._places
        kept = [(b, n + 1) for b, n in places if n < len(tokens) and tokens[n] == token]
        if not kept:
            raise ValueError(f"token {token} is not allowed here")
        self._places = kept
        self._log_probability += log_probability

    def _close(self, log_probability: float) -> None:
        complete = [place for place in self._places if self._at_boundary(place[1])]
        if not complete:
            raise ValueError("a mention cannot end inside a word")
        begin, end = complete[0]  # the earliest occurrence leaves most room for what follows
        total = min(self._log_probability + log_probability, 0.0)
        self.mentions.append(Mention(begin, end, total))
        self._places = []
        self._cursor = end

    def forced(self) -> list[int]:
        """Append, without a decision, the tokens that leave no choice; returns them."""
        appended: list[int] = []
        while not self.finished:
            allowed = self.allowed()
            if len(allowed) != 1:
                break
            self.push(allowed[0], 0.0)
            appended.append(allowed[0])
        return appended

    def probability(self, mention: Mention) -> float:
        """Probability of a mention in (0, 1]: the least that a float holds rather than 0."""
        return max(math.exp(mention.log_probability), sys.float_info.min)
