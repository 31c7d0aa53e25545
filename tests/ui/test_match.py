"""The match screen in a browser: filters, charts, reasons, and answers that are corrected."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from experts.pool import Pool
from experts.spans import Span
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.engine import Engine
from sam_ui.services.probing import StoredAnswers
from sam_ui.settings import Settings
from tests.ui.conftest import Live, running, shoot
from tests.ui.test_screens import HOSTILE, start
from tests.unit.fakes import BASE, DOMAINS, FakeEmbedder, FakeExtractor, make_pool

pytestmark = [pytest.mark.ui, pytest.mark.browser]

CHURCH = "Ada met Grace in Bled."
NAMES = "Zoë and José met 👩🏽‍🚀 Ada 🚀 in Bled."
TEXTS = [
    CHURCH, NAMES, "Bea wrote to Carl and Dora about Emil.", "Finn, Gil and Hal saw Iris at Jena.",
    "Kim left Lund for Metz with Nora.", "Otto and Pia heard Quinn in Riga.", HOSTILE,
]  # fmt: skip


class Varied(FakeExtractor):
    """Astronomy finds every capitalised word, Lakes only the first, the others only the last."""

    def extract(
        self, texts: Sequence[str], types: Sequence[str], *, adapter: Path | None = None,
        progress: Any = None, cancelled: Any = None,
    ) -> list[list[Span]]:  # fmt: skip
        found = super().extract(texts, types, adapter=adapter, cancelled=cancelled)
        name = adapter.name if adapter else ""
        part = slice(None) if name == "astro" else slice(1) if name == "lake" else slice(-1, None)
        return [spans[part] for spans in found]


@pytest.fixture(scope="module")
def pool_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("match") / "pool"
    make_pool(folder)
    return folder


@pytest.fixture(scope="module")
def match_app(pool_folder: Path) -> Iterator[Live]:
    """As `live`, with the real match: only embedder and extractor are stand-ins."""
    settings = Settings(data_dir=pool_folder.parent / "data", host="127.0.0.1", _env_file=None)
    services = Services(settings, pool=Pool(pool_folder, pool_folder / "own", base_model=BASE))
    engine = Engine(
        settings, pool=lambda: services.pool, answers=StoredAnswers(services.store.answers)
    )
    engine.__dict__ |= {"embedder": FakeEmbedder(), "extractor": Varied()}
    worker = Worker(services, engine, name="thread")
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        with running(services) as url:
            yield Live(url, services)
    finally:
        worker.stopping.set()
        thread.join(10)
        services.close()


def matched(visit: Any, app: Live, **options: Any) -> Any:
    """A page with a finished match of `TEXTS`."""
    page = visit(app.url, **options)
    start(page, "\n\n".join(TEXTS))
    page.locator("#primary").click()
    expect(page.locator(".sam-expert")).to_have_count(3)
    return page


def answers(page: Any) -> Any:
    page.get_by_role("tab", name="Answers").click()
    expect(page.locator("#answers .sam-answer")).to_have_count(len(TEXTS))
    return page.locator("#answers")


def card(page: Any, text: str) -> Any:
    """The sentence's part of the answers, opened."""
    found = page.locator("#answers .sam-answer").filter(has_text=text[:20])
    if found.get_attribute("open") is None:
        found.locator("summary").click()
    return found


def corrections(app: Live, page: Any) -> dict[str, list[tuple[str, str]]]:
    """Sentence -> (mention, type) of its correction, as the database has them."""
    token = re.search(r"[?&]s=([^&]+)", page.url)
    assert token is not None
    session = app.services.sessions.by_token(token[1])
    assert session is not None
    texts = {row.id: row.text for row in app.services.corpus.sentences(session.id).rows}
    return {
        texts[c.sentence_id]: [(texts[c.sentence_id][s.start : s.end], s.label) for s in c.spans]
        for c in app.services.corrections.list(session.id)
    }


