"""Entity types are told apart and read by everybody: contrast, and colours as the colour-blind see."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from experts.assets import assets_dir
from sam_ui.services.palette import PALETTE, next_color

INK = "#17212b"
"""The text on a coloured span, in light and dark mode (`--sam-on-type` of the style sheet)."""

# Machado, Oliveira and Fernandes 2009, severity 1.0, for linear RGB.
EYES = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
WHITE = [0.95047, 1.0, 1.08883]


def linear(color: str) -> np.ndarray:
    """``#rrggbb`` as linear RGB."""
    srgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG's ratio, 1 to 21."""
    light, dark = sorted((linear(c) @ TO_XYZ[1] for c in (one, other)), reverse=True)
    return float((light + 0.05) / (dark + 0.05))


def lab(color: str, eyes: str) -> np.ndarray:
    """CIE L*a*b* of a colour as these eyes see it."""
    xyz = np.asarray(TO_XYZ) @ np.clip(np.asarray(EYES[eyes]) @ linear(color), 0, 1) / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """CIEDE2000 (Sharma, Wu and Dalal 2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    a1, a2 = (a * (1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25**7))) for a in (a1, a2))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    waves = ((1, 30, -0.17), (2, 0, 0.24), (3, -6, 0.32), (4, 63, -0.2))
    t = 1 + sum(size * np.cos(np.radians(n * hue - shift)) for n, shift, size in waves)
    sl = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    dl = (l2 - l1) / sl
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    bend = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    mixed = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * bend * dc * dh
    return float(np.sqrt(dl**2 + dc**2 + dh**2 + mixed))


def smallest(colors: tuple[str, ...], eyes: str) -> float:
    seen = [lab(color, eyes) for color in colors]
    return min(distance(one, other) for one, other in combinations(seen, 2))


def test_the_distance_is_that_of_the_published_pairs() -> None:
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for one, other, told in pairs:
        assert distance(np.array(one), np.array(other)) == pytest.approx(told, abs=1e-4)


@pytest.mark.parametrize("eyes", EYES)
def test_types_are_told_apart(eyes: str) -> None:
    assert smallest(PALETTE[:8], eyes) > 10
    assert smallest(PALETTE, eyes) > 5.7


def test_text_on_every_type_is_read() -> None:
    taken: list[str] = []
    for _ in range(100):  # past the palette too
        taken.append(next_color(taken))
    assert min(contrast(color, INK) for color in taken) >= 7


def test_the_style_sheets_use_this_ink() -> None:
    css = (assets_dir() / "css" / "1-base.css").read_text("utf-8")
    assert re.search(rf"--sam-on-type: {INK};", css)


def variables(scheme: str) -> dict[str, str]:
    """The theme's colours: ``{"ink": "#1c2733", …}``."""
    css = (assets_dir() / "css" / "1-base.css").read_text("utf-8")
    blocks = {
        name: re.search(rf"^{name} {{(.*?)^}}", css, re.S | re.M) for name in (":root", ".dark")
    }
    found: dict[str, str] = {}
    for name in (":root", ".dark") if scheme == "dark" else (":root",):
        block = blocks[name]
        assert block is not None
        found |= dict(re.findall(r"--sam-([\w-]+): (#[0-9a-f]{6});", block[1]))
    return found


GROUNDS = ("ground", "card", "inset", "accent-soft", "warm-soft", "bad-soft")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_is_read_on_every_ground(scheme: str) -> None:
    colors = variables(scheme)
    for text in ("ink", "soft", "accent", "warm", "bad"):
        for ground in GROUNDS:
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for ground in ("ground", "card", "inset"):
        assert contrast(colors["edge"], colors[ground]) >= 3, ground


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_doubtful_span_is_read(scheme: str) -> None:
    colors = variables(scheme)
    css = (assets_dir() / "css" / "1-base.css").read_text("utf-8")
    shares = [int(part) / 100 for part in re.findall(r"--sam-doubt: (\d+)%", css)]
    share = shares[0] if scheme == "light" else shares[1]
    for color in PALETTE:
        parts = [
            share * int(color[i : i + 2], 16) + (1 - share) * int(colors["card"][i : i + 2], 16)
            for i in (1, 3, 5)
        ]
        mixed = "#" + "".join(f"{round(part):02x}" for part in parts)
        assert contrast(colors["ink"], mixed) >= 4.5, color
