"""Plotly figures from plain data; no Gradio here.

Only bar, scatter and heatmap traces are used (Gradio draws with an older plotly.js). Backgrounds
are transparent and the style sheet sets the colour of text, so that one figure serves light and dark.
Texts of people are escaped, because plotly reads a subset of HTML in labels and hovers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["count_chart", "fit_chart", "map_chart", "type_heatmap"]

SIMILARITY = "#0f8b8d"
PROBE = "#e08e2b"
YOURS = "#e08e2b"
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


def _figure(title: str, height: int, **layout: object) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "x": 0.015, "xref": "container", "font": {"size": 15}},
        height=height,
        margin={"l": 8, "r": 12, "t": 46, "b": 8},
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
    notes: Sequence[str] = (),
    title: str = "Which experts fit your texts?",
) -> go.Figure:
    """Two horizontal bars an expert: similarity, and probe F1 with its 95 % interval.

    Args:
        names: titles of the experts, best first; drawn from top to bottom.
        similarity: cosines in [-1, 1], parallel to `names`; negative ones are drawn as 0.
        probe: ``(f1, low, high)`` in [0, 1] for each expert, None where there are too few spans.
        samples: sentences that the probe ran on.
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
            marker={"color": SIMILARITY},
            hovertext=[f"similarity {value:.2f}" for value in similarity],
            hoverinfo="text",
        )
    )
    figure.add_trace(
        go.Bar(
            name=f"agreement on {samples} sampled sentences (F1)",
            orientation="h",
            y=labels,
            x=[score[0] if score else None for score in probe],
            marker={"color": PROBE},
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
    figure.update_layout(margin={"t": 70})
    return figure


def type_heatmap(
    experts: Sequence[str],
    types: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    title: str = "Who finds which type?",
) -> go.Figure:
    """Probe F1 of each expert (rows) for each type (columns).

    Args:
        values: ``values[expert][type]`` in [0, 1]; None where the type did not occur.
    """
    import plotly.graph_objects as go

    figure = _figure(title, 150 + 38 * max(1, len(experts)))
    names = [_safe(_short(name)) for name in experts]
    columns = [_column(name) for name in types]
    figure.add_trace(
        go.Heatmap(
            z=[list(row) for row in values],
            x=columns,
            y=names,
            zmin=0,
            zmax=1,
            colorscale=SCALE,
            xgap=3,
            ygap=3,
            text=[["–" if v is None else f"{v:.2f}" for v in row] for row in values],
            texttemplate="%{text}",
            hovertext=[
                [
                    f"{name} · {column.replace('<br>', ' ')}<br>"
                    + ("did not occur in the sample" if v is None else f"F1 {v:.2f}")
                    for column, v in zip(columns, row, strict=True)
                ]
                for name, row in zip(names, values, strict=True)
            ],
            hoverinfo="text",
            showscale=False,
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, showgrid=False)
    figure.update_xaxes(side="top", automargin=True, fixedrange=True, showgrid=False, tickangle=0)
    if len(types) > 7:
        figure.update_xaxes(tickangle=-40)
    figure.update_layout(margin={"t": 84})
    return figure


def map_chart(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    experts: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str = "Where do your texts lie?",
) -> go.Figure:
    """The person's sentences among the experts' training sentences, in two dimensions.

    Args:
        points: one ``(x, y)`` a sentence; the axes have no unit, only nearness means something.
        texts: parallel to `points`, shown on hover.
        experts: title -> points of its exemplars, on the same axes.
    """
    import plotly.graph_objects as go

    figure = _figure(title, 470)
    for index, (name, cloud) in enumerate(experts.items()):
        figure.add_trace(
            go.Scatter(
                name=_safe(_short(name)),
                mode="markers",
                x=[x for x, _ in cloud],
                y=[y for _, y in cloud],
                marker={
                    "size": 7,
                    "opacity": 0.45,
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
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
    figure.update_xaxes(**hidden)
    figure.update_yaxes(**hidden)
    figure.update_layout(dragmode="pan", hovermode="closest")
    return figure


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
