"""Review: sentence after sentence in the editor, the queue, saving, two people."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from sam_ui.services import Services
from sam_ui.services.views import EntityType, SessionInfo
from tests.ui.conftest import PATIENCE_MS, Live, shoot

pytestmark = [pytest.mark.ui, pytest.mark.browser]

# The stand-in finds every capitalised word, the longer the likelier.
TEXT = """Ada met Grace in Bled. Professor Hubble left Ljubljana. Nothing happened here. \
Grace wrote to Bled again. Ada saw Bled."""


@pytest.fixture
def session(live: Live) -> SessionInfo:
    return reviewed(live.services)


def reviewed(services: Services, text: str = TEXT) -> SessionInfo:
    """A session whose texts a merge has read."""
    session = services.sessions.create("Letters")
    services.corpus.add_text(session.id, text)
    services.types.set(session.id, [EntityType("person"), EntityType("place", "where people live")])
    services.merge.start(session.id, {"astro": 0.5, "law": 0.5})
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while services.jobs.active(session.id) is not None:
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.05)
    return session


class Screen:
    """A page at the review."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.box = page.locator("#review-editor .sam-ed-text").first
        self.said = page.locator(".sam-ed-said")
        self.status = page.locator(".sam-ed-status")
        self.saving = page.locator(".sam-ed-saving")
        self.count = page.locator("#review-count")
        self.primary = page.locator("#primary")

    def has(self, words: str) -> None:
        expect(self.box).to_contain_text(words)
        expect(self.box.locator("xpath=..")).not_to_have_attribute("aria-busy", "true")

    def saved(self) -> None:
        expect(self.saving).to_have_text("saved")

    def go(self, words: str) -> None:
        """To a sentence, by the list of sentences."""
        self.page.locator(".sam-queue button", has_text=words).click()
        self.has(words)

    def word(self, word: str) -> None:
        """Choose a word with the mouse."""
        x, y = self.page.evaluate(
            """(word) => {
              const ed = document.querySelector('.sam-ed').samEditor;
              const at = ed.doc.text.text.indexOf(word);
              ed.tools.box.scrollIntoView({block: 'center'});
              const box = ed.view.range({start: at + 1, end: at + 2}).getBoundingClientRect();
              return [box.left + 1, box.top + box.height / 2];
            }""",
            word,
        )
        self.page.mouse.dblclick(x, y)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture
def enter(live: Live, visit: Any) -> Any:
    def open_review(token: str, **options: Any) -> Screen:
        screen = Screen(visit(f"{live.url}/?s={token}&step=review", **options))
        expect(screen.box).not_to_be_empty()
        return screen

    return open_review


def spans(live: Live, session: SessionInfo, words: str) -> list[tuple[str, str]] | None:
    """What the database says of the sentence that contains `words`: (surface, type)."""
    rows = live.services.corpus.sentences(session.id).rows
    row = next(row for row in rows if words in row.text)
    found = {each.sentence_id: each for each in live.services.corrections.list(session.id)}
    if row.id not in found:
        return None
    return [(row.text[s.start : s.end], s.label) for s in found[row.id].spans]


def test_sentence_after_sentence_to_the_end_and_on_to_share(
    live: Live, session: SessionInfo, enter: Any, shots: Path
) -> None:
    screen = enter(session.token)
    # The most doubtful first: “Ada” is short.
    screen.has("Ada")
    expect(screen.primary).to_have_text("Accept and next")
    expect(screen.count).to_have_text("0 of 5 reviewed")
    shoot(screen.page, shots / "4-review.png")
    screen.primary.click()
    expect(screen.count).to_have_text("1 of 5 reviewed")
    for number in (2, 3, 4):
        screen.press("Enter")
        expect(screen.count).to_have_text(f"{number} of 5 reviewed")
    screen.press("s")
    expect(screen.count).to_have_text("4 of 5 reviewed, 1 skipped")
    expect(screen.primary).to_have_text("Take the model home")
    expect(screen.said).to_contain_text("every sentence is reviewed")
    screen.saved()
    shoot(screen.page, shots / "4-review-done.png")
    assert live.services.corrections.count(session.id) == 4
    screen.primary.click()
    expect(screen.page.locator("#rail-share[aria-current]")).to_be_visible()


