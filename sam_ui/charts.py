"""Plotly figures from plain data; no Gradio here.

Only bar, scatter and heatmap traces are used (Gradio draws with an older plotly.js). Backgrounds
are transparent and the style sheet sets the colour of text, so that one figure serves light and dark.
Texts of people are escaped, because plotly reads a subset of HTML in labels and hovers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["count_chart", "fit_chart", "map_chart", "type_heatmap"]

SIMILARITY = "#0f8b8d"
PROBE = "#cf7d1e"
YOURS = "#cf7d1e"
GREY = "#8a94a3"
MOST_COLUMNS = 8
TITLE_WIDTH = 38
TOO_FEW = "too few spans to tell"
GRID = "rgba(128,140,155,0.22)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# Teal from nearly transparent to full: readable on a light and on a dark ground.
SCALE = [[0.0, "rgba(15,139,141,0.06)"], [0.5, "rgba(15,139,141,0.5)"], [1.0, "#0f8b8d"]]
# Okabe and Ito's colour-blind safe set, without the yellow that vanishes on white and our orange.
EXPERT_COLORS = ["#0f8b8d", "#7a5cc4", "#3b82c4", "#4f9e5b", "#b8557d", "#8a7245", "#5b6b7d"]
SYMBOLS = ["circle", "square", "triangle-up", "cross", "star", "hexagon", "pentagon"]


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _short(text: str, width: int = 26) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _column(name: str) -> str:
    return "<br>".join(_safe(part) for part in textwrap.wrap(_short(name, 30), 13)[:3])


def _wrapped(text: str, width: int = 60, lines: int = 6) -> str:
    parts = textwrap.wrap(text, width) or [""]
    if len(parts) > lines:
        parts = [*parts[: lines - 1], parts[lines - 1] + " …"]
    return "<br>".join(_safe(part) for part in parts)


def _titled(title: str) -> list[str]:
    """A title in lines that fit into a narrow window, of about the same length.

    >>> _titled("Which experts are close, and which agree?")
    ['Which experts are close,', 'and which agree?']
    """
    count = -(-len(title) // TITLE_WIDTH)
    for width in range(len(title) // max(1, count) + 4, TITLE_WIDTH):
        lines = textwrap.wrap(title, width)
        if len(lines) <= count:
            return lines
    return textwrap.wrap(title, TITLE_WIDTH)


def _more(title: str) -> int:
    """Pixels that the lines of a title after the first one take."""
    return 20 * max(0, len(_titled(title)) - 1)


def _figure(title: str, height: int, **layout: object) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        title={
            "text": "<br>".join(map(_safe, _titled(title))),
            "x": 0.015,
            "xref": "container",
            "font": {"size": 15},
        },
        height=height + _more(title),
        margin={"l": 8, "r": 12, "t": 46 + _more(title), "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": "#4b5563"},
        hoverlabel={"align": "left", "font": {"family": FONT, "size": 13}},
        legend={"orientation": "h", "y": -0.04, "yanchor": "top", "x": 0, "xanchor": "left"},
        **layout,
    )
    return figure


def fit_chart(
    names: Sequence[str],
    similarity: Sequence[float],
    probe: Sequence[tuple[float, float, float] | None],
    *,
    samples: int,
    corrected: int = 0,
    notes: Sequence[str] = (),
    title: str = "Which experts fit your texts?",
) -> go.Figure:
    """Two horizontal bars an expert: similarity, and probe F1 with its 95 % interval.

    Args:
        names: titles of the experts, best first; drawn from top to bottom.
        similarity: cosines in [-1, 1], parallel to `names`; negative ones are drawn as 0.
        probe: ``(f1, low, high)`` in [0, 1] for each expert, None where there are too few spans.
        samples: sentences that the probe ran on, `corrected` of them by the person.
        notes: parallel to `names`, what is to be said of an expert's probe ("stopped after 4 of 10
            sentences"), or nothing; none are needed.
    """
    import plotly.graph_objects as go

    labels = [_safe(_short(name)) for name in names]
    figure = _figure(title, 96 + 52 * max(1, len(names)), barmode="group", bargap=0.34)
    found = [score for score in probe if score is not None]
    told = [note and _safe(note) for note in notes] or [""] * len(labels)
    figure.add_trace(
        go.Bar(
            name="similarity to your texts",
            orientation="h",
            y=labels,
            x=[max(0.0, value) for value in similarity],
            marker={"color": SIMILARITY, "line": {"width": 0}},
            hovertext=[f"similarity {value:.2f}" for value in similarity],
            hoverinfo="text",
        )
    )
    figure.add_trace(
        go.Bar(
            name=_sampled(samples, corrected),
            orientation="h",
            y=labels,
            x=[score[0] if score else None for score in probe],
            marker={"color": PROBE, "line": {"width": 0}},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [score[2] - score[0] if score else 0 for score in probe],
                "arrayminus": [score[0] - score[1] if score else 0 for score in probe],
                "color": "#8a94a3",
                "thickness": 1.4,
                "width": 4,
                "visible": bool(found),
            },
            hovertext=[
                f"F1 {s[0]:.2f}, likely between {s[1]:.2f} and {s[2]:.2f}"
                + (f"<br>{note}" if note else "")
                if s
                else note or TOO_FEW
                for s, note in zip(probe, told, strict=True)
            ],
            hoverinfo="text",
        )
    )
    for label, score, note in zip(labels, probe, told, strict=True):
        if score is None:
            figure.add_annotation(
                x=0.01, y=label, text=note or TOO_FEW, showarrow=False, xanchor="left",
                yshift=-9, font={"size": 11},
            )  # fmt: skip
    figure.update_xaxes(range=[0, 1], gridcolor=GRID, zeroline=False, fixedrange=True, side="top")
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, ticksuffix="  ")
    figure.update_layout(margin={"t": 70 + _more(title)})
    return figure


def _sampled(samples: int, corrected: int) -> str:
    by_you = f", {corrected} corrected by you" if corrected else ""
    return f"agreement on {samples} sampled sentence{'' if samples == 1 else 's'}{by_you} (F1)"


def type_heatmap(
    experts: Sequence[str],
    types: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    title: str = "Who finds which type?",
) -> go.Figure:
    """Probe F1 of each expert (rows) for each type (columns); of many types, the other way round,
    so that the numbers stay readable.

    Args:
        values: ``values[expert][type]`` in [0, 1]; None where the type did not occur.
    """
    import plotly.graph_objects as go

    hovers = [
        [
            f"{_safe(expert)} · {_safe(kind)}<br>"
            + ("did not occur in the sample" if v is None else f"F1 {v:.2f}")
            for kind, v in zip(types, row, strict=True)
        ]
        for expert, row in zip(experts, values, strict=True)
    ]
    turned = len(types) > MOST_COLUMNS
    rows, columns, height = (types, experts, 28) if turned else (experts, types, 38)
    if turned:
        values, hovers = _transposed(values, len(types)), _transposed(hovers, len(types))
    figure = _figure(title, 200 + height * max(1, len(rows)))
    figure.add_trace(
        go.Heatmap(
            z=[list(row) for row in values],
            # Numbers and not names: two that are cut to the same would be one.
            x=list(range(len(columns))),
            y=list(range(len(rows))),
            zmin=0,
            zmax=1,
            colorscale=SCALE,
            xgap=3,
            ygap=3,
            text=[["–" if v is None else f"{v:.2f}" for v in row] for row in values],
            texttemplate="%{text}",
            textfont={"size": 11 if len(columns) > 5 else 13},
            hovertext=hovers,
            hoverinfo="text",
            showscale=False,
        )
    )
    plain = {"fixedrange": True, "showgrid": False, "zeroline": False, "automargin": True}
    figure.update_yaxes(autorange="reversed", **plain, **_ticks([_short(name) for name in rows]))
    few = len(columns) <= 5
    named = [_column(name) if few else _short(name, 16) for name in columns]
    figure.update_xaxes(side="top", **plain, **_ticks(named, safe=few))
    # Slanting to the left: to the right, the last name would leave the picture.
    figure.update_xaxes(**({"autotickangles": [0, 40, 90]} if few else {"tickangle": 40}))
    figure.update_layout(margin={"t": (84 if few else 148) + _more(title)})
    if not few:  # the slanting names take the place of the title
        figure.update_layout(title={"y": 1, "yanchor": "top", "pad": {"t": 14}})
    return figure


def _transposed(rows: Sequence[Sequence[Any]], columns: int) -> list[list[Any]]:
    return [[row[i] for row in rows] for i in range(columns)]


def _ticks(names: Sequence[str], *, safe: bool = False) -> dict[str, Any]:
    """Names at 0, 1, 2 …; `safe` ones are escaped already."""
    texts = list(names) if safe else [_safe(name) for name in names]
    return {"tickvals": list(range(len(names))), "ticktext": texts}


def map_chart(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    experts: Mapping[str, Sequence[tuple[float, float]]],
    *,
    others: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    title: str = "Where do your texts lie?",
) -> go.Figure:
    """The person's sentences among the experts' training sentences, in two dimensions.

    Args:
        points: one ``(x, y)`` a sentence; the axes have no unit, only nearness means something.
        texts: parallel to `points`, shown on hover.
        experts: title -> points of its exemplars, on the same axes; each is named on the map.
        others: the same of experts that are drawn in grey and named when pointed at.
    """
    import plotly.graph_objects as go

    figure = _figure(title, 480)
    if others:
        figure.add_trace(
            go.Scatter(
                name="other experts",
                mode="markers",
                x=[x for cloud in others.values() for x, _ in cloud],
                y=[y for cloud in others.values() for _, y in cloud],
                marker={"size": 5, "opacity": 0.35, "color": GREY},
                hovertext=[_safe(name) for name, cloud in others.items() for _ in cloud],
                hoverinfo="text",
            )
        )
    for index, (name, cloud) in enumerate(experts.items()):
        figure.add_trace(
            go.Scatter(
                name=_safe(_short(name)),
                mode="markers",
                x=[x for x, _ in cloud],
                y=[y for _, y in cloud],
                marker={
                    "size": 7,
                    "opacity": 0.75,
                    "color": EXPERT_COLORS[index % len(EXPERT_COLORS)],
                    "symbol": SYMBOLS[index % len(SYMBOLS)],
                },
                hovertext=_safe(name),
                hoverinfo="text",
            )
        )
    figure.add_trace(
        go.Scatter(
            name="your sentences",
            mode="markers",
            x=[x for x, _ in points],
            y=[y for _, y in points],
            marker={
                "size": 10,
                "color": YOURS,
                "symbol": "diamond",
                "line": {"width": 1, "color": "#ffffff"},
            },
            hovertext=[_wrapped(text) for text in texts],
            hoverinfo="text",
        )
    )
    clouds = (points, *experts.values(), *(others or {}).values())
    every = [point for cloud in clouds for point in cloud]
    for name, x, y, color in _places(experts, every):
        figure.add_annotation(
            x=x, y=y, text=_safe(_short(name)), showarrow=False, font={"size": 12},
            bgcolor="#ffffff", bordercolor=color, borderwidth=1.5, borderpad=3, opacity=0.9,
        )  # fmt: skip
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
    figure.update_xaxes(**hidden)
    figure.update_yaxes(**hidden)
    figure.update_layout(dragmode="pan", hovermode="closest")
    return figure


def _places(
    experts: Mapping[str, Sequence[tuple[float, float]]], every: Sequence[tuple[float, float]]
) -> list[tuple[str, float, float, str]]:
    """(name, x, y, colour) of each domain's label: in its middle, or above a label that is there.

    Args:
        every: all points of the map, which say how large it is.
    """
    if not every:
        return []
    wide = max(x for x, _ in every) - min(x for x, _ in every)
    high = max(y for _, y in every) - min(y for _, y in every)
    placed: list[tuple[str, float, float, str]] = []
    for index, (name, cloud) in enumerate(experts.items()):
        if not cloud:
            continue
        x, y = median(x for x, _ in cloud), median(y for _, y in cloud)
        while any(abs(x - a) < 0.3 * wide and abs(y - b) < 0.064 * high for _, a, b, _ in placed):
            y += 0.065 * high + 1e-6
        placed.append((name, x, y, EXPERT_COLORS[index % len(EXPERT_COLORS)]))
    return placed


def count_chart(
    counts: Mapping[str, int],
    colors: Mapping[str, str],
    *,
    title: str = "What was found?",
) -> go.Figure:
    """Entities found, one bar a type, in the colours of the types."""
    import plotly.graph_objects as go

    figure = _figure(title, 92 + 30 * max(1, len(counts)), bargap=0.3)
    labels = [_safe(_short(name)) for name in counts]
    figure.add_trace(
        go.Bar(
            orientation="h",
            y=labels,
            x=list(counts.values()),
            marker={"color": [colors.get(name, "#9aa3af") for name in counts]},
            text=[f"{count:,}" for count in counts.values()],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(
        visible=False, fixedrange=True, range=[0, 1.18 * max([1, *counts.values()])]
    )
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, ticksuffix="  ")
    figure.update_layout(showlegend=False)
    return figure
