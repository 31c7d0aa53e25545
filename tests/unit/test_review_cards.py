"""The cards with the scores and with two annotators: what they say with nothing, too little and
enough, and of hostile texts.
"""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from experts.evaluate import Score, evaluate
from experts.scoring import boundary_scores, confusion, differences, partial_scores, type_scores
from experts.spans import Span
from sam_ui.services.agreement import Agreement, Annotator, Disagreement
from sam_ui.services.review_views import Estimate, ReviewError, ReviewScores
from sam_ui.steps.review_agreement_look import agreement_html
from sam_ui.steps.review_scores_look import PAGE, scores_html

TEXT = "Grace left Bled for Lake Bohinj."
GRACE, BLED, LAKE = Span(0, 5, "person"), Span(11, 15, "place"), Span(20, 31, "place")
ENOUGH = Estimate(0.8, 0.71, 0.88, 20, 60, enough=True)
FEW = Estimate(0.5, 0.0, 1.0, 2, 3, enough=False)


def scores(
    true: list[list[Span]], found: list[list[Span]], *, text: str = TEXT, bulk: int = 0
) -> ReviewScores:
    report = evaluate(true, found)
    told = [differences(*pair) for pair in zip(true, found, strict=True)]
    return ReviewScores(
        merge_id="m", sentences=len(true), bulk=bulk, learned=0, strict=report.micro,
        boundary=boundary_scores(true, found), type_only=type_scores(true, found),
        partial=partial_scores(true, found), standard=Score(4, 2, 1), per_type=report.per_type,
        confusion=confusion([d for each in told for d in each]),
        errors=tuple(
            ReviewError(7 + number, number, d.kind, d.true, d.found, text)
            for number, each in enumerate(told) for d in each if d.kind != "right"
        ),
    )  # fmt: skip


def words(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))


def told(html: str, ident: str) -> str:
    """The text of the element with that id."""
    found = re.search(rf'<(p|div) [^>]*id="{ident}"[^>]*>(.*?)</\1>', html)
    assert found, f"no {ident}"
    return words(found[2]).strip()


def many() -> ReviewScores:
    """Twenty sentences with 60 entities: 20 of another type, 20 found in part, 20 right."""
    found = [Span(0, 5, "place"), BLED, Span(25, 31, "place")]
    return scores([[GRACE, BLED, LAKE]] * 20, [found] * 20, bulk=4)


def test_without_corrections_it_says_what_to_do() -> None:
    html = scores_html(scores([], []), Estimate(0, 0, 0, 0, 0, enough=False), rest=5)
    assert "Accept or change sentences" in html
    assert "F1" not in html
    assert "<details" not in html
    html = scores_html(scores([], []), FEW, rest=5, view_only=True)
    assert "Nobody has corrected a sentence yet." in html


def test_sentences_accepted_all_at_once_are_no_proof() -> None:
    html = scores_html(scores([], [], bulk=9), FEW, rest=5)
    assert "No correction can be counted yet." in html
    assert "9 more are not counted: they were accepted all at once" in html
    assert "Accept or change" not in html


def test_of_two_sentences_it_counts_and_claims_nothing() -> None:
    html = scores_html(scores([[GRACE], [BLED]], [[GRACE], []]), FEW, rest=3)
    assert told(html, "scores-told") == "On your 2 corrections: found 1 of 2 entities, 0 wrong"
    assert told(html, "scores-rest").startswith("Too little to say how it does on the rest")
    assert "2 sentences with 3 entities" in html
    assert not re.search(r"F1 \d|\d %", words(html))
    assert "1 error to look at" in html


@pytest.mark.parametrize(
    ("found", "said"),
    [([], "nothing was found."), ([BLED], "1 was found."), ([BLED, LAKE], "2 were found.")],
)
def test_sentences_without_entities(found: list[Span], said: str) -> None:
    html = scores_html(scores([[]], [found]), FEW, rest=3)
    assert told(html, "scores-told").startswith("On your 1 correction: there is nothing to find")
    assert told(html, "scores-told").endswith(said)


def test_all_that_is_told_of_many() -> None:
    html = scores_html(many(), ENOUGH, rest=80)
    assert told(html, "scores-told") == (
        "On your 20 corrections: found 20 of 60 entities, 40 wrong (F1 0.33)"
    )
    assert told(html, "scores-rest").startswith("On the other 80 sentences expect F1 0.80")
    said = words(html)
    assert "between 0.71 and 0.88" in said
    assert "4 more are not counted" in said
    assert "person was taken for place 20 times" in said
    assert "place found 20 of 40 (50 %) 40 wrong (67 %)" in said
    assert "person found 0 of 20 (0 %) 0 wrong" in said
    assert "The place only 40 of 60, 20 wrong (F1 0.67)" in said
    assert "The type only 40 of 60, 20 wrong (F1 0.67)" in said
    assert "Half counts half 40 of 60, 0 wrong, 20 in part (F1 0.83)" in said
    assert "The number in papers 4 of 5, 2 wrong (F1 0.73)" in said
    assert words(scores_html(many(), ENOUGH, rest=80, view_only=True)).count("your") == 0


