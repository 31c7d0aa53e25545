"""Review: the score box follows what is corrected, and its errors lead to their sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from experts.spans import Span
from tests.ui.conftest import Live, shoot
from tests.ui.test_review import Screen, reviewed

pytestmark = [pytest.mark.ui, pytest.mark.browser]


def test_scores_follow_corrections_and_an_error_opens_its_sentence(
    live: Live, visit: Any, shots: Path
) -> None:
    session = reviewed(live.services)
    page = visit(f"{live.url}/?s={session.token}&step=review")
    screen, card = Screen(page), page.locator("#review-scores")
    expect(card).to_contain_text("Accept or change sentences")
    # The stand-in takes every capitalised word for a person.
    screen.go("Professor Hubble")
    screen.word("Ljubljana")
    screen.press("2")
    told = card.locator("#scores-told")
    expect(told).to_have_text("On your 1 correction: found 2 of 3 entities, 1 wrong")
    screen.go("Ada saw")
    screen.word("Ada")
    screen.press("Delete")
    expect(told).to_contain_text("On your 2 corrections:")
    expect(told).to_contain_text("2 wrong")
    expect(card.locator("#scores-rest")).to_contain_text("Too little to say")
    screen.saved()

    card.locator("summary", has_text="2 errors to look at").click()
    errors = card.locator("[data-sentence-go]")
    expect(errors).to_have_count(2)
    expect(errors.first).to_contain_text("“Ljubljana”: place, not person")
    expect(errors.last).to_contain_text("“Ada”: not person")
    errors.first.click()
    screen.has("Professor Hubble")
    expect(card.locator("li[aria-current]")).to_contain_text("Ljubljana")
    card.locator("summary", has_text="Each type alone").click()
    expect(card).to_contain_text("place was taken for person once")
    card.locator("summary", has_text="Other ways to count").click()
    shoot(page, shots / "4-review-scores.png")

    # Whoever may only look reads the same, and gets to the sentences.
    token = live.services.links.create(session.id, "view")
    looking = visit(f"{live.url}/?s={token}&step=review", width=400, color_scheme="dark")
    seen = looking.locator("#review-scores")
    expect(seen.locator("#scores-told")).to_contain_text("On 2 corrected sentences:")
    seen.locator("summary", has_text="2 errors to look at").click()
    seen.locator("[data-sentence-go]").last.click()
    expect(looking.locator("#review-editor .sam-ed-text").first).to_contain_text("Ada saw")
    expect(looking.locator("#review-editor")).to_be_in_viewport()
    shoot(looking, shots / "4-review-scores-400-dark.png")


def test_of_two_annotators_one_is_taken(live: Live, visit: Any, shots: Path) -> None:
    services = live.services
    session = reviewed(services)
    page = visit(f"{live.url}/?s={session.token}&step=review")
    screen, card = Screen(page), page.locator("#review-agreement")
    screen.has("Ada")
    expect(card).to_have_count(0)
    rows = services.corpus.sentences(session.id).rows
    row = next(row for row in rows if "Professor" in row.text)
    at = row.text.index("Ljubljana")
    place, person = (Span(at, at + 9, kind) for kind in ("place", "person"))
    for name, said in (("Bo", place), ("Ada", person)):
        services.agreement.annotate(session.id, row.id, [said], who=name, revision=0)
    page.reload()
    expect(card).to_contain_text("On 1 sentence that both have annotated:")
    expect(card).to_contain_text("F1 0.00")
    card.locator("summary", has_text="1 sentence differs, 1 undecided").click()
    card.locator("#review-agree_a").select_option("Bo")
    expect(card.locator(".sam-differ h3").first).to_have_text("Bo")
    expect(card.locator(".sam-differ mark").first).to_have_attribute("data-label", "place")
    shoot(page, shots / "4-review-agreement.png")
    card.get_by_role("button", name="Take what Bo says").click()
    expect(card).to_contain_text("Decided: as Bo")
    assert services.review.sentence(session.id, row.id).spans == (place,)
    card.get_by_role("button", name="Open in the editor").click()
    screen.has("Professor Hubble")
    expect(page.locator("[data-span-list] li")).to_have_count(1)
    expect(page.locator("[data-span-list] li")).to_contain_text("place")

    looking = visit(
        f"{live.url}/?s={services.links.create(session.id, 'view')}&step=review",
        width=400, color_scheme="dark",
    )  # fmt: skip
    seen = looking.locator("#review-agreement")
    seen.locator("summary", has_text="1 sentence differs").click()
    expect(seen.locator("[data-sentence-go]")).to_have_count(1)
    expect(seen.locator("[data-act='take']")).to_have_count(0)
    shoot(looking, shots / "4-review-agreement-400-dark.png")
