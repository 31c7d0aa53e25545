"""Colours of entity types: light backgrounds that dark text is read on (contrast above 7:1)."""

from __future__ import annotations

import colorsys
from collections.abc import Collection

__all__ = ["PALETTE", "next_color"]

PALETTE = (
    "#ffd6a5",
    "#bde0fe",
    "#caffbf",
    "#ffc8dd",
    "#e2d4ff",
    "#fdf3a7",
    "#a8ece0",
    "#ffb8b0",
    "#d5e3a1",
    "#c3cdf9",
    "#f3c4fb",
    "#b8e8fc",
    "#e8d5b7",
    "#b9f3d0",
    "#f7d1cd",
    "#d7dde5",
)
"""Neighbours differ clearly, the first twelve also to colour-blind eyes in most pairs."""

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
