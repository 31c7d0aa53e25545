"""The instruction: how a text, the asked types and the answers become tokens.

The scheme is *type-parallel*. A text is read once, as the prefix ``Text: …\\n``. Every asked type is
a branch ``<type>:`` that sees the prefix and itself only, followed by its answer: the mentions in
the order of the text, copied token by token, one a line, and an empty line at the end.
``political party: the Greens\\n SDI\\n\\n`` for two mentions, ``political party:\\n\\n`` for none.

Words of a text never contain a line break, so that the line break after a mention and the empty line
at the end cannot be taken for a copied word, in any tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from experts.errors import SamError
from experts.spans import Span
from experts.words import Word, split_words

__all__ = ["PROMPT_VERSION", "Prompter", "TokenizedText", "Word", "split_words"]

PROMPT_VERSION = 1

_SURROGATE = regex.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text as tokens, each of which belongs to one word.

    Attributes:
        text: the text as given.
        words: its words.
        tokens: token ids of all words, in order (L of them).
        word_of: index of the word that each token belongs to, length L.
        first: index of the first token of each word, with L appended (length words + 1).
    """

    text: str
    words: tuple[Word, ...]
    tokens: tuple[int, ...]
    word_of: tuple[int, ...]
    first: tuple[int, ...]

    def span(self, begin: int, end: int, label: str, score: float | None = None) -> Span:
        """The span of tokens ``begin`` … ``end - 1``, which must begin and end with words."""
        words = self.words
        return Span(
            words[self.word_of[begin]].start, words[self.word_of[end - 1]].end, label, score
        )

    def slice(self, begin: int, end: int) -> TokenizedText:
        """Words ``begin`` … ``end - 1`` as a text of its own; offsets stay those of `text`."""
        low, high = self.first[begin], self.first[end]
        return TokenizedText(
            self.text,
            self.words[begin:end],
            self.tokens[low:high],
            tuple(w - begin for w in self.word_of[low:high]),
            tuple(t - low for t in self.first[begin : end + 1]),
        )


class Prompter:
    """Builds the token sequences of one tokenizer.

    Attributes:
        mention_end: token id that ends a mention (a line break).
        list_end: token id that ends the answer (an empty line).

    Raises:
        SamError: if the tokenizer has no usable token for either.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._ids = lru_cache(maxsize=200_000)(self._encode)
        self.mention_end = self._single("\n", "\t")
        self.list_end = self._single("\n\n", "\n\n\n", "\t\t", "\t", "\r", taken=self.mention_end)
        start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        self._head = (*start, *self._ids("Text:"))
        self._foot = (self.mention_end,)

    def _encode(self, piece: str) -> tuple[int, ...]:
        """Tokens of a piece of text, without special tokens.

        Encoded behind a line break that is cut off again: SentencePiece tokenizers that put a space
        before every text would otherwise add one to each word. Half characters, which no tokenizer
        takes, are read as replacement characters.
        """
        piece = _SURROGATE.sub("\ufffd", piece)
        ids = self.tokenizer.encode("\n" + piece, add_special_tokens=False)
        lead = self.tokenizer.encode("\n", add_special_tokens=False)
        if ids[: len(lead)] == lead and len(ids) > len(lead):
            return tuple(ids[len(lead) :])
        return tuple(self.tokenizer.encode(piece, add_special_tokens=False))

    def _single(self, *candidates: str, taken: int | None = None) -> int:
        for candidate in candidates:
            ids = self.tokenizer.encode(candidate, add_special_tokens=False)
            if ids and ids[-1] != taken and self.tokenizer.decode(ids[-1:]) == candidate:
                return int(ids[-1])
        if taken is not None and self.tokenizer.eos_token_id is not None:
            return int(self.tokenizer.eos_token_id)
        raise SamError(
            "This base model's tokenizer has no token for a line break.",
            "Choose another base model: SaM separates mentions by line breaks.",
        )

    def text(self, text: str) -> TokenizedText:
        """Tokenize a text word by word, so that no token crosses a word boundary."""
        words: list[Word] = []
        tokens: list[int] = []
        word_of: list[int] = []
        first: list[int] = []
        for word in split_words(text):
            surface = text[word.start : word.end]
            ids = self._ids(" " + surface if word.spaced else surface)
            if not ids:  # a sign that the tokenizer drops cannot be copied
                continue
            first.append(len(tokens))
            tokens.extend(ids)
            word_of.extend([len(words)] * len(ids))
            words.append(word)
        first.append(len(tokens))
        return TokenizedText(text, tuple(words), tuple(tokens), tuple(word_of), tuple(first))

    def prefix(self, text: TokenizedText) -> list[int]:
        """``<bos>Text: …\\n`` as token ids."""
        return [*self._head, *text.tokens, *self._foot]

    def phrase(self, text: str) -> list[int]:
        """Any piece of text as token ids, without special tokens."""
        return list(self._ids(text))

    def query(self, entity_type: str) -> list[int]:
        """``<type>:`` as token ids."""
        return list(self._ids(f"{entity_type}:"))

    def answer(self, text: TokenizedText, spans: Sequence[Span]) -> list[int]:
        """The answer tokens for one type's gold spans.

        Spans are widened to whole words; one that overlaps the span before it is left out, as an
        answer lists mentions from left to right without overlap.
        """
        tokens: list[int] = []
        done = 0
        for begin, end in self.token_ranges(text, spans):
            if begin < done:
                continue
            tokens.extend(text.tokens[begin:end])
            tokens.append(self.mention_end)
            done = end
        tokens.append(self.list_end)
        return tokens

    @staticmethod
    def token_ranges(text: TokenizedText, spans: Sequence[Span]) -> list[tuple[int, int]]:
        """Half-open token ranges of the words that the spans touch, sorted."""
        ranges: list[tuple[int, int]] = []
        for span in sorted(spans, key=lambda s: (s.start, -s.end)):
            touched = [
                i for i, w in enumerate(text.words) if w.start < span.end and span.start < w.end
            ]
            if touched:
                ranges.append((text.first[touched[0]], text.first[touched[-1] + 1]))
        return ranges
