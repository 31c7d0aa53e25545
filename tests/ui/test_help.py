"""The help in a browser: the sheet, the pages by address, the links; and its texts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from sam_ui.help import help_html, learn_more
from sam_ui.help_pictures import PICTURES
from sam_ui.help_texts import TOPICS
from tests.ui.conftest import Live

pytestmark = [pytest.mark.ui, pytest.mark.browser]


def test_the_sheet_opens_by_button_and_key_and_leads_to_a_topic(live: Live, visit: Any) -> None:
    page = visit(live.url)
    sheet, topic = page.locator("#sam-help"), page.locator("#help-probe")
    page.locator("#help").click()
    expect(sheet).to_be_visible()
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    page.locator("body").press("?")
    expect(sheet).to_be_visible()
    sheet.locator("[data-help=probe]").click()
    expect(sheet).to_be_hidden()
    expect(topic).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?help=probe$"))
    page.locator("#sam-help-page nav [data-help=merging]").click()
    expect(page.locator("#help-merging")).to_be_visible()
    expect(topic).to_be_hidden()
    expect(page).to_have_url(re.compile(r"\?help=merging$"))
    page.keyboard.press("Escape")
    expect(page.locator("#sam-help-page")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("help="))


def test_an_address_opens_a_topic_and_back_closes_it(live: Live, visit: Any) -> None:
    page = visit(f"{live.url}/?help=similarity")
    expect(page.locator("#help-similarity")).to_be_visible()
    expect(page.locator("#help-similarity svg")).to_be_visible()
    page.locator("#sam-help-page .sam-x").click()
    expect(page.locator("#sam-help-page")).to_be_hidden()
    # A topic that there is not shows the first, not an empty page.
    page.goto(f"{live.url}/?help=nonsense")
    expect(page.locator("#help-overview")).to_be_visible()
    page.locator("#sam-help-page .sam-x").click()
    page.locator("#help").click()
    page.locator("#sam-help [data-help=share]").click()
    expect(page.locator("#help-share")).to_be_visible()
    page.go_back()
    expect(page.locator("#sam-help-page")).to_be_hidden()


def test_help_on_a_step_keeps_the_session_and_what_was_typed(live: Live, visit: Any) -> None:
    page = visit(live.url)
    page.locator("#new-session").click()
    page.locator("#paste textarea").fill("Ada met")
    page.locator("#paste textarea").press("?")  # typed, not a shortcut
    expect(page.locator("#paste textarea")).to_have_value("Ada met?")
    expect(page.locator("#sam-help")).to_be_hidden()
    for step in ("upload", "match", "merge", "review", "share"):
        if step != "upload":
            page.locator(f"#rail-{step}").click()
        expect(page.locator(f"#rail-{step}[aria-current]")).to_be_visible()
        page.locator(f"#step-{step} .sam-learn").first.click()
        expect(page.locator("#sam-help-page")).to_be_visible()
        expect(page).to_have_url(re.compile(rf"\?s=[\w-]+&step={step}&help=\w+$"))
        page.keyboard.press("Escape")
        expect(page).to_have_url(re.compile(rf"\?s=[\w-]+&step={step}$"))
    page.locator("#rail-upload").click()
    expect(page.locator("#paste textarea")).to_have_value("Ada met?")


def test_the_theme_can_be_switched_and_is_remembered(live: Live, visit: Any) -> None:
    page = visit(live.url, color_scheme="light")
    body, switch = page.locator("body"), page.locator("#scheme")
    expect(switch).to_have_accessible_name(re.compile("light and dark|dark theme"))
    expect(body).not_to_have_class(re.compile(r"\bdark\b"))
    switch.click()
    expect(body).to_have_class(re.compile(r"\bdark\b"))
    page.reload()
    expect(body).to_have_class(re.compile(r"\bdark\b"))
    page.emulate_media(color_scheme="dark")
    expect(body).to_have_class(re.compile(r"\bdark\b"))
    switch.click()
    expect(body).not_to_have_class(re.compile(r"\bdark\b"))
    # What was chosen outlasts a change of the system; choosing what the system has ends that.
    page.emulate_media(color_scheme="light")
    expect(body).not_to_have_class(re.compile(r"\bdark\b"))
    switch.click()
    switch.click()
    page.emulate_media(color_scheme="dark")
    expect(body).to_have_class(re.compile(r"\bdark\b"))


def test_every_topic_is_written_drawn_and_named_once() -> None:
    html = help_html()
    for key, topic in TOPICS.items():
        assert html.count(f'<article id="help-{key}"') == 1
        assert topic.title in html
        assert topic.short.endswith(".")
        assert len(re.findall(r"[.?!](?: |$)", topic.short)) == 1, topic.short
    drawn = {topic.picture for topic in TOPICS.values()} - {""}
    assert drawn == set(PICTURES)
    assert html.count("<svg") == len(drawn)
    assert 'aria-label="Learn more: The probe"' in learn_more("probe")
    with pytest.raises(KeyError):
        learn_more("nothing")
