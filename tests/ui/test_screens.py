"""Every screen in a browser, with real services and a stand-in for the models."""

from __future__ import annotations

import csv
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.ui.conftest import Live, shoot

pytestmark = [pytest.mark.ui, pytest.mark.browser]

HOSTILE = '<img src=x onerror="window.hacked=1"> ${window.hacked=1} {{value}} `x` </mark>'
TEXT = f"Ada met Grace in Bled. Nothing happened. {HOSTILE}"


def start(page: Any, text: str = TEXT, types: str = "person, place") -> None:
    """A new session with these texts and types, on the upload screen."""
    page.locator("#new-session").click()
    page.locator("#paste textarea").fill(text)
    page.locator("#add-text").click()
    expect(page.locator("#preview li").first).to_be_visible()
    page.locator("#types-box textarea").fill(types)
    page.locator("#add-types").click()
    expect(page.locator("#types .sam-chip:not(.add)")).to_have_count(len(types.split(",")))


def matched(page: Any) -> None:
    page.locator("#primary").click()
    expect(page.locator(".sam-expert").first).to_be_visible()


def predicted(page: Any) -> None:
    matched(page)
    page.locator("#primary").click()
    expect(page.locator(".sam-weight").first).to_be_visible()
    page.locator("#primary").click()
    expect(page.locator("#review-editor mark").first).to_be_visible()
    page.get_by_role("tab", name="All texts").click()
    expect(page.locator("#predictions")).to_be_visible()
    expect(page.locator("#primary")).to_have_text("Take the model home")


@pytest.fixture
def gate(live: Live) -> Any:
    """Holds up the worker inside the next job until set."""
    assert live.engine is not None
    live.engine.gate = threading.Event()
    yield live.engine.gate
    live.engine.gate.set()
    live.engine.gate = None


def test_start_page_explains_and_opens_a_sample(live: Live, visit: Any, shots: Path) -> None:
    page = visit(live.url)
    expect(page.locator("h1")).to_contain_text("entities")
    shoot(page, shots / "start.png")
    page.locator("#try-sample").click()
    expect(page.locator("#preview li").first).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?s=[\w-]{20,}&step=upload"))
    page.locator(".sam-brand").click()
    expect(page.locator(".sam-session")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/$"))
    page.locator(".sam-session").click()
    expect(page.locator("#files tbody tr")).to_have_count(1)


def test_texts_names_and_types_of_people_are_inert(live: Live, visit: Any) -> None:
    page = visit(live.url)
    name = '<svg onload="window.hacked=1"> {{x}}'
    start(page, types="person, <b>bold</b>")
    page.locator("#session-name").fill(name)
    page.locator("#session-name").press("Enter")
    expect(page.locator("#types .sam-chip:not(.add)").nth(1)).to_contain_text("<b>bold</b>")
    expect(page.locator("#preview")).to_contain_text(HOSTILE)
    predicted(page)
    expect(page.locator("#predictions")).to_contain_text(HOSTILE)
    page.locator("#rail-match").click()
    page.get_by_role("tab", name="Answers").click()
    expect(page.locator("#answers")).to_contain_text(HOSTILE)
    page.get_by_role("tab", name="Map").click()
    expect(page.locator("#map-chart .plot-container")).to_be_visible()
    page.locator(".sam-brand").click()
    expect(page.locator(".sam-session strong")).to_have_text(name)
    assert page.evaluate("window.hacked") is None


def test_refresh_during_a_job_finds_it_again(live: Live, visit: Any, gate: Any) -> None:
    page = visit(live.url)
    start(page)
    page.locator("#primary").click()
    expect(page.locator("#cancel-job")).to_be_visible()
    expect(page.locator("#rail-match .mark.running")).to_be_visible()
    page.reload()
    expect(page.locator("#rail-match[aria-current]")).to_be_visible()
    expect(page.locator("#cancel-job")).to_be_visible()
    gate.set()
    expect(page.locator(".sam-expert").first).to_be_visible()
    expect(page.locator("#cancel-job")).to_have_count(0)
    expect(page.locator("#rail-match .mark.done")).to_be_visible()


def test_a_job_can_be_cancelled(live: Live, visit: Any, gate: Any, shots: Path) -> None:
    page = visit(live.url)
    start(page)
    page.locator("#primary").click()
    expect(page.locator("#cancel-job")).to_be_visible()
    shoot(page, shots / "running.png")
    page.locator("#cancel-job").click()
    expect(page.locator("#match-summary")).to_contain_text("You stopped the last run")
    expect(page.locator("#primary")).to_have_text("Find matching experts")


def test_a_failed_job_says_why_and_can_be_tried_again(live: Live, visit: Any, shots: Path) -> None:
    assert live.engine is not None
    page = visit(live.url)
    start(page)
    live.engine.error = MemoryError()
    page.locator("#primary").click()
    expect(page.locator(".sam-strip.failed")).to_contain_text("not enough memory")
    shoot(page, shots / "failed.png")
    live.engine.error = None
    page.locator("#retry-job").click()
    expect(page.locator(".sam-expert").first).to_be_visible()
    expect(page.locator(".sam-strip.failed")).to_have_count(0)


def test_a_mistake_is_told_beside_the_button_and_keeps_what_was_typed(
    live: Live, visit: Any
) -> None:
    page = visit(live.url)
    page.locator("#new-session").click()
    page.locator("#types-box textarea").fill("person")
    page.locator("#primary").click()
    expect(page.locator("#sam-notice [role=alert]")).to_contain_text("no texts")
    expect(page.locator("#types .sam-chip:not(.add)")).to_have_count(1)
    page.locator("#paste textarea").fill("Ada met Grace.")
    page.locator("#primary").click()
    expect(page.locator(".sam-expert").first).to_be_visible()


def test_a_table_asks_for_its_column(live: Live, visit: Any, tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["id", "remark", "body"], ["1", "no", "Ada went home."], ["2", "no", "Bled froze."]]
        )
    page = visit(live.url)
    page.locator("#new-session").click()
    page.locator("#drop input[type=file]").set_input_files(table)
    expect(page.locator("#column-choice")).to_contain_text("notes.csv")
    expect(page.locator("#column-box input")).to_have_value("body")
    page.locator("#use-column").click()
    expect(page.locator("#preview")).to_contain_text("Bled froze.")
    expect(page.locator("#preview li")).to_have_text(["1Ada went home.", "2Bled froze."])
    expect(page.locator("#column-choice")).to_have_count(0)