def test_an_estimate_from_chosen_sentences_says_so() -> None:
    html = scores_html(many(), replace(ENOUGH, biased=True), rest=1)
    assert told(html, "scores-rest").startswith("If the other sentence is like these: F1 0.80")
    assert "were not chosen at random" in html
    assert "chosen at random, with" not in html


def test_with_nothing_left_nothing_is_expected() -> None:
    assert "scores-rest" not in scores_html(many(), ENOUGH, rest=0)


def test_errors_open_in_the_editor_twenty_at_a_time() -> None:
    html = scores_html(many(), ENOUGH, rest=1, here=8)
    opened = [int(ident) for ident in re.findall(r'data-sentence-go="(\d+)"', html)]
    assert len(opened) == PAGE
    assert opened[:4] == [7, 7, 8, 8]
    assert html.count('aria-current="true"') == 2
    assert "Show 20 more" in html
    said = words(html)
    assert "wrong type “Grace”: person, not place Grace left Bled" in said
    assert "wrong ends “Bohinj” instead of “Lake Bohinj”: place" in said
    html = scores_html(many(), ENOUGH, rest=1, shown=40)
    assert html.count("data-sentence-go") == 40
    assert 'data-act="more"' not in html


def test_a_long_sentence_is_cut_around_the_error() -> None:
    text = "x" * 90 + " Bled " + "y" * 90
    html = scores_html(
        scores([[Span(91, 95, "place")]], [[]], text=text), FEW, rest=1
    )  # fmt: skip
    assert f"…{'x' * 39} <b>Bled</b> {'y' * 39}…" in html


def test_hostile_texts_and_types_stay_text() -> None:
    text, kind = "<img src=x onerror=alert(1)> {0} & “you”", '"><script>{n}</script>'
    true, found = [[Span(0, 4, kind)]], [[Span(0, 28, kind + "2")]]
    html = scores_html(scores(true, found, text=text), FEW, rest=1)
    assert "<img" not in html
    assert "<script" not in html
    assert f"{kind} was taken for {kind}2 once" in re.sub(r" +", " ", words(html))
    assert "{0} & “you”" in words(html)


# ---- two annotators ----

PEOPLE = [Annotator("Ada", 12), Annotator("Bo", 11), Annotator("Cy", 1)]
PAIR = ("Ada", "Bo")
AGREED = Agreement(
    "Ada", "Bo", 11, 90, 0.8, 0.6, 0.9, 0.85, 0.75, "", {"person": Score(4, 1, 2)}
)  # fmt: skip
DIFFER = [Disagreement(5, 0, TEXT, (GRACE,), (GRACE, BLED))]


def test_how_far_two_people_agree() -> None:
    html = agreement_html(PEOPLE, PAIR, AGREED, DIFFER, {})
    said = words(html)
    assert "On 11 sentences that both have annotated:" in said
    assert "F1 0.80 , 0.60 to 0.90" in said
    assert "kappa) 0.75" in said
    assert "both 4 only Ada 2 only Bo 1" in said
    assert "too few" not in said
    assert 'value="Ada" selected' in html
    assert "1 sentence differs, 1 undecided" in said
    assert re.findall(r'data-side="(.)"', html) == ["a", "b"]
    assert 'data-sentence-go="5"' in html
    assert html.count("<mark") == 3


def test_few_sentences_and_no_kappa_are_said() -> None:
    few = replace(AGREED, sentences=2, kappa=None, reason="Both have marked nothing.")
    said = words(agreement_html(PEOPLE, PAIR, few, [], {}))
    assert "These are too few sentences to rely on." in said
    assert "0.60 to 0.90" not in said
    assert "kappa) Both have marked nothing." in said
    assert "They say the same of every one." in said


def test_people_without_a_common_sentence() -> None:
    html = agreement_html(PEOPLE, PAIR, None, [], {})
    assert "There is no sentence that both have annotated." in html
    assert "F1" not in html


@pytest.mark.parametrize(
    ("spans", "said"),
    [((GRACE,), "Decided: as Ada"), ((BLED, GRACE), "Decided: as Bo"), ((), "Decided otherwise")],
)
def test_what_was_decided_is_shown(spans: tuple[Span, ...], said: str) -> None:
    html = agreement_html(PEOPLE, PAIR, AGREED, [replace(DIFFER[0], decided=spans)], {})
    assert said in html
    assert "undecided" not in html


def test_who_only_looks_decides_nothing() -> None:
    html = agreement_html(PEOPLE, PAIR, AGREED, DIFFER, {}, view_only=True)
    assert 'data-act="take"' not in html
    assert "data-sentence-go" in html


def test_ten_disagreements_at_a_time() -> None:
    html = agreement_html(PEOPLE, PAIR, AGREED, DIFFER * 12, {})
    assert html.count("data-sentence-go") == 10
    assert "Show 2 more" in html


def test_hostile_names_stay_text() -> None:
    name = '"><script>{n}</script>'
    people = [Annotator(name, 2), Annotator("<img src=x>", 2)]
    found = replace(AGREED, a=name, b="<img src=x>", per_type={"<b>{name}": Score(1, 1, 1)})
    decided = [replace(DIFFER[0], text="<img> {0}" * 5, decided=(GRACE,))]
    html = agreement_html(people, (name, "<img src=x>"), found, decided, {"person": "red"})
    assert "<img" not in html
    assert "<script" not in html
    assert f"only {name}" in words(html)
