"""The drawings of the help: inline SVG in the colours of the theme, words from `help_texts`."""

from __future__ import annotations

from collections.abc import Callable

from sam_ui.help_texts import LABELS
from sam_ui.markup import esc
from sam_ui.words import _

__all__ = ["PICTURES", "picture"]

# Places of the sentences on the drawn map: three groups, and the person's among the first.
_SHIPS = ((86, 66), (112, 48), (128, 84), (98, 98), (146, 58), (70, 86), (118, 112), (152, 96))
_RECIPES = ((330, 44), (352, 66), (372, 40), (340, 88), (388, 78), (364, 100))
_STARS = ((262, 158), (286, 178), (310, 156), (248, 186), (328, 184), (290, 202))
_YOURS = ((132, 70), (158, 80), (120, 94), (172, 62), (144, 108))


def _text(x: float, y: float, said: object, kind: str = "") -> str:
    extra = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{extra}>{esc(said)}</text>'


def _dots(points: tuple[tuple[int, int], ...], kind: str) -> str:
    return "".join(f'<circle cx="{x}" cy="{y}" r="5" class="{kind}"/>' for x, y in points)


def _similarity() -> str:
    clouds = "".join(
        f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" class="cloud"/>'
        for x, y, rx, ry in ((112, 80, 78, 58), (360, 70, 62, 52), (288, 178, 72, 44))
    )
    mine = "".join(
        f'<path d="M{x} {y - 7}l7 7l-7 7l-7 -7z" class="mine"/>' for x, y in _YOURS
    )  # diamonds, as on the map of the step
    lines = (
        '<path d="M112 80L146 83" class="near"/><path d="M146 83L360 70" class="far"/>'
        '<circle cx="112" cy="80" r="8" class="mean"/><circle cx="360" cy="70" r="8" class="mean"/>'
        '<circle cx="146" cy="83" r="8" class="mean you"/>'
    )
    words = (
        _text(92, 20, _(LABELS["ships"]), "strong")
        + _text(360, 14, _(LABELS["recipes"]), "strong")
        + _text(392, 210, _(LABELS["stars"]), "strong")
        + _text(206, 116, _(LABELS["you"]), "own")
        + _text(96, 160, _(LABELS["near"]))
        + _text(244, 66, _(LABELS["far"]))
    )
    return (
        clouds
        + _dots(_SHIPS, "e1")
        + _dots(_RECIPES, "e2")
        + _dots(_STARS, "e3")
        + mine
        + lines
        + words
    )


def _probe() -> str:
    """Three rows of one sentence; a box lies under each name that an expert found."""
    words = LABELS["sentence"]
    sizes = [12 + 9 * len(_(word)) for word in words]
    middles = [108 + sum(sizes[:n]) + size / 2 for n, size in enumerate(sizes)]
    rows = ""
    for row, found in enumerate(LABELS["found"]):
        y = 44 + 58 * row
        rows += f'<rect x="6" y="{y - 22}" width="86" height="34" rx="10" class="expert"/>'
        rows += _text(49, y, f"{_(LABELS['expert'])} {row + 1}")
        for word, size, middle in zip(words, sizes, middles, strict=True):
            named = word in found
            if named:
                kind = "hit" if word in LABELS["found"][0] else "wrong"
                rows += (
                    f'<rect x="{middle - size / 2 + 1:g}" y="{y - 18}" width="{size - 2:g}" '
                    f'height="26" rx="6" class="{kind}"/>'
                )
            rows += _text(middle, y, _(word), "run named" if named else "run")
        rows += _text(430, y, _(LABELS["scores"][row]), "strong")
        if row < 2:
            rows += f'<path d="M6 {y + 26}H454" class="rule"/>'
    return rows


def _merging() -> str:
    layers = ""
    for row, (part, height) in enumerate(zip(LABELS["mix"], (30, 18, 12), strict=True)):
        y = 34 + 56 * row
        layers += (
            f'<rect x="8" y="{y}" width="116" height="14" rx="5" class="layer e{row + 1}"/>'
            + _text(66, y + 33, f"{_(LABELS['expert'])} {row + 1}")
            + _text(160, y + 12, part, "strong")
            + f'<path d="M190 {y + 7}C232 {y + 7} 232 104 268 104" class="near"/>'
            # how much of each ends up in the mixture
            + f'<rect x="300" y="{(60, 90, 108)[row]}" width="150" height="{height}" '
            f'class="layer e{row + 1}"/>'
        )
    return (
        layers
        + '<circle cx="272" cy="104" r="15" class="plus"/><path d="M272 96v16M264 104h16" class="sign"/>'
        + _text(375, 48, _(LABELS["merged"]), "strong")
        + '<rect x="300" y="130" width="150" height="56" rx="10" class="base"/>'
        + _text(375, 163, _(LABELS["base"]))
    )


def _overview() -> str:
    boxes = "".join(
        f'<rect x="180" y="{y}" width="112" height="30" rx="8" class="expert{on}"/>'
        + _text(236, y + 20, _(LABELS[name]))
        for y, name, on in ((24, "ships", " on"), (66, "recipes", ""), (108, "stars", " on"))
    )
    return (
        '<path d="M24 22h72l20 20v88h-92z" class="paper"/>'
        '<path d="M38 56h62M38 74h54M38 92h62M38 110h40" class="rule"/>'
        + _text(70, 156, _(LABELS["texts"]))
        + _text(70, 176, _(LABELS["types"]), "own")
        + '<path d="M122 76H172" class="near"/>'
        + boxes
        + _text(236, 160, _(LABELS["experts"]))
        + '<path d="M292 39C330 39 330 81 352 81M292 123C330 123 330 81 352 81" class="near"/>'
        '<rect x="354" y="52" width="98" height="58" rx="12" class="model"/>'
        + _text(403, 86, _(LABELS["model"]), "in")
    )


PICTURES: dict[str, tuple[int, Callable[[], str]]] = {
    "overview": (190, _overview),
    "similarity": (226, _similarity),
    "probe": (192, _probe),
    "merging": (206, _merging),
}
"""Name -> height on a drawing 460 wide, and what draws it."""


def picture(name: str, said: str) -> str:
    """A drawing as SVG; `said` is what a screen reader says of it.

    Raises:
        KeyError: there is no such drawing.
    """
    height, draw = PICTURES[name]
    return (
        f'<svg class="sam-help-picture" viewBox="0 0 460 {height}" role="img" '
        f'aria-label="{esc(said)}">{draw()}</svg>'
    )