def test_weights_follow_switch_slider_number_and_buttons(live: Live, visit: Any) -> None:
    page = visit(live.url)
    start(page)
    matched(page)
    page.locator("#use-law").check()
    expect(page.locator("#primary")).to_have_text("Merge 3 experts")
    page.locator("#primary").click()
    page.locator("#weight-law").fill("1")
    page.locator("#weight-law").press("Enter")
    expect(page.locator("#weights")).to_contain_text("add up to 2.00")
    page.locator("#normalise").click()
    expect(page.locator("#weight-law")).to_have_value("0.5")
    page.locator("#method").select_option("ties")
    expect(page.locator("#parameter-density")).to_be_attached()
    page.locator("#merge-method summary", has_text="Fine tuning").click()
    page.locator("#parameter-density").fill("0.7")
    page.locator("#parameter-density").press("Enter")
    page.reload()
    expect(page.locator("#weight-law")).to_have_value("0.5")
    expect(page.locator("#method")).to_have_value("ties")
    page.locator("#merge-method summary", has_text="Fine tuning").click()
    expect(page.locator("#parameter-density")).to_have_value("0.7")
    page.locator("#merge-recommended").click()
    expect(page.locator(".sam-weight")).to_have_count(2)


def test_three_sentences_are_read_again_when_a_slider_is_released(
    live: Live, visit: Any, shots: Path
) -> None:
    page = visit(live.url)
    start(page, "Ada met Grace in Bled. Professor Hubble left. Nothing happened.")
    matched(page)
    page.locator("#primary").click()
    card = page.locator("#merge-preview")
    # The stand-in finds words that are the longer the heavier the first expert is.
    expect(card.locator("mark")).to_have_count(5)
    expect(card.locator("mark.fresh")).to_have_count(0)
    page.locator("#weight-astro").fill("1")
    page.locator("#weight-astro").press("Enter")
    expect(card.locator("mark")).to_have_count(1)
    expect(card.locator(".sam-gone").first).to_contain_text("No longer found")
    page.locator("#weight-astro").fill("0.6")
    page.locator("#weight-astro").press("Enter")
    expect(card.locator("mark.fresh")).to_have_count(3)
    expect(card.locator(".sam-gone")).to_have_count(0)
    expect(card.locator("#preview-state")).to_have_text("Read again whenever you release a slider.")
    expect(page.locator("#job-strip")).not_to_contain_text("preview")
    shoot(page, shots / "3-merge-preview.png")
    page.reload()
    expect(card.locator("mark.fresh")).to_have_count(3)


