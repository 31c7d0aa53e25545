"""Sentences with coloured spans, to read (the editor is another component)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from experts.spans import Span, drop_overlaps
from sam_ui.markup import attrs, color_or_grey, esc, percent
from sam_ui.words import _

__all__ = ["DOUBTFUL", "legend_html", "spans_html"]

DOUBTFUL = 0.5
"""Spans less probable than this are drawn with a dashed line."""


def spans_html(
    text: str,
    spans: Sequence[Span],
    colors: Mapping[str, str],
    *,
    fresh: Collection[tuple[int, int, str]] = (),
    fresh_tip: str = "",
) -> str:
    """`text` as HTML with each span marked in the colour of its type.

    Args:
        text: one sentence; it is escaped, and its line breaks are kept by the style sheet.
        spans: offsets in code points of `text`. Of overlapping spans the likeliest is drawn. Spans
            that do not lie inside `text` are left out rather than drawn in the wrong place.
        colors: type name -> ``#rrggbb``; other values are drawn grey.
        fresh: keys of spans that were not there before; they are outlined.
        fresh_tip: what is said of these; empty: that they are new.

    Returns:
        HTML whose text content without the labels is exactly `text`:
        ``spans_html("Ada met", [Span(0, 3, "person")], {})`` marks ``Ada``.
    """
    inside = [span for span in spans if 0 <= span.start < span.end <= len(text)]
    parts: list[str] = []
    position = 0
    for span in drop_overlaps(inside):
        parts.append(esc(text[position : span.start]))
        new = (fresh_tip or _("new")) if span.key in fresh else ""
        parts.append(_mark(text[span.start : span.end], span, colors, new))
        position = span.end
    parts.append(esc(text[position:]))
    return f'<span class="sam-text" dir="auto">{"".join(parts)}</span>'


def _mark(surface: str, span: Span, colors: Mapping[str, str], new: str) -> str:
    tip = span.label
    doubtful = False
    if span.score is not None:
        tip = _("{type} · {share} sure", type=span.label, share=percent(span.score))
        doubtful = span.score < DOUBTFUL
    if new:
        tip += f", {new}"
    written = attrs(
        class_="sam-span" + " doubtful" * doubtful + " fresh" * bool(new),
        style=f"--c:{color_or_grey(colors.get(span.label))}",
        title=tip,
        data_label=span.label,
        data_score=None if span.score is None else f"{span.score:.3f}",
    )
    # The label is drawn from the attribute by the style sheet: copying a sentence copies the text
    # alone, and a screen reader hears the type once, from the title.
    return f"<mark {written}>{esc(surface)}</mark>"


def legend_html(colors: Mapping[str, str]) -> str:
    """The types with their colours, in order."""
    chips = "".join(
        f'<span class="sam-key" style="--c:{color_or_grey(color)}">{esc(name)}</span>'
        for name, color in colors.items()
    )
    return f'<div class="sam-legend">{chips}</div>' if chips else ""
