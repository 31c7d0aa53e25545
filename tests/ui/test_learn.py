"""Learning from corrections in a browser: offered, running, a result to keep or discard, published."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from experts.corpus import EntityType
from experts.errors import SamError
from experts.spans import Span
from sam_ui.services import Services
from sam_ui.services.views import SessionInfo
from tests.ui.conftest import PATIENCE_MS, Live, shoot

pytestmark = [pytest.mark.ui, pytest.mark.browser]

NAMES = (
    "Ada", "Bob", "Cleo", "Dora", "Emmy", "Finn", "Grace", "Hugo", "Iris", "Jane", "Kurt", "Lise",
    "Mary", "Nora", "Otto", "Paul", "Queenie", "Rosa", "Stella", "Theodora", "Ursula", "Viktoria",
)  # fmt: skip
TEXT = "\n".join(f"Today {name} met nobody." for name in NAMES)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        pause.wait(0.02)


def correct(services: Services, session: SessionInfo, count: int) -> None:
    """Say that the name is a person and “Today” is not."""
    for sentence in services.store.corpus.sentences(session.id, limit=count):
        end = sentence.text.index(" met")
        services.corrections.put(session.id, sentence.id, [Span(6, end, "person")])


def merged(services: Services, corrections: int) -> SessionInfo:
    """A session whose merge has read the texts."""
    session = services.sessions.create("Learning")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person")])
    services.merge.start(session.id, {"astro": 0.5, "law": 0.5}, label="Mine")
    wait_for(lambda: services.jobs.active(session.id) is None, "the merge has read the texts")
    correct(services, session, corrections)
    return session


def open_review(visit: Any, live: Live, token: str, **options: Any) -> Any:
    page = visit(f"{live.url}/?s={token}&step=review", **options)
    expect(page.locator("#learn h2").first).to_be_visible()
    return page


def test_learning_is_offered_runs_and_its_result_is_kept_used_and_published(
    live: Live, visit: Any, shots: Path
) -> None:
    services, engine = live.services, live.engine
    assert engine is not None
    session = merged(services, 2)
    page = open_review(visit, live, session.token)
    card = page.locator("#learn")
    expect(card).to_contain_text("2 of 4 corrected")
    expect(page.locator("#learn-train")).to_have_count(0)
    correct(services, session, 20)
    page.reload()
    expect(card).to_contain_text("Learn from 20 corrections")
    expect(card).to_contain_text("“Mine” goes on learning")
    expect(card).to_contain_text("about 1 minute")
    card.locator("summary").click()
    expect(page.locator("#learn-weights")).to_be_enabled()

    engine.gate = threading.Event()
    page.locator("#learn-train").click()
    expect(card).to_contain_text("You can go on correcting meanwhile")
    expect(page.locator(".sam-strip")).to_contain_text("Learning from one half")
    shoot(page, shots / "4-learn-running.png")
    engine.gate.set()
    engine.gate = None
    result = page.locator("#learn-result")
    expect(result).to_contain_text("found 20 of 20 instead of 20")
    expect(result).to_contain_text("0 wrong instead of 20")
    expect(result).to_contain_text("It has helped: F1 0.67 → 1.00")
    expect(result.locator("li")).to_contain_text("found 20 → 20 of 20 (100 %)")
    expect(result.locator("li")).to_contain_text("wrong 20 → 0")
    shoot(page, shots / "4-learn-result.png")
    looking = open_review(visit, live, services.links.create(session.id, "view"))
    expect(looking.locator("#learn-result")).to_contain_text("0 wrong instead of 20")
    expect(looking.locator("#learn button")).to_have_count(0)

    page.locator("#learn-keep").click()
    expect(page.locator("#learn-kept")).to_contain_text("learned from 20 corrections is kept")
    page.locator("#learn-read").click()
    expect(page.locator("#learn-read")).to_have_count(0)
    merge, _ = services.merge.list(session.id)
    assert merge.label == "Learned from 20 corrections"
    wait_for(lambda: services.merge.get(session.id, merge.id).predicted, "it has read the texts")

    page.locator("#learn-publish").click()
    page.locator("#publish-title").fill("Astro")
    page.locator("#publish-title").press("Enter")
    expect(page.locator(".sam-notice")).to_contain_text("already in the pool")
    page.locator("#publish-title").fill("Names <of> people")
    page.locator("#publish-licence").select_option("CC-BY-4.0")
    shoot(page, shots / "4-learn-publish.png")
    page.get_by_role("button", name="Add the expert").click()
    expect(page.locator("#learn-published")).to_contain_text("names-of-people")
    card_of = services.pool.get("names-of-people").card
    assert card_of.title == "Names <of> people"
    assert card_of.data[0].licence == "CC-BY-4.0"


def test_little_is_not_claimed_and_discarding_can_be_undone(
    live: Live, visit: Any, shots: Path
) -> None:
    services, engine = live.services, live.engine
    assert engine is not None
    session = merged(services, 6)
    page = open_review(visit, live, session.token, width=400, color_scheme="dark")
    card = page.locator("#learn")
    expect(card).to_contain_text("Ten sentences and more say whether it has helped")
    card.locator("summary").click()
    expect(page.locator("#learn-weights")).to_be_disabled()
    expect(card).to_contain_text("6 corrected entities are too few")
    page.locator("#learn-train").click()
    expect(page.locator("#learn-result")).to_contain_text("Too little to claim anything")
    box = page.locator("#learn-card").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
    fits = "card => card.scrollWidth <= card.clientWidth"
    assert page.locator("#learn-card").evaluate(fits)
    shoot(page, shots / "narrow-dark-4-learn.png")
    page.locator("#learn-discard").click()
    expect(card).to_contain_text("The result was discarded")
    card.get_by_role("button", name="Undo").click()
    expect(page.locator("#learn-kept")).to_be_visible()
    page.locator("#learn-undo").click()
    expect(page.locator("#learn-kept")).to_have_count(0)
    assert [merge.label for merge in services.merge.list(session.id)] == ["Mine"]

    engine.helps = False
    page.locator("#learn-train").click()
    expect(page.locator("#learn-result")).to_contain_text("Nothing that was tried did better")
    page.locator("#learn-discard").click()
    expect(page.locator("#learn-train")).to_be_visible()
    engine.helps = True
    engine.error = SamError("A base model in int8 cannot be trained on.", "Set SAM_DTYPE=auto.")
    page.locator("#learn-train").click()
    expect(card.locator(".failed")).to_contain_text("in int8 cannot be trained on")
    expect(page.locator(".sam-strip.failed #retry-job")).to_be_visible()
    engine.error = None
    page.locator("#retry-job").click()
    expect(page.locator("#learn-keep")).to_be_visible()
