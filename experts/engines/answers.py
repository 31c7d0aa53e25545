"""A server's reply read back as an answer: whatever it says, only valid mentions come out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

from experts.decoding import CopyState, Mention
from experts.prompt import Prompter, TokenizedText, split_words

__all__ = ["Piece", "probability", "read_answer"]

Piece = tuple[int | str, float]
"""A generated token, as id or (where a server gives no ids) as text, and its log probability."""


def read_answer(text: TokenizedText, pieces: Sequence[Piece], prompter: Prompter) -> list[Mention]:
    """The mentions of a reply, in the order of the text, without overlap.

    The tokens are read by the automaton that our own decoder follows. Where they leave it, which a
    server does that cuts words otherwise or enforces no grammar, they are read as lines of text. In
    either reading a mention that occurs several times is the first one at or after the mention
    before it, and what follows the first invalid mention is dropped, as is one that is not ended.

    Args:
        text: that was asked about.
        pieces: the reply; probabilities that are no numbers count as 0.

    Returns:
        Mentions of whole words; `log_probability` is the sum over a mention's tokens and its end.
        Tokens that leave no choice count as certain.
    """
    cleaned = [(token, _log_probability(value)) for token, value in pieces]
    exact, complete = _by_tokens(text, cleaned, prompter)
    if complete:
        return exact
    lenient = _by_lines(text, cleaned, prompter)
    return lenient if len(lenient) > len(exact) else exact


def probability(mention: Mention) -> float:
    """In (0, 1]: the least that a float holds rather than 0."""
    return max(math.exp(mention.log_probability), sys.float_info.min)


def _log_probability(value: float) -> float:
    return min(value, 0.0) if math.isfinite(value) else -math.inf


def _by_tokens(
    text: TokenizedText, pieces: Sequence[Piece], prompter: Prompter
) -> tuple[list[Mention], bool]:
    """The mentions before the first token that is not allowed, and whether there was none."""
    state = CopyState(text, prompter.mention_end, prompter.list_end)
    for token, log_probability in pieces:
        allowed = state.allowed()
        if token not in allowed:
            return state.mentions, False
        state.push(int(token), log_probability if len(allowed) > 1 else 0.0)
        if state.finished:
            break
    return state.mentions, True


def _by_lines(text: TokenizedText, pieces: Sequence[Piece], prompter: Prompter) -> list[Mention]:
    """The mentions before the first line that is none; an empty line ends the answer."""
    shown = _renderer(prompter)
    newline = shown([prompter.mention_end])
    mentions: list[Mention] = []
    word = 0  # the first that the next mention may begin with
    lead, line, total = "", list[int | str](), 0.0
    for token, log_probability in pieces:
        total += log_probability
        before, *after = shown([token]).split(newline)
        if not after:
            line.append(token)
            continue
        found = _find(text, lead + shown(line) + before, word)
        if found is None:
            break
        begin, word = found
        mentions.append(Mention(text.first[begin], text.first[word], total))
        if len(after) > 1:
            break
        lead, line, total = after[0], [], 0.0
    return mentions


def _renderer(prompter: Prompter) -> Callable[[Sequence[int | str]], str]:
    """What tokens stand for, the space before the first one kept."""
    newline = prompter.mention_end
    decode = prompter.tokenizer.decode
    before = str(decode([newline]))

    def shown(tokens: Sequence[int | str]) -> str:
        ids = [token for token in tokens if isinstance(token, int)]
        if len(ids) != len(tokens):  # a server that names tokens by text names all of them so
            return "".join(token for token in tokens if isinstance(token, str))
        return str(decode([newline, *ids])).removeprefix(before) if ids else ""

    return shown


def _find(text: TokenizedText, line: str, start: int) -> tuple[int, int] | None:
    """Words [i, j) that a line copies, i ≥ `start` and least; None for an empty or other line."""
    words = split_words(line)
    surfaces = [line[word.start : word.end] for word in words]
    gaps = [right.start > left.end for left, right in pairwise(words)]
    if not words:
        return None
    spaced = words[0].start > 0
    loose: tuple[int, int] | None = None
    for i in range(start, len(text.words) - len(words) + 1):
        end = i + len(words)
        if gaps == [w.spaced for w in text.words[i + 1 : end]] and surfaces == [
            _surface(text, j) for j in range(i, end)
        ]:
            if text.words[i].spaced == spaced:
                return i, end
            loose = loose or (i, end)
    return loose


def _surface(text: TokenizedText, word: int) -> str:
    at = text.words[word]
    return text.text[at.start : at.end]
