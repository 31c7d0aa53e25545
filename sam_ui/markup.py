"""Small pieces of HTML for the screens. Everything that comes from a person goes through `esc`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from sam_ui.words import _

__all__ = [
    "attrs",
    "color_or_grey",
    "emphasis",
    "empty",
    "esc",
    "number",
    "percent",
    "skeleton",
    "tag",
]

GREY = "#d5dae1"
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def esc(text: object) -> str:
    """`text` as inert HTML, quotes included, so that it also fits into an attribute."""
    return html.escape(str(text), quote=True)


def color_or_grey(color: str | None) -> str:
    """`color` if it is ``#rrggbb``, else a neutral grey (it ends up in a style attribute)."""
    return color if color and _COLOR.fullmatch(color) else GREY


def attrs(**values: object) -> str:
    """HTML attributes: ``attrs(data_act="go", disabled=True)`` -> ``data-act="go" disabled``.

    False and None leave the attribute out, True writes its bare name, a trailing underscore is
    dropped (``class_``).
    """
    parts = []
    for key, value in values.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(name)
        elif value is not None and value is not False:
            parts.append(f'{name}="{esc(value)}"')
    return " ".join(parts)


def tag(name: str, inner: str = "", **values: object) -> str:
    """An element around `inner`, which is HTML already."""
    written = attrs(**values)
    return f"<{name}{' ' + written if written else ''}>{inner}</{name}>"


def emphasis(text: str) -> str:
    """Escaped text in which ``*words*`` become bold: the only markup that services may send."""
    return re.sub(r"\*([^*\n]+)\*", r"<strong>\1</strong>", esc(text))


def percent(share: float) -> str:
    """``percent(0.936)`` -> ``"94 %"``."""
    return f"{round(100 * share)} %"


def number(count: int, one: str, many: str | None = None) -> str:
    """``number(2, "sentence")`` -> ``"2 sentences"``; thousands are grouped."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def empty(title: str, what_now: str) -> str:
    """The empty state of a panel: what is missing and what to do about it."""
    return (
        f'<div class="sam-empty"><p class="sam-empty-title">{esc(title)}</p>'
        f"<p>{esc(what_now)}</p></div>"
    )


def skeleton(lines: Iterable[int] = (96, 82, 90, 64), *, label: str = "") -> str:
    """Grey bars in the shape of what is coming (widths in percent), so that nothing jumps.

    Args:
        label: what a screen reader says; empty: that SaM is working.
    """
    bars = "".join(f'<span style="width:{width}%"></span>' for width in lines)
    return tag("div", bars, class_="sam-skeleton", role="status", aria_label=label or _("Working"))
