"""The Merge step in a browser: linked sliders, preview, history, two merges side by side."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from experts.corpus import EntityType
from sam_ui.services import Services
from sam_ui.services.views import SessionInfo
from tests.ui.conftest import PATIENCE_MS, Live, shoot

pytestmark = [pytest.mark.ui, pytest.mark.browser]

TEXT = (
    "Ada met Grace in Bled. Professor Hubble left. Nothing happened. The River Soča flows past "
    "Kobarid. In Ljubljana Plečnik built a bridge. Rain fell on Monday. Eve saw Orion from Tolmin."
)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        pause.wait(0.02)


def idle(services: Services, session: SessionInfo) -> None:
    wait_for(lambda: services.jobs.active(session.id) is None, "the job ends")


def matched(services: Services) -> SessionInfo:
    """A session whose experts have been compared: astro and lake are recommended."""
    session = services.sessions.create("Merging")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person"), EntityType("place")])
    services.match.start(session.id)
    idle(services, session)
    return session


def merged(services: Services, session: SessionInfo, weights: dict[str, float], **how: Any) -> str:
    """A merge that has read the texts; its id."""
    services.merge.start(session.id, weights, **how)
    idle(services, session)
    return services.merge.list(session.id)[0].id


def open_merge(visit: Any, live: Live, session: SessionInfo, **options: Any) -> Any:
    page = visit(f"{live.url}/?s={session.token}&step=merge", **options)
    expect(page.locator(".sam-weight").first).to_be_visible()
    return page


def weight_of(name: str) -> str:
    return f"#weight-{name}"


def test_linked_sliders_keep_their_sum_with_mouse_and_keyboard(live: Live, visit: Any) -> None:
    session = matched(live.services)
    page = open_merge(visit, live, session)
    page.locator("#add-expert").select_option("law")
    expect(page.locator(".sam-weight")).to_have_count(3)
    expect(page.locator("#weights")).to_contain_text("add up to 1.50")
    page.locator("#keep-sum").click()
    expect(page.locator("#weights")).to_contain_text("add up to 1.00")
    expect(page.locator(weight_of("law"))).to_have_value("0.333")

    # The others move while one is dragged, before the server has heard of it.
    first = page.locator("#weights input[type=range]").first
    moved = first.evaluate(
        """(node) => { node.value = 0.6; node.dispatchEvent(new Event('input', {bubbles: true}));
        const fields = document.querySelectorAll('.sam-weight input[type=number]');
        return [...fields].map((field) => +field.value); }"""
    )
    assert moved == [0.6, 0.2, 0.2]
    first.evaluate("(node) => node.dispatchEvent(new Event('change', {bubbles: true}))")
    wait_for(
        lambda: live.services.drafts.get(session.id).weights["lake"] == 0.2, "the draft follows"
    )
    expect(page.locator("#weights")).to_contain_text("add up to 1.00")

    # Arrow keys move it step by step; it keeps the keyboard when the answer has been drawn.
    first = page.locator("#weights input[type=range]").first
    first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    wait_for(
        lambda: live.services.drafts.get(session.id).weights["astro"] == pytest.approx(0.65),
        "the draft follows the keys",
    )
    expect(page.locator(weight_of("lake"))).to_have_value("0.175")
    expect(first).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(weight_of("lake"))).to_have_value("0.18")

    page.locator("#merge-use-law").click()  # the answer to the key may still be drawn over it
    expect(page.locator("#merge-use-law")).not_to_be_checked()
    expect(page.locator("#weights")).to_contain_text("add up to 1.00")
    page.locator("#merge-recommended").click()
    expect(page.locator(".sam-weight")).to_have_count(2)
    expect(page.locator("#keep-sum")).to_be_checked()


def test_the_preview_shows_other_sentences_and_never_passes_off_an_old_answer(
    live: Live, visit: Any, shots: Path
) -> None:
    assert live.engine is not None
    session = matched(live.services)
    page = open_merge(visit, live, session)
    card = page.locator("#merge-preview")
    expect(card.locator("mark").first).to_be_visible()
    before = card.locator("ol").inner_text()
    page.locator("#preview-others").click()
    expect(card.locator("ol")).not_to_have_text(before)
    expect(card.locator("mark.fresh")).to_have_count(0)  # other sentences: nothing has changed
    page.locator("#preview-others").click()
    expect(card.locator("mark").first).to_be_visible()

    # Somebody's long work runs, which makes no room: the preview says what it waits for.
    other = matched(live.services)
    live.engine.gate = threading.Event()
    live.engine.entered.clear()
    live.services.match.start(other.id)
    assert live.engine.entered.wait(PATIENCE_MS / 1000)
    try:
        page.locator(weight_of("astro")).fill("1.5")
        page.locator(weight_of("astro")).press("Enter")
        expect(card.locator("#preview-state")).to_contain_text("Waiting for longer work")
        expect(card.locator("ol.pale")).to_be_visible()
        shoot(page, shots / "3-merge-waiting.png")
    finally:
        live.engine.gate.set()
        live.engine.gate = None
    expect(card.locator("ol.pale")).to_have_count(0)
    expect(card.locator("#preview-changes")).to_contain_text("no longer found")
    expect(card.locator("#preview-state")).to_have_text("Read again whenever you release a slider.")
    idle(live.services, other)


def test_history_is_renamed_restored_deleted_and_brought_back(
    live: Live, visit: Any, shots: Path
) -> None:
    session = matched(live.services)
    first = merged(live.services, session, {"astro": 0.7, "law": 0.3}, method="ties", rank=4)
    merged(live.services, session, {"astro": 0.5, "lake": 0.5})
    page = open_merge(visit, live, session)
    rows = page.locator(".sam-history li[data-merge]")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("entities found")
    expect(rows.first).to_contain_text(re.compile(r"agrees 1\.00 with 3 experts on \d sentences"))
    shoot(page, shots / "3-merge-history.png")

    row = page.locator(f'.sam-history li[data-merge="{first}"]')
    row.locator(".sam-rename").fill("<b>Careful</b> one")
    row.locator(".sam-rename").press("Enter")
    wait_for(
        lambda: live.services.merge.get(session.id, first).label == "<b>Careful</b> one", "its name"
    )
    row.get_by_role("button", name="Use these settings").click()
    expect(page.locator(weight_of("astro"))).to_have_value("0.7")
    expect(page.locator(weight_of("law"))).to_have_value("0.3")
    expect(page.locator("#method")).to_have_value("ties")
    expect(page.locator("#rank")).to_have_value("4")
    expect(page.locator("#sam-notice")).to_contain_text("settings of “<b>Careful</b> one”")

    row.locator(".sam-x").click()
    expect(rows).to_have_count(1)
    assert [m.id for m in live.services.merge.list(session.id)] != [first]
    page.reload()
    page.locator(".sam-history li.gone").get_by_role("button", name="Undo").click()
    expect(rows).to_have_count(2)
    row.get_by_role("button", name="See what it found").click()
    page.get_by_role("tab", name="All texts").click()
    expect(page.locator("#predictions mark").first).to_be_visible()


def test_two_merges_side_by_side(live: Live, visit: Any, shots: Path) -> None:
    session = matched(live.services)
    merged(live.services, session, {"astro": 0.7, "law": 0.3})
    short = merged(live.services, session, {"astro": 0.5, "lake": 0.5})
    # The stand-in finds the same with every merge: take away what one found in a sentence.
    found = live.services.store.history.found(session.id, short)
    sentence, spans = next((ident, spans) for ident, spans in found.items() if len(spans) > 1)
    kept = [
        (ident, span) for ident, each in found.items() for span in each
        if not (ident == sentence and span == spans[0])
    ]  # fmt: skip
    replace_predictions(live.services, session.id, short, kept)

    page = open_merge(visit, live, session)
    for number in (0, 1):
        page.locator(".sam-pick").nth(number).click()  # drawn again at every answer
        expect(page.locator(".sam-pick:checked")).to_have_count(number + 1)
    card = page.locator("#merge-compare")
    expect(card.locator("tbody tr", has_text="Lakes")).to_contain_text("0.50")
    expect(card.locator("tbody tr", has_text="Court decisions")).to_contain_text("0.30")
    expect(card).to_contain_text("The same in both: Method Weighted sum")
    verdict = card.locator(".sam-verdict")
    expect(verdict).to_contain_text("Of 7 sentences they read 6 alike")
    expect(verdict).to_contain_text("A alone 0, B alone 1")
    expect(card.locator(".sam-sides li")).to_have_count(1)
    expect(card.locator("mark.fresh")).to_have_count(1)
    expect(card.locator("mark.fresh")).to_have_attribute("title", re.compile("only B"))
    shoot(page, shots / "3-merge-compare.png")
    card.get_by_role("button", name="Close the comparison").click()
    expect(card.locator("table")).to_have_count(0)
    expect(page.locator(".sam-pick:checked")).to_have_count(0)


def replace_predictions(services: Services, session_id: str, merge_id: str, kept: Any) -> None:
    from db.records import NewSpan

    session = services.store.session(session_id)
    services.store.predictions.replace(
        session_id,
        merge_id,
        [NewSpan(ident, s.start, s.end, s.label, s.score) for ident, s in kept],
        corpus_revision=session.corpus_revision,
        types_revision=session.types_revision,
    )


def test_a_merge_that_has_read_nothing_reads_a_few_sentences_to_be_compared(
    live: Live, visit: Any, shots: Path
) -> None:
    session = matched(live.services)
    merged(live.services, session, {"astro": 0.7, "law": 0.3})
    merged(live.services, session, {"astro": 0.5, "lake": 0.5}, predict=False)
    page = open_merge(visit, live, session, width=400, color_scheme="dark")
    expect(page.locator(".sam-history")).to_contain_text("has not read your texts yet")
    for number in (0, 1):
        page.locator(".sam-pick").nth(number).click()  # drawn again at every answer
        expect(page.locator(".sam-pick:checked")).to_have_count(number + 1)
    page.locator("#compare-sample").click()
    expect(page.locator("#merge-compare .sam-verdict")).to_contain_text("they read 6 alike (100 %)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    shoot(page, shots / "narrow-dark-merge-compare.png")
    assert not live.services.merge.list(session.id)[0].predicted
