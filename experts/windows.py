"""Long texts in overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator

from experts.prompt import TokenizedText

__all__ = ["windows"]

_OVERLAP_WORDS = 40


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
