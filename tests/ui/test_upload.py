"""The upload screen in a browser: documents, reports, undo, the form of a type, suggestions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.ui.conftest import Live, shoot
from tests.unit.documents_support import SCANNED, locked_pdf, pdf, report_docx

pytestmark = [pytest.mark.ui, pytest.mark.browser]

PAGES = [
    ["Lake report", "Ada met Grace at Lake Bled."],
    SCANNED,
    ["Lake report", "Nobody was seen at Lake Bled in the winter of 1962."],
    ["Lake report", "Bob left."],
]
HOSTILE = "<img src=x onerror='window.hacked=1'>"


def begin(live: Live, visit: Any, **options: Any) -> Any:
    """A page with a new session."""
    page = visit("about:blank", **options)
    page.goto(live.url)
    page.locator("#new-session").click()
    expect(page.locator("#drop")).to_be_visible()
    return page


@pytest.fixture
def page(live: Live, visit: Any) -> Any:
    return begin(live, visit)


def drop(page: Any, *files: Path) -> None:
    page.locator("#drop input[type=file]").set_input_files([str(file) for file in files])


def test_several_files_at_once_each_with_its_report(page: Any, tmp_path: Path, shots: Path) -> None:
    contents = {
        "lakes.pdf": pdf(PAGES),
        "notes.docx": report_docx(),
        "locked.pdf": locked_pdf(PAGES),
        "scan.pdf": pdf([SCANNED]),
        "plain.txt": f"It rained. {HOSTILE}".encode(),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    drop(page, *(tmp_path / name for name in contents))
    rows = page.locator("#files tbody tr")
    expect(rows.locator("[data-act=remove]")).to_have_count(3)
    expect(page.locator("tr.reading")).to_have_count(0)
    expect(rows.nth(0)).to_contain_text("No text on page 2: probably scanned")
    expect(rows.nth(0)).to_contain_text("“Lake report”")
    expect(rows.nth(1)).to_contain_text("Word")
    problems = page.locator(".sam-refused")
    expect(problems).to_contain_text("2 files were not added")
    expect(problems).to_contain_text("locked.pdf is locked")
    expect(problems).to_contain_text("its only page is probably scanned")
    expect(page.locator(".sam-from").first).to_have_text("lakes.pdf, page 1")
    expect(page.locator("#preview")).to_contain_text("lakes.pdf, page 3")
    expect(page.locator("#preview")).to_contain_text(HOSTILE)
    shoot(page, shots / "1-upload-report.png")
    page.reload()
    expect(problems.locator("li")).to_have_count(2)
    problems.locator("[data-act=dismiss]").first.click()
    expect(problems).to_contain_text("1 file was not added")
    assert page.evaluate("window.hacked") is None


def test_a_removed_file_comes_back(page: Any, tmp_path: Path) -> None:
    (tmp_path / "lakes.txt").write_text("Ada met Grace. Bob left.")
    drop(page, tmp_path / "lakes.txt")
    expect(page.locator("#preview li")).to_have_count(2)
    page.locator("#files [data-act=remove]").click()
    expect(page.locator("tr.gone")).to_contain_text("lakes.txt removed, with 2 sentences")
    expect(page.locator("#preview li")).to_have_count(0)
    page.reload()
    page.locator("[data-act=restore]").click()
    expect(page.locator("#preview li")).to_have_count(2)
    expect(page.locator("tr.gone")).to_have_count(0)
    page.locator("#files [data-act=remove]").click()
    page.locator("[data-act=discard]").click()
    expect(page.locator("#files .sam-empty")).to_be_visible()


def test_a_type_is_defined_renamed_and_recoloured(page: Any, shots: Path) -> None:
    page.locator("#types-box textarea").fill("person\nplace")
    page.locator("#add-types").click()
    chips = page.locator("#types .sam-chip")
    expect(chips).to_have_count(2)
    other = chips.nth(1).get_attribute("style")
    chips.nth(0).locator(".sam-chip-name").click()
    definition = page.locator(".sam-type-form [name=definition]")
    expect(definition).to_be_focused()
    shoot(page, shots / "1-upload-type.png")
    definition.fill(f"a human {HOSTILE}")
    page.locator(".sam-type-form [name=to]").fill("people")
    page.locator(".sam-swatch.used input").check()
    definition.press("Enter")
    expect(page.locator(".sam-type-form")).to_have_count(0)
    expect(chips.nth(0)).to_contain_text("people")
    expect(chips.nth(0)).to_have_attribute("style", str(other))
    expect(chips.nth(0).locator(".sam-chip-name")).to_be_focused()
    expect(chips.nth(0).locator(".sam-chip-name")).to_have_attribute("title", f"a human {HOSTILE}")
    page.keyboard.press("Enter")
    page.locator(".sam-type-form [name=to]").fill("Place")
    page.locator(".sam-type-form [type=submit]").click()
    expect(page.locator("#sam-notice")).to_contain_text("There is a type “Place” already.")
    page.locator(".sam-type-form [name=definition]").press("Escape")
    expect(page.locator(".sam-type-form")).to_have_count(0)
    expect(chips.nth(0)).to_contain_text("people")
    assert page.evaluate("window.hacked") is None


def test_what_recurs_is_shown_and_found_in_the_preview(page: Any) -> None:
    page.locator("#paste textarea").fill("Ada saw Lake Bled. Nobody saw Lake Bled. It rained.")
    page.locator("#add-text").click()
    often = page.locator("#suggested .often")
    expect(often.first).to_contain_text("Lake Bled 2×")
    expect(page.locator("#suggested")).to_contain_text("those that fit your texts first")
    often.first.click()
    expect(page.locator("#preview-search textarea")).to_have_value("Lake Bled")
    expect(page.locator("#preview li")).to_have_count(2)
    page.locator("#suggested .add").first.click()
    expect(page.locator("#types .sam-chip")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_full_screen_fits_a_narrow_window(
    live: Live, visit: Any, tmp_path: Path, shots: Path, scheme: str
) -> None:
    page = begin(live, visit, width=400, color_scheme=scheme)
    long = tmp_path / ("A report with a very long name about lakes " * 3 + ".pdf")
    long.write_bytes(pdf(PAGES))
    (tmp_path / f"{'x' * 80}.pdf").write_bytes(locked_pdf(PAGES))
    drop(page, long, tmp_path / f"{'x' * 80}.pdf")
    expect(page.locator("#files [data-act=remove]")).to_have_count(1)
    expect(page.locator(".sam-refused li")).to_have_count(1)
    page.locator("#types-box textarea").fill("person")
    page.locator("#add-types").click()
    page.locator(".sam-chip-name").click()
    expect(page.locator(".sam-type-form")).to_be_visible()
    page.locator(".sam-privacy summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    shoot(page, shots / f"narrow-{scheme}-upload-full.png")
