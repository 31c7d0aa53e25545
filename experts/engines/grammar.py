"""The valid answers to one text as a grammar that a server can enforce.

An answer is a list of mentions copied from the text, from left to right, without overlap, as
`experts.decoding.CopyState` has it. With words w₀ … wₙ₋₁, ``<nl>`` after a mention and ``<end>`` at
the end, the grammar has two rules a word, so it grows linearly with the text::

    gᵢ ::= mᵢ | gᵢ₊₁            between mentions, the next of which begins at word i or later
    mᵢ ::= wᵢ (<nl> gᵢ₊₁ | mᵢ₊₁)  a mention that has come to word i
    gₙ ::= <end>                 and mₙ₋₁ ::= wₙ₋₁ <nl> gₙ

A mention that occurs several times has several readings. Whatever may follow the last of them may
follow the first as well, so that the language is just that of `CopyState`, which takes the first.
"""

from __future__ import annotations

from collections.abc import Callable

from experts.prompt import TokenizedText

__all__ = ["text_grammar", "token_grammar"]


def token_grammar(text: TokenizedText, mention_end: int, list_end: int | None) -> str:
    """The grammar over token ids, in XGrammar's EBNF: ``Token(n)`` is the token n and nothing else.

    It admits the very token sequences that `CopyState` admits, in the same tokenization.

    Args:
        text: n words.
        mention_end, list_end: token ids as of `experts.prompt.Prompter`; ``None`` where the answer
            is ended by the token that ends all generation, which no grammar names.
    """
    first = text.first

    def word(i: int) -> str:
        return " ".join(f"Token({token})" for token in text.tokens[first[i] : first[i + 1]])

    end = '""' if list_end is None else f"Token({list_end})"
    return _rules(len(text.words), word, f"Token({mention_end})", end)


def text_grammar(text: TokenizedText, mention_end: str, list_end: str) -> str:
    """The grammar over characters, in the EBNF that XGrammar and llama.cpp share.

    It leaves to the server how an answer is cut into tokens.

    Args:
        text: n words.
        mention_end, list_end: what the two tokens stand for, e.g. a line break and an empty line;
            "" for the latter as for `token_grammar`.
    """

    def word(i: int) -> str:
        at = text.words[i]
        surface = text.text[at.start : at.end]
        return _quoted(" " + surface if at.spaced else surface)

    return _rules(len(text.words), word, _quoted(mention_end), _quoted(list_end))


def _rules(words: int, word: Callable[[int], str], newline: str, end: str) -> str:
    lines = ["root ::= g0"]
    for i in range(words):
        more = f" | m{i + 1}" if i + 1 < words else ""
        lines.append(f"g{i} ::= m{i} | g{i + 1}")
        lines.append(f"m{i} ::= {word(i)} ({newline} g{i + 1}{more})")
    lines.append(f"g{words} ::= {end}")
    return "\n".join(lines) + "\n"


def _quoted(piece: str) -> str:
    """A string literal as all of XGrammar, llama.cpp and llguidance's converter read it."""
    return '"' + "".join(_ESCAPES.get(c) or _escaped(c) for c in piece) + '"'


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02X}"
    # half a character, which the prompt shows as a replacement
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else char