def test_what_is_done_is_saved_at_once_and_a_refresh_comes_back_to_it(
    live: Live, session: SessionInfo, enter: Any
) -> None:
    screen = enter(session.token)
    screen.go("Professor Hubble")
    screen.word("Ljubljana")
    screen.press("2")
    screen.saved()
    assert ("Ljubljana", "place") in (spans(live, session, "Professor") or [])
    expect(screen.status).to_have_text("changed")
    expect(screen.page.locator("#review-history")).to_contain_text("“Ljubljana” place")
    screen.page.reload()
    screen.has("Professor Hubble")
    expect(screen.page.locator("[data-span-list] li")).to_have_count(3)
    expect(screen.page.locator("[data-span-list] li").nth(2)).to_contain_text("place")
    expect(screen.page).to_have_url(re.compile(r"&at=\d+"))


def test_an_accepted_sentence_is_taken_back(live: Live, session: SessionInfo, enter: Any) -> None:
    screen = enter(session.token)
    screen.go("Professor Hubble")
    screen.press("Enter")
    expect(screen.count).to_have_text("1 of 5 reviewed")
    screen.go("Professor Hubble")
    expect(screen.status).to_have_text("accepted")
    screen.press("Control+z")
    expect(screen.status).to_have_text("not reviewed")
    expect(screen.count).to_have_text("0 of 5 reviewed")
    screen.saved()
    assert spans(live, session, "Professor") is None
    screen.press("Control+Shift+z")
    expect(screen.count).to_have_text("1 of 5 reviewed")


