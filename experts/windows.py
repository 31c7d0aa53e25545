"""Long texts in overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator

from experts.prompt import Prompter, TokenizedText

__all__ = ["text_limit", "windows"]

_OVERLAP_WORDS = 40
_TEXT_TOKENS = 320  # longer texts are read in windows
_LEAST_TEXT_TOKENS = 16  # windows of less tell nothing


def text_limit(prompter: Prompter, longest: int, positions: int | None) -> int | None:
    """Tokens of text for which a model has positions enough, whatever the answer.

    Args:
        longest: tokens of the longest type query.
        positions: of the model; None where that is not known.

    Returns:
        None if no text worth reading fits.
    """
    if positions is None:
        return _TEXT_TOKENS
    around = len(prompter.prefix(prompter.text(""))) + longest
    # At worst the answer copies every token, each a mention with a line break of its own.
    room = (positions - around) // 3
    return min(_TEXT_TOKENS, room) if room >= _LEAST_TEXT_TOKENS else None


def windows(text: TokenizedText, limit: int) -> Iterator[TokenizedText]:
    """Cut a text into windows of at most `limit` tokens, of whole words.

    Neighbours share up to 40 words, so that a mention at an edge is whole in one of them. A word of
    more than `limit` tokens (a genome, a file in base64) is in no window: it cannot be read.
    """
    first, count = text.first, len(text.words)
    begin = 0
    while begin < count:
        end = begin
        while end < count and first[end + 1] - first[begin] <= limit:
            end += 1
        if end > begin:
            yield text.slice(begin, end)
        if end < count and first[end + 1] - first[end] > limit:
            begin = end + 1
        elif end == count:
            return
        else:
            begin = max(begin + 1, end - min(_OVERLAP_WORDS, (end - begin) // 2))
