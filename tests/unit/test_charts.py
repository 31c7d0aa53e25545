"""Figures from plain data: what is drawn, in which order, and that texts stay texts."""

from __future__ import annotations

from experts.assets import assets_dir
from sam_ui.charts import PROBE, SIMILARITY, count_chart, fit_chart, map_chart, type_heatmap

ALLOWED = {"bar", "scatter", "heatmap"}


def test_fit_chart_has_two_bars_an_expert_and_its_interval() -> None:
    figure = fit_chart(["Nature", "Law"], [0.6, -0.2], [(0.5, 0.3, 0.6), None], samples=10)
    similarity, probe = figure.data
    assert list(similarity.x) == [0.6, 0.0]
    assert list(probe.x) == [0.5, None]
    assert probe.error_x.array[0] == 0.6 - 0.5
    assert probe.error_x.arrayminus[0] == 0.5 - 0.3
    assert "10 sampled sentences" in probe.name
    assert [note.text for note in figure.layout.annotations] == ["too few spans to tell"]
    assert figure.layout.annotations[0].y == "Law"


def test_the_best_expert_is_on_top() -> None:
    figure = fit_chart(["first", "second"], [0.6, 0.2], [None, None], samples=4)
    assert figure.data[0].y[0] == "first"
    assert figure.layout.yaxis.autorange == "reversed"


def test_heatmap_tells_missing_from_zero() -> None:
    figure = type_heatmap(["Nature"], ["lake", "person"], [[0.0, None]])
    (trace,) = figure.data
    assert list(trace.text[0]) == ["0.00", "–"]
    assert "did not occur" in trace.hovertext[0][1]
    assert (trace.zmin, trace.zmax) == (0, 1)
    assert list(figure.layout.yaxis.ticktext) == ["Nature"]
    assert list(figure.layout.xaxis.ticktext) == ["lake", "person"]


def test_many_types_are_rows_and_keep_apart() -> None:
    types = [f"a very long type of thing number {i}" for i in range(30)]
    figure = type_heatmap(["Nature", "Law"], types, [[0.5] * 30, [None] * 30])
    (trace,) = figure.data
    assert len(trace.z) == 30
    assert list(trace.text[0]) == ["0.50", "–"]
    assert trace.hovertext[29][0] == "Nature · a very long type of thing number 29<br>F1 0.50"
    assert list(figure.layout.xaxis.ticktext) == ["Nature", "Law"]
    assert figure.layout.height > 30 * 26


def test_domains_are_named_on_the_map_without_overlap() -> None:
    clouds = {name: [(0.0, 0.0), (1.0, 1.0)] for name in ("Nature", "Law")}
    figure = map_chart([(0.0, 1.0)], ["x"], clouds, others={"<b>": [(0.5, 0.5)]})
    first, second = figure.layout.annotations
    assert (first.text, second.text) == ("Nature", "Law")
    assert second.y > first.y
    assert figure.data[0].name == "other experts"
    assert list(figure.data[0].hovertext) == ["&lt;b&gt;"]


def test_the_legend_says_how_many_are_corrected() -> None:
    figure = fit_chart(["a"], [0.5], [None], samples=1, corrected=1)
    assert figure.data[1].name == "agreement on 1 sampled sentence, 1 corrected by you (F1)"


def test_map_shows_the_persons_sentences_last_and_wraps_their_texts() -> None:
    long = "word " * 200
    figure = map_chart([(0.0, 1.0)], [long], {"Nature": [(1.0, 1.0)], "Law": []})
    assert [trace.name for trace in figure.data] == ["Nature", "Law", "your sentences"]
    lines = figure.data[-1].hovertext[0].split("<br>")
    assert len(lines) == 6
    assert lines[-1].endswith("…")
    assert all(len(line) <= 62 for line in lines)


def test_texts_cannot_become_markup() -> None:
    bad = '<a href="javascript:alert(1)">x</a> %{x} ${1+1}'
    figures = [
        fit_chart([bad], [0.1], [(0.1, 0.0, 0.2)], samples=1),
        type_heatmap([bad], [bad], [[0.5]]),
        map_chart([(0.0, 0.0)], [bad], {bad: [(1.0, 1.0)]}),
        count_chart({bad: 3}, {bad: "#ffffff"}),
    ]
    for figure in figures:
        assert "<a " not in figure.to_json().replace("\\u003c", "<")
        assert {trace.type for trace in figure.data} <= ALLOWED
        assert not any(getattr(trace, "hovertemplate", None) for trace in figure.data)


def test_empty_data_makes_empty_figures() -> None:
    assert fit_chart([], [], [], samples=0).data[0].x == ()
    assert count_chart({}, {}).data[0].x == ()
    assert type_heatmap([], [], []).data[0].z is not None
    assert list(map_chart([], [], {}).data[0].x) == []


def test_counts_keep_their_order_and_colours() -> None:
    (trace,) = count_chart({"lake": 3, "person": 0}, {"lake": "#aabbcc"}).data
    assert list(trace.x) == [3, 0]
    assert trace.marker.color[0] == "#aabbcc"


def test_long_titles_fit_into_a_narrow_window() -> None:
    title = "Which experts are close, and which agree?"
    figure = fit_chart(["a"], [0.5], [None], samples=1, title=title)
    assert figure.layout.title.text == "Which experts are close,<br>and which agree?"
    short = fit_chart(["a"], [0.5], [None], samples=1, title="Which?")
    assert short.layout.title.text == "Which?"
    assert figure.layout.height - short.layout.height == 20
    assert figure.layout.margin.t - short.layout.margin.t == 20
    words = "one " * 40
    lines = count_chart({}, {}, title=words).layout.title.text.split("<br>")
    assert max(map(len, lines)) <= 38
    assert " ".join(lines) == words.strip()


def test_colours_are_those_of_the_style_sheet() -> None:
    css = (assets_dir() / "css" / "1-base.css").read_text("utf-8")
    light = css[: css.index("}")]
    assert f"--sam-sim: {SIMILARITY};" in light
    assert f"--sam-probe: {PROBE};" in light