def test_nothing_is_lost_when_the_server_is_slow(
    live: Live, session: SessionInfo, enter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = enter(session.token)
    screen.go("Professor Hubble")
    gate, put = threading.Event(), live.services.review.put
    monkeypatch.setattr(
        live.services.review, "put",
        lambda *args, **values: (gate.wait(PATIENCE_MS / 1000), put(*args, **values))[1],
    )  # fmt: skip
    screen.word("Ljubljana")
    screen.press("2")
    expect(screen.saving).to_have_text("saving…")
    # Meanwhile the work goes on, in this sentence and in the next, and nothing is redrawn.
    screen.word("Hubble")
    screen.press("Delete")
    first = screen.page.locator("#review-editor mark").first
    first.evaluate("node => { node.dataset.mine = 'yes'; }")
    screen.press("Enter")
    screen.page.wait_for_function(
        "() => !document.querySelector('.sam-ed').samEditor.doc.text.text.includes('Professor')"
    )
    screen.press("ArrowRight", "2")
    expect(screen.said).to_contain_text("is marked as place")
    gate.set()
    screen.saved()
    expect(screen.said).to_contain_text("is marked as place")
    assert spans(live, session, "Professor") == [("Professor", "person"), ("Ljubljana", "place")]
    row = next(r for r in live.services.corpus.sentences(session.id).rows if "Professor" in r.text)
    actions = [event.action for event in live.services.review.history(session.id, row.id)]
    assert actions == ["edit", "edit"], "accepting what was changed says nothing new"


def test_whoever_leaves_with_unsaved_work_is_warned(
    live: Live, session: SessionInfo, enter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = enter(session.token)
    screen.go("Professor Hubble")
    gate, put = threading.Event(), live.services.review.put
    monkeypatch.setattr(
        live.services.review, "put",
        lambda *args, **values: (gate.wait(PATIENCE_MS / 1000), put(*args, **values))[1],
    )  # fmt: skip
    screen.word("Ljubljana")
    screen.press("2")
    expect(screen.saving).to_have_text("saving…")
    with screen.page.expect_event("dialog") as asked:
        screen.page.once("dialog", lambda dialog: dialog.dismiss())
        screen.page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    gate.set()
    screen.saved()
    assert ("Ljubljana", "place") in (spans(live, session, "Professor") or [])


def test_what_was_not_saved_is_sent_when_the_page_is_loaded_anew(
    live: Live, session: SessionInfo, enter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = enter(session.token)
    screen.go("Professor Hubble")
    with monkeypatch.context() as patch:
        patch.setattr(live.services.review, "put", failing)
        screen.word("Ljubljana")
        screen.press("2")
        expect(screen.saving).to_have_text("could not be saved, trying again")
        screen.page.once("dialog", lambda dialog: dialog.accept())
        screen.page.reload(wait_until="commit")
    screen.has("Professor Hubble")
    screen.saved()
    expect(screen.box.locator("[data-label=place]")).to_have_count(1)
    assert ("Ljubljana", "place") in (spans(live, session, "Professor") or [])


def failing(*args: Any, **values: Any) -> Any:
    raise OSError("the disk is full")


def test_a_failing_server_is_asked_again(
    live: Live, session: SessionInfo, enter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = enter(session.token)
    screen.go("Professor Hubble")
    with monkeypatch.context() as patch:
        patch.setattr(live.services.review, "put", failing)
        screen.word("Ljubljana")
        screen.press("2")
        expect(screen.saving).to_have_text("could not be saved, trying again")
    screen.saved()
    assert ("Ljubljana", "place") in (spans(live, session, "Professor") or [])


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_two_people_see_each_others_version_and_neither_is_lost(
    live: Live, session: SessionInfo, enter: Any, shots: Path, keep: str
) -> None:
    named = live.services.links.create(session.id, "edit", label="Mary")
    ada, mary = enter(session.token), enter(named)
    for screen in (ada, mary):
        screen.go("Professor Hubble")
    mary.word("Ljubljana")
    mary.press("2")
    mary.saved()
    ada.word("Hubble")
    ada.press("2")
    clash = ada.page.locator(".sam-ed-conflict")
    expect(clash).to_contain_text("This sentence was changed by Mary")
    expect(clash.locator(".sam-ed-side")).to_have_count(2)
    shoot(ada.page, shots / f"4-review-conflict-{keep}.png")
    ada.page.get_by_role("button", name="Keep mine" if keep == "mine" else "Take theirs").click()
    expect(clash).to_be_hidden()
    ada.saved()
    found = dict(spans(live, session, "Professor") or [])
    assert found["Hubble"] == ("place" if keep == "mine" else "person")
    assert found["Ljubljana"] == ("person" if keep == "mine" else "place")
    expect(ada.page.locator("#review-history")).to_contain_text("Mary changed")
    ada.press("Escape")
    ada.word("Hubble")
    ada.press("Delete")  # and the work goes on
    ada.saved()
    assert "Hubble" not in dict(spans(live, session, "Professor") or [])


def test_all_that_is_alike_is_marked_and_taken_back(
    live: Live, session: SessionInfo, enter: Any, shots: Path
) -> None:
    screen = enter(session.token)
    screen.go("Ada met Grace")
    screen.word("Bled")
    screen.press("2", "a")
    panel = screen.page.locator("#review-alike")
    expect(panel.locator("li")).to_have_count(2)
    expect(panel).to_contain_text("Grace wrote to Bled again.")
    shoot(screen.page, shots / "4-review-alike.png")
    panel.locator("li", has_text="Ada saw").locator("input").uncheck()
    panel.locator("#spread").click()
    expect(panel).to_contain_text("1 sentence was changed.")
    assert ("Bled", "place") in (spans(live, session, "wrote") or [])
    assert spans(live, session, "Ada saw") is None
    panel.get_by_role("button", name="Undo").click()
    expect(panel.get_by_role("button", name="Undo")).to_have_count(0)
    assert spans(live, session, "wrote") is None


def test_what_the_model_is_sure_of_is_accepted_at_once(
    live: Live, session: SessionInfo, enter: Any
) -> None:
    screen = enter(session.token)
    card = screen.page.locator("#review-sure")
    card.locator("summary").click()
    expect(card).to_contain_text("No open sentence is that sure.")
    card.locator("#review-sure-slider").fill("65")
    card.locator("#review-sure-slider").dispatch_event("change")
    expect(card.locator("#accept-above")).to_have_text("Accept 1 sentence")
    expect(card.locator("mark", has_text="Nothing")).to_be_visible()
    card.locator("#accept-above").click()
    expect(screen.count).to_have_text("1 of 5 reviewed")
    screen.page.locator("#review-bulk").get_by_role("button", name="Undo").click()
    expect(screen.count).to_have_text("0 of 5 reviewed")


def test_order_and_filters_say_which_sentences_come(session: SessionInfo, enter: Any) -> None:
    screen = enter(session.token)
    rows = screen.page.locator(".sam-queue li")
    screen.page.locator("#review-q_order").select_option("position")
    expect(rows.nth(1)).to_contain_text("Professor Hubble")
    screen.go("Ada met Grace")
    screen.press("n")
    screen.has("Professor Hubble")
    screen.press("p")
    screen.has("Ada met Grace")
    screen.page.locator("#review-queue summary").click()
    screen.page.locator("#review-q_search").fill("bled")
    screen.page.locator("#review-q_search").press("Enter")
    expect(rows).to_have_count(3)
    screen.page.locator("#review-q_status").select_option("reviewed")
    expect(screen.page.locator("#step-review")).to_contain_text("No sentence fits these filters")
    expect(screen.primary).to_have_text("Show all sentences")
    screen.primary.click()
    expect(rows).to_have_count(5)
    expect(screen.box).to_be_visible()
    screen.page.locator("#review-q_search").fill("nothing")
    screen.page.locator("#review-q_search").press("Enter")
    screen.has("Nothing happened here.")
    screen.press("1")  # nothing is chosen
    expect(screen.said).to_have_text("Select words first, or click a mark.")


def test_whoever_may_only_look_reads_and_changes_nothing(
    live: Live, session: SessionInfo, enter: Any, shots: Path
) -> None:
    screen = enter(live.services.links.create(session.id, "view"))
    for name in (".sam-ed-palette", ".sam-ed-bar", "#primary", "#review-sure"):
        expect(screen.page.locator(name)).to_be_hidden()
    first = screen.box.inner_text()
    screen.press("n")
    expect(screen.box).not_to_have_text(first)
    screen.press("Enter", "x", "s")
    shoot(screen.page, shots / "4-review-view.png")
    expect(screen.count).to_have_text("0 of 5 reviewed")
    assert live.services.corrections.count(session.id) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_is_enough(
    live: Live, session: SessionInfo, enter: Any, shots: Path, scheme: str
) -> None:
    screen = enter(session.token, width=400, color_scheme=scheme)
    screen.page.locator(".sam-queue button", has_text="Professor").click()
    screen.has("Professor Hubble")
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 400
    screen.box.scroll_into_view_if_needed()
    screen.word("Ljubljana")
    screen.page.locator(".sam-ed-chip", has_text="place").click()
    screen.saved()
    assert ("Ljubljana", "place") in (spans(live, session, "Professor") or [])
    shoot(screen.page, shots / f"narrow-{scheme}-4-review.png")


def test_the_help_lists_the_keys(session: SessionInfo, enter: Any) -> None:
    screen = enter(session.token)
    screen.press("?")
    sheet = screen.page.locator("#sam-help")
    expect(sheet).to_contain_text("Keys of Review")
    screen.press("1", "s")  # not while the sheet is open
    sheet.locator("[data-help=review-keys]").click()
    expect(screen.page.locator("#help-review-keys")).to_contain_text("split the mark")
    screen.press("Escape")
    expect(screen.count).to_have_text("0 of 5 reviewed")
