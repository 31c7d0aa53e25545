"""Coloured spans: the text is kept to the character, and nothing in it is markup."""

from __future__ import annotations

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from experts.spans import Span, drop_overlaps
from sam_ui.services.merge_views import PreviewSentence, PreviewView
from sam_ui.span_view import legend_html, spans_html
from sam_ui.steps.merge_preview import Status, preview_html

COLORS = {"lake": "#a6d8f0"}


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def marks(html: str) -> list[str]:
    return [unescape(inner) for inner in re.findall(r"<mark [^>]*>(.*?)</mark>", html, re.DOTALL)]


def test_a_span_is_marked_with_type_colour_and_probability() -> None:
    html = spans_html("At Lake Bled.", [Span(3, 12, "lake", 0.876)], COLORS)
    assert marks(html) == ["Lake Bled"]
    assert 'data-label="lake"' in html
    assert "--c:#a6d8f0" in html
    assert "lake · 88 % sure" in html
    assert "doubtful" not in html


def test_an_unlikely_span_looks_doubtful() -> None:
    assert "doubtful" in spans_html("Bled", [Span(0, 4, "lake", 0.49)], COLORS)


def test_gold_spans_have_no_probability() -> None:
    html = spans_html("Bled", [Span(0, 4, "lake")], COLORS)
    assert "sure" not in html
    assert "data-score" not in html


def test_markup_templates_and_labels_are_inert() -> None:
    text = '<script>alert(1)</script> ${1+1} {{value}} "quoted" & <b>'
    label = '"><img src=x onerror=alert(1)>'
    html = spans_html(text, [Span(0, 8, label, 0.5)], {label: 'red"></mark><script>'})
    assert text_of(html) == text
    assert not re.findall(r"<(?!/?(?:span|mark)\b)", html)
    assert "--c:#d5dae1" in html


def test_offsets_are_code_points() -> None:
    html = spans_html("🌊🌊 Bled", [Span(3, 7, "lake")], COLORS)
    assert marks(html) == ["Bled"]


def test_spans_outside_the_text_are_left_out() -> None:
    spans = [Span(-1, 2, "lake"), Span(2, 99, "lake"), Span(3, 3, "lake")]
    assert marks(spans_html("Bled", spans, COLORS)) == []


def test_of_overlapping_spans_the_likeliest_is_drawn() -> None:
    spans = [Span(0, 9, "lake", 0.4), Span(5, 9, "person", 0.9)]
    assert marks(spans_html("Lake Bled", spans, COLORS)) == ["Bled"]


@given(
    st.text(max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.sampled_from(["lake", "a<b"]))),
)
def test_any_text_with_any_spans_stays_itself(text: str, drawn: list[tuple[int, int, str]]) -> None:
    spans = [Span(*item) for item in drawn]
    html = spans_html(text, spans, COLORS)
    assert text_of(html) == text
    inside = [s for s in spans if 0 <= s.start < s.end <= len(text)]
    assert marks(html) == [text[s.start : s.end] for s in drop_overlaps(inside)]


def test_legend_lists_the_types_in_order() -> None:
    html = legend_html({"b<": "#112233", "a": "none"})
    assert html.index("b&lt;") < html.index(">a<")
    assert legend_html({}) == ""


def test_fresh_spans_are_outlined_and_said_to_be_new() -> None:
    spans = [Span(0, 3, "lake", 0.9), Span(4, 7, "lake", 0.2)]
    html = spans_html("Ada met.", spans, COLORS, fresh={(4, 7, "lake")})
    assert html.count("fresh") == 1
    assert 'class="sam-span doubtful fresh"' in html
    assert "lake · 20 % sure, new" in html


def test_a_preview_shows_what_is_new_and_names_what_is_gone() -> None:
    row = PreviewSentence(
        1, "Ada & Bled", (Span(6, 10, "lake"),), (Span(6, 10, "lake"),), (Span(0, 5, "<b>"),)
    )
    view = PreviewView({"law": 1.0}, "linear", (row,))
    html = preview_html(view, COLORS, Status())
    assert "sam-span fresh" in html
    assert "No longer found: <del>Ada &amp;</del> (&lt;b&gt;)" in html
    assert "Reading…" in preview_html(view, COLORS, Status(running=True))
    assert "It broke." in preview_html(view, COLORS, Status(problem="It broke."))
    assert "Move a slider" in preview_html(None, COLORS, Status())