def select(page: Any, text: str, start: int, end: int) -> None:
    """Select UTF-16 units of the editor's text with the mouse's events."""
    page.evaluate(
        """([start, end]) => {
          const box = document.querySelector('.sam-edit-text');
          const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
          const at = (offset) => {
            walker.currentNode = box;
            while (walker.nextNode()) {
              if (offset <= walker.currentNode.data.length) return [walker.currentNode, offset];
              offset -= walker.currentNode.data.length;
            }
          };
          document.getSelection().setBaseAndExtent(...at(start), ...at(end));
          box.dispatchEvent(new MouseEvent('mouseup', {bubbles: true}));
        }""",
        [start, end],
    )


def units(text: str) -> int:
    """Length as JavaScript counts."""
    return len(text.encode("utf-16-le")) // 2


def test_one_click_takes_an_answer_and_everything_follows(
    match_app: Live, visit: Any, shots: Path
) -> None:
    page = matched(visit, match_app)
    expect(page.locator("#match-summary")).to_contain_text("on 7 sampled sentences")
    shown = answers(page)
    for text in TEXTS[:6]:
        part = card(page, text)
        row = part.locator("tr", has_text="Court decisions")
        row.locator("[data-act=take]").click()
        expect(part.locator("tr", has_text="Court").locator(".sam-right-one")).to_be_visible()
    expect(shown.locator(".sam-progress")).to_contain_text("6 of 7 sentences corrected.")
    expect(page.locator("#match-summary")).to_contain_text("6 of them corrected by you")
    expect(page.locator("#experts")).to_contain_text("6 of them corrected by you")
    law = page.locator(".sam-expert", has_text="Court decisions").locator(".sam-bar.probe")
    expect(law.locator("span").last).to_have_text("1.00")
    assert corrections(match_app, page)[CHURCH] == [("Bled", "person")]
    shoot(page, shots / "2-match-corrected.png")
    card(page, CHURCH).locator("[data-act=uncorrect]").click()
    expect(shown.locator(".sam-progress")).to_contain_text("5 of 7 sentences corrected.")
    page.reload()
    answers(page)
    expect(shown.locator(".sam-progress")).to_contain_text("5 of 7 sentences corrected.")


def test_spans_are_marked_with_the_mouse_in_code_points(match_app: Live, visit: Any) -> None:
    page = matched(visit, match_app)
    answers(page)
    part = card(page, NAMES)
    part.locator("[data-open]").click()
    editor = part.locator(".sam-editor")
    expect(editor.locator(".sam-edit-text")).to_have_text(NAMES)
    for mark in editor.locator("mark").all_text_contents():  # what the best expert found
        editor.locator("mark", has_text=mark).first.click()
        editor.get_by_role("button", name="Remove the mark").click()
    expect(editor.locator("mark")).to_have_count(0)

    before, inside = NAMES.index("👩"), NAMES.index("👩") + 2
    # From the middle of the astronaut to the space behind her: she is taken whole, the space not.
    select(page, NAMES, units(NAMES[:inside]) - 1, units(NAMES[: NAMES.index(" Ada") + 1]))
    expect(editor.locator(".sam-edit-said")).to_contain_text(f"Mark “{NAMES[before:].split()[0]}”")
    editor.locator(".sam-chip", has_text="place").click()
    ada = units(NAMES[: NAMES.index("Ada")])
    select(page, NAMES, ada, ada + 3)
    editor.locator(".sam-chip", has_text="person").click()
    jose = NAMES.index("José") if "José" in NAMES else NAMES.index("Jose")
    select(page, NAMES, units(NAMES[:jose]), units(NAMES[: jose + 4]))
    editor.locator(".sam-chip", has_text="person").click()
    editor.get_by_role("button", name="Save this correction").click()
    expect(part.locator("tr", has_text="you")).to_have_count(1)
    assert corrections(match_app, page)[NAMES] == [
        (NAMES[jose:].split()[0], "person"),
        (NAMES[before:].split()[0], "place"),
        ("Ada", "person"),
    ]


