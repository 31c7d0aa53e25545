"""Colours of entity types: backgrounds on which dark text is read (contrast of 7:1 and more).

Types are told apart by hue and by lightness: colour-blind people see the second. A span always
names its type too.
"""

from __future__ import annotations

import colorsys
from collections.abc import Collection

__all__ = ["PALETTE", "next_color"]

PALETTE = (
    "#90a8f8",
    "#efebac",
    "#f58bad",
    "#c3f3dd",
    "#d5d4fa",
    "#a4b354",
    "#10cbbf",
    "#d2b798",
    "#afa5d4",
    "#f3b5cd",
    "#bfdd7e",
    "#80fcf0",
    "#8ab779",
    "#d6baff",
    "#8edcbb",
    "#ddeec9",
)
"""Chosen by search: also to eyes that lack red, green or blue, any two of the first eight are at
least 10 apart (CIEDE2000, where 1 is just noticed and 100 is black on white), of all 5.8.
"""

GOLDEN_ANGLE = 0.381966


def next_color(taken: Collection[str]) -> str:
    """The first colour of the palette that is not taken; past its end, further light hues."""
    for color in PALETTE:
        if color not in taken:
            return color
    number = len(taken)
    while True:
        r, g, b = colorsys.hls_to_rgb(number * GOLDEN_ANGLE % 1.0, 0.84, 0.65)
        color = f"#{round(r * 255):02x}{round(g * 255):02x}{round(b * 255):02x}"
        if color not in taken:
            return color
        number += 1
