"""Where a character stands, for programs that count in UTF-16 units.

Python counts code points. JavaScript, and so the page of doccano, counts UTF-16 units, in which an
emoji and other characters beyond U+FFFF count two.
"""

from __future__ import annotations

from itertools import accumulate

__all__ = ["Utf16", "beyond_bmp"]


def beyond_bmp(text: str) -> bool:
    """Whether the two ways of counting differ in this text."""
    return not text.isascii() and max(text, default="") > "\uffff"


class Utf16:
    """Offsets of one text in both ways of counting.

    >>> count = Utf16("a😀b")
    >>> [count.units(i) for i in range(4)], [count.points(i) for i in range(5)]
    ([0, 1, 3, 4], [0, 1, None, 2, 3])
    """

    def __init__(self, text: str) -> None:
        self._units: list[int] | None = None
        self._length = len(text)
        if beyond_bmp(text):
            self._units = [0, *accumulate(2 if char > "\uffff" else 1 for char in text)]
            self._points = {unit: point for point, unit in enumerate(self._units)}

    def units(self, point: int) -> int:
        """UTF-16 units before code point `point`, which must lie in the text or at its end."""
        return point if self._units is None else self._units[point]

    def points(self, unit: int) -> int | None:
        """Code points before UTF-16 unit `unit`; None outside the text or inside a character."""
        if self._units is None:
            return unit if 0 <= unit <= self._length else None
        return self._points.get(unit)