def test_spans_are_marked_with_the_keyboard(match_app: Live, visit: Any) -> None:
    page = matched(visit, match_app)
    answers(page)
    part = card(page, CHURCH)
    part.locator("[data-open]").click()
    box = part.locator(".sam-edit-text")
    expect(box).to_be_focused()
    for key in ("ArrowRight", "Shift+ArrowRight", "2"):
        box.press(key)
    expect(part.locator(".sam-edit-said")).to_have_text("“Ada met” is marked as place.")
    box.press("ArrowRight")
    box.press("Delete")
    expect(part.locator(".sam-edit-said")).to_have_text("“Grace” is not marked any more.")
    box.press("Enter")
    expect(part.locator("tr", has_text="you")).to_have_count(1)
    assert corrections(match_app, page)[CHURCH] == [("Ada met", "place"), ("Bled", "person")]
    part.locator("[data-open]").click()
    part.locator(".sam-edit-text").press("Escape")
    expect(part.locator(".sam-editor")).to_have_count(0)


def test_texts_of_people_are_inert_in_editor_and_reasons(match_app: Live, visit: Any) -> None:
    page = matched(visit, match_app)
    answers(page)
    part = card(page, HOSTILE)
    part.locator("[data-open]").click()
    expect(part.locator(".sam-edit-text")).to_have_text(HOSTILE)
    part.get_by_role("button", name="Save this correction").click()
    expect(part.locator("tr", has_text="you")).to_have_count(1)
    row = page.locator(".sam-expert", has_text="Astronomy")
    row.locator("summary").click()
    expect(row.locator(".sam-pairs")).to_contain_text(HOSTILE)
    assert page.evaluate("window.hacked") is None


def test_the_reasons_of_an_expert(match_app: Live, visit: Any, shots: Path) -> None:
    page = matched(visit, match_app)
    row = page.locator(".sam-expert", has_text="Astronomy")
    row.locator("summary").click()
    expect(row.locator(".sam-pairs tbody tr")).to_have_count(3)
    expect(row.locator(".sam-shared li")).to_have_text(["person"])
    expect(row).to_contain_text("1 of your 2 types")
    expect(row).to_contain_text("CC-BY-4.0")
    expect(row).to_contain_text("F1 0.50 on texts of its own domain")
    shoot(page, shots / "2-match-why.png")


def test_a_choice_by_hand_stays_when_the_recommendation_changes(
    match_app: Live, visit: Any
) -> None:
    page = matched(visit, match_app)
    page.locator("#use-astro").click()
    expect(page.locator("#match-recommended")).to_be_enabled()
    answers(page)
    for text in TEXTS[:3]:
        row = card(page, text).locator("tr", has_text="Lakes")
        row.locator("[data-act=take]").click()
        expect(row.locator(".sam-right-one")).to_be_visible()
    expect(page.locator(".sam-progress")).to_contain_text("your choice stays as it is")
    expect(page.locator("#use-astro")).not_to_be_checked()
    page.locator("#match-recommended").click()
    expect(page.locator("#match-recommended")).to_be_disabled()
    expect(page.locator("#use-astro")).to_be_checked()


@pytest.fixture
def ponds(pool_folder: Path) -> Iterator[int]:
    """Many more experts in the pool; gives how many there are."""
    names = [f"pond-{number:02}" for number in range(20)]
    for name in names:
        shutil.copytree(pool_folder / "lake", pool_folder / name)
        path = pool_folder / name / "card.json"
        card = json.loads(path.read_text("utf-8"))
        card |= {"name": name, "title": f"The {name}", "hash": name, "domain": "small waters"}
        path.write_text(json.dumps(card), "utf-8")
    yield len(names) + len(DOMAINS)
    for name in names:
        shutil.rmtree(pool_folder / name)


