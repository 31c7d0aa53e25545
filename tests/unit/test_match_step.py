"""The match screen without a browser: which experts are listed, and what the answers offer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest

from sam_ui.services.drafts import Draft
from sam_ui.services.views import (
    BaseInfo,
    ExpertInfo,
    ExpertScore,
    MapExpert,
    MapView,
    MatchView,
    NearPair,
    ProbeSentence,
    Span,
)
from sam_ui.steps.match_answers import answers_html
from sam_ui.steps.match_experts import PAGE, changed, experts_html, listed, pager
from sam_ui.steps.match_figures import map_chart, map_words

BASE = BaseInfo("base", "")


def info(name: str, *types: str) -> ExpertInfo:
    return ExpertInfo(
        name, name.title(), "", "About it.", types, "CC BY", ("Corpus",), "base", 8, 0.5,
        "LoRA+ of rank 8.", True,
    )  # fmt: skip


def score(number: int, **more: Any) -> ExpertScore:
    values: dict[str, Any] = {
        "name": f"e{number:02}", "title": f"Expert {number:02}", "domain": "old letters",
        "similarity": 0.9 - number / 100, "f1": number / 100, "low": 0.0, "high": 0.5,
        "support": 12, "enough": True, "per_type": {"lake": 0.5}, "weight": 0.0,
        "by_similarity": False, "by_probe": False, "info": info(f"e{number:02}", "lake"),
        "sentences": 2, "shared": ("lake",),
    }  # fmt: skip
    return ExpertScore(**values | more)


def view(count: int = 20, **more: Any) -> MatchView:
    experts = [score(0, weight=0.6), score(1, weight=0.4), *map(score, range(2, count))]
    values: dict[str, Any] = {
        "run_id": "r", "created_at": datetime.now(UTC), "stale": False, "samples": 2, "k": 3,
        "seed": 0, "types": ("lake",), "experts": tuple(experts), "probe": (),
        "map": MapView((), (), ()), "single": {"e00": 0.6, "e01": 0.4}, "by_similarity": {},
        "by_probe": {}, "summary": "",
    }  # fmt: skip
    return MatchView(**values | more)


def names(match: MatchView, draft: Draft | None = None, **filters: Any) -> list[str]:
    return [s.name for s in listed(match, draft or Draft(), filters).experts]


def test_experts_are_found_by_name_domain_and_type() -> None:
    match = view(experts=(score(0), score(1, domain="Ships"), score(2, info=info("x", "river"))))
    assert names(match, experts_search="ships") == ["e01"]
    assert names(match, experts_search="RIVER expert") == ["e02"]
    assert names(match, experts_search="02") == ["e02"]
    assert names(match, experts_search="nothing") == []


def test_experts_are_filtered_and_sorted() -> None:
    match = view(4)
    draft = Draft().following(match).switched("e03", True)
    assert names(match, draft, experts_show="recommended") == ["e00", "e01"]
    assert names(match, draft, experts_show="on") == ["e00", "e01", "e03"]
    assert names(match, experts_sort="probe") == ["e03", "e02", "e01", "e00"]
    assert names(match, experts_sort="similarity") == ["e00", "e01", "e02", "e03"]
    unsure = replace(match, experts=(score(9, enough=False), score(2)))
    assert names(unsure, experts_sort="probe") == ["e02", "e09"]


def test_acts_change_the_filters_and_nothing_else_does() -> None:
    filters: dict[str, Any] = {"other": 1}
    assert changed(filters, {"act": "page", "offset": "16"})
    assert filters["experts_offset"] == 16
    assert changed(filters, {"act": "sort", "value": "name"})
    assert filters == {"other": 1, "experts_sort": "name", "experts_offset": 0}
    before = dict(filters)
    for act in ({"act": "sort", "value": "<b>"}, {"act": "switch", "name": "e00"}, {}):
        assert not changed(filters, act)
    assert filters == before


def test_a_page_that_is_gone_shows_the_last_one() -> None:
    listing = listed(view(20), Draft(), {"experts_offset": 400})
    assert [s.name for s in listing.page] == ["e16", "e17", "e18", "e19"]
    assert "17–20 of 20 experts" in pager(listing)
    assert pager(listed(view(PAGE), Draft(), {})) == ""
    assert listed(view(0, experts=()), Draft(), {"experts_offset": 8}).page == []


def test_back_to_recommended_is_there_even_when_nobody_fits() -> None:
    match = view()
    page = experts_html(match, Draft().following(match), BASE, {"experts_search": "nobody"})
    assert 'id="match-recommended"' in page
    assert "No expert fits" in page


def test_the_reasons_are_escaped_and_say_what_they_rest_on() -> None:
    pair = NearPair("<b>mine</b>", "<i>theirs</i>", 0.814)
    match = view(experts=(score(0, pairs=(pair,), corrected=1, f1=0.5),), corrected=1)
    page = experts_html(match, Draft(), BASE)
    assert "&lt;b&gt;mine" in page
    assert "<i>theirs" not in page
    assert "0.81" in page
    assert "rests on 12 spans in 2 sentences, 1 of them corrected by you" in page
    assert "It was trained on 1 of your 1 type:" in page


# -- answers -----------------------------------------------------------------------------------

TEXT = "Ada & <b>Bo</b> 🚀\r\nleft."
SPANS = (Span(0, 3, "lake", 0.9),)


def probe(**more: Any) -> ProbeSentence:
    answers = {"e00": SPANS, "e01": (), "e02": (Span(0, 3, "lake", 0.2),)}
    return ProbeSentence(7, TEXT, answers, **more)


def test_equal_answers_are_one_row_and_the_best_expert_stands_for_them() -> None:
    page = answers_html(view(3, probe=(probe(),)), {"lake": "#aabbcc"})
    assert page.count("<tr>") == 2
    assert "Expert 00, Expert 02" in page
    assert re.findall(r'data-act="take" data-name="(\w+)"', page) == ["e00", "e01"]
    assert "<b>Bo" not in page


def test_the_editor_gets_the_text_as_it_is() -> None:
    page = answers_html(view(3, probe=(probe(),)), {"lake": "#aabbcc"})
    found = re.search(r'data-edit="([^"]*)"', page)
    assert found is not None
    assert found[1].isascii()
    assert json.loads(unescape(found[1])) == {
        "sentence": 7, "text": TEXT, "spans": [[0, 3, "lake"]],  # of the one that agrees most
    }  # fmt: skip


def test_a_correction_is_shown_first_and_can_be_taken_back() -> None:
    match = view(3, probe=(probe(correction=()),), corrected=1, change="*X* has <come>.")
    page = answers_html(match, {}, own=True)
    assert page.index('data-act="uncorrect"') < page.index("Expert 00")
    assert page.count("✓ right") == 1
    assert "<strong>X</strong> has &lt;come&gt;." in page
    assert "your choice stays as it is" in page
    stayed = answers_html(replace(match, change=""), {})
    assert "The recommendation has stayed the same." in stayed


@pytest.mark.parametrize(
    ("more", "fixed", "said"),
    [({"present": False}, False, "no longer among your texts"), ({}, True, "Expert 00")],
)
def test_what_cannot_be_corrected_has_no_controls(
    more: dict[str, Any], fixed: bool, said: str
) -> None:
    page = answers_html(view(3, probe=(probe(**more),)), {}, fixed=fixed)
    assert said in page
    assert "data-act" not in page
    assert "data-open" not in page


def test_a_correction_from_before_a_type_asks_for_another_look() -> None:
    page = answers_html(view(3, probe=(probe(correction=SPANS, unasked=("<river>",)),)), {})
    assert "look again" in page
    assert "before “&lt;river&gt;” was among your types" in page


# -- the map -----------------------------------------------------------------------------------


def test_the_map_says_what_it_leaves_out() -> None:
    experts = tuple(MapExpert(f"e{i:02}", f"Expert {i:02}", ((0.0, i),)) for i in range(12))
    seen = MapView(((0.0, 0.0),), ("Ada left.",), experts, total=10_000)
    said = map_words(seen)
    assert "1 sentence of your 10,000" in said
    assert "The 8 best experts have names" in said
    figure = map_chart(view(12, map=seen))
    assert [trace.name for trace in figure.data][:2] == ["other experts", "Expert 00"]
    assert len(figure.layout.annotations) == 8
    assert "shown" not in map_words(replace(seen, total=1))