def test_the_merge_screen_says_how_well_the_experts_go_together(
    live: Live, visit: Any, shots: Path
) -> None:
    page = visit(live.url)
    start(page)
    matched(page)
    page.locator("#primary").click()
    card = page.locator("#merge-together")
    # The first comparison of a process loads what it computes with.
    expect(card).to_contain_text("Astronomy and Lakes partly undo each other.", timeout=60_000)
    expect(card.locator("table")).to_be_hidden()
    card.locator("summary").click()
    expect(card.locator("tbody tr")).to_have_count(1)
    expect(card.locator("tbody td").nth(1)).to_have_text(re.compile(r"^-?\d\.\d\d$"))
    page.locator("#add-expert").select_option("law")
    expect(card.locator("tbody tr")).to_have_count(3)  # and it has stayed open
    expect(card.locator("table")).to_be_visible()
    shoot(page, shots / "3-merge-together.png")
    page.locator("#merge-use-law").uncheck()
    expect(card.locator("tbody tr")).to_have_count(1)
    page.locator("#merge-use-astro").uncheck()
    expect(card.locator(".sam-together")).to_have_count(0)


def test_predictions_are_filtered_by_type_and_text(live: Live, visit: Any) -> None:
    page = visit(live.url)
    start(page)
    predicted(page)
    expect(page.locator("#predictions mark", has_text="Grace")).to_have_attribute(
        "title", re.compile(r"person · \d+ % sure")
    )
    page.locator("#review-search textarea").fill("Ada")
    expect(page.locator("#predictions li")).to_have_count(1)
    page.locator("#found button", has_text="place").click()
    expect(page.locator("#review-rows")).to_contain_text("No sentence fits")


def test_two_people_at_once_see_only_their_own(live: Live, visit: Any) -> None:
    ada, bob = visit(live.url), visit(live.url)
    start(ada, "Ada was here.")
    start(bob, "Bob was there.")
    expect(ada.locator("#preview")).not_to_contain_text("Bob")
    expect(bob.locator("#preview")).not_to_contain_text("Ada")
    bob.goto(ada.url)
    expect(bob.locator("#preview")).to_contain_text("Ada was here.")


def test_a_wrong_link_says_so(live: Live, visit: Any) -> None:
    page = visit(f"{live.url}/?s=nonsense&step=merge")
    expect(page.locator("#sam-notice")).to_contain_text("This link opens no session")
    page.locator("#new-session").click()
    expect(page.locator("#drop")).to_be_visible()


def test_back_button_goes_through_the_steps(live: Live, visit: Any) -> None:
    page = visit(live.url)
    start(page)
    page.locator("#rail-share").click()
    expect(page.locator("#share-top")).to_contain_text("Nothing to download yet")
    page.go_back()
    expect(page.locator("#rail-upload[aria-current]")).to_be_visible()
    expect(page.locator("#preview")).to_contain_text("Ada met Grace")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_fits_a_narrow_window(
    live: Live, visit: Any, shots: Path, scheme: str
) -> None:
    page = visit(live.url, width=400, color_scheme=scheme)
    start(page)
    predicted(page)
    for step in ("upload", "match", "merge", "review", "share"):
        page.locator(f"#rail-{step}").click()
        expect(page.locator(f"#step-{step}")).to_be_visible()
        expect(page.locator(f"#rail-{step}[aria-current]")).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400, f"{step} is {wide} pixels wide"
        shoot(page, shots / f"narrow-{scheme}-{step}.png")