def test_a_large_pool_is_searched_filtered_sorted_and_turned(
    match_app: Live, visit: Any, shots: Path, ponds: int
) -> None:
    page = visit(match_app.url)
    start(page, "\n\n".join(TEXTS))
    page.locator("#primary").click()
    experts = page.locator(".sam-expert")
    expect(experts).to_have_count(8)
    pager = page.locator("#experts .sam-pager")
    expect(pager).to_contain_text(f"1–8 of {ponds} experts")
    expect(page.locator("#fit-pager .sam-pager")).to_contain_text(f"1–8 of {ponds} experts")
    expect(page.locator("#fit-chart .plot-container")).to_be_visible()
    shoot(page, shots / "2-match-many.png")
    pager.get_by_role("button", name="Next").click()
    expect(pager).to_contain_text(f"9–16 of {ponds}")
    expect(page.locator("#fit-pager .sam-pager")).to_contain_text("9–16")
    search = page.locator("#experts-search").locator("input, textarea")
    search.fill("astro")
    expect(experts).to_have_count(1)
    search.fill("small waters")
    expect(experts.first).to_contain_text("The pond")
    expect(pager).to_contain_text("1–8 of 20 experts")
    choose(page, "#experts-sort", "name")
    search.fill("pond-19")
    expect(experts).to_have_count(1)
    page.locator("#use-pond-19").click()
    expect(page.locator("#match-recommended")).to_be_enabled()
    choose(page, "#experts-show", "on")
    search.fill("nothing like it")
    expect(page.locator("#experts .sam-empty")).to_be_visible()
    page.locator("#experts").get_by_role("button", name="Show all experts").click()
    expect(page.locator("#experts-show option[selected]")).to_have_attribute("value", "all")
    expect(page.locator("#experts .sam-empty")).to_be_visible()  # the search still holds
    search.fill("")
    expect(pager).to_contain_text(f"1–8 of {ponds}")
    expect(experts.first).to_contain_text("Astronomy")  # by name, as chosen before
    expect(page.locator("#match-recommended")).to_be_enabled()


def choose(page: Any, select: str, value: str) -> None:
    """Choose an option and wait for the server's answer."""
    page.locator(select).select_option(value)
    expect(page.locator(f"{select} option[selected]")).to_have_attribute("value", value)


def test_who_may_only_look_sees_answers_without_controls(match_app: Live, visit: Any) -> None:
    page = matched(visit, match_app)
    token = re.search(r"[?&]s=([^&]+)", page.url)
    assert token is not None
    session = match_app.services.sessions.by_token(token[1])
    assert session is not None
    look = match_app.services.links.create(session.id, "view")
    other = visit(f"{match_app.url}/?s={look}&step=match")
    expect(other.locator(".sam-expert")).to_have_count(3)
    other.get_by_role("tab", name="Answers").click()
    expect(other.locator("#answers .sam-answer")).to_have_count(len(TEXTS))
    expect(other.locator("[data-act=take], [data-open]")).to_have_count(0)
    expect(other.locator("#experts-sort")).to_be_visible()
    expect(other.locator("#use-astro")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_fits_a_narrow_window(
    match_app: Live, visit: Any, shots: Path, scheme: str
) -> None:
    page = matched(visit, match_app, width=400, color_scheme=scheme)
    page.locator(".sam-expert summary").first.click()
    charts = {"Scores": "#fit-chart", "Map": "#map-chart", "Types": "#type-chart"}
    for tab in (*charts, "Answers"):
        page.get_by_role("tab", name=tab).click()
        if tab in charts:
            expect(page.locator(f"{charts[tab]} .plot-container")).to_be_visible()
        else:
            card(page, NAMES).locator("[data-open]").click()
            expect(page.locator(".sam-editor")).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400, f"{tab} is {wide} pixels wide"
        shoot(page, shots / f"narrow-{scheme}-match-{tab.lower()}.png")
