"""The interface in a language that does not exist: every text in ⟦brackets⟧. What is to be seen
without them is not translatable.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from experts.export.notices import GEMMA_NOTICE
from experts.merging.registry import methods
from sam_ui import words
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.settings import Settings
from sam_ui.words import day, speaking
from tests.catalogue import pseudo, write
from tests.ui.conftest import Live, running
from tests.unit.fakes import FakeEngine, make_pool

pytestmark = [pytest.mark.ui, pytest.mark.browser]

TEXT = "Ada met Grace in Bled. Professor Hubble left. Nothing happened. Grace saw the lake."
# What is not ours to translate: names, texts and types of people, what experts are called.
OWN = [
    *("Ada", "Bled", "Grace", "Hubble", "Professor", "met", "left", "Nothing", "happened", "saw"),
    *(
        "person",
        "place",
        "SaM",
        "F1",
        "UTC",
        "Gradio",
        "A human",
        "google/gemma-3-270m",
        "CC-BY-4.0",
    ),
    *("Astronomy", "Court decisions", "Lakes", "astronomy", "court decisions", "lakes", "corpus"),
]
# Nor notices and citations, and what the experts' cards say.
OWN += [GEMMA_NOTICE, *(method.paper for method in methods() if method.paper)]
OWN += ["A sentence of the expert", "A astro", "A law", "A lake"]
# Refused with a name in the message: such errors of the engine are English still.
OWN += [".txt is empty"]
# Walks through everything that can be seen, in its order, and tells what is outside of brackets.
WALK = """(own) => {
  for (const part of document.querySelectorAll('details')) part.open = true;
  const found = new Set();
  // Texts of the person, charts, and what Gradio says itself, which has its own translations.
  const skipped = 'script, style, noscript, template, .sam-text, .sam-edit-text, .js-plotly-plot, '
    + '#drop, [aria-label="Empty value"], [data-testid="status-tracker"]';
  const seen = (node) => {
    const host = node.closest('select') || node;
    return host.checkVisibility({visibilityProperty: true}) && !host.closest(skipped);
  };
  let depth = 0;
  const bare = (text) => {
    let left = '';
    for (const letter of text) {
      if (letter === '⟦') depth += 1;
      else if (letter === '⟧') depth -= 1;
      else if (depth === 0) left += letter;
    }
    return left;
  };
  const check = (text, where) => {
    const left = own.reduce((rest, word) => rest.replaceAll(word, ' '), bare(text));
    if (/[\\p{L}]{2,}/u.test(left)) found.add(where + ': ' + text.trim().slice(0, 120));
  };
  const name = (node) => {
    const host = node.closest('[id]:not([id^=component-])');
    return (host ? '#' + host.id : '') + ' ' + node.tagName.toLowerCase();
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (seen(node)) check(walker.currentNode.data, name(node));
  }
  const unclosed = depth;
  for (const node of document.querySelectorAll('[title], [aria-label], [placeholder], [alt]')) {
    if (!seen(node)) continue;
    for (const key of ['title', 'aria-label', 'placeholder', 'alt']) {
      depth = 0;
      if (node.getAttribute(key)) check(node.getAttribute(key), name(node) + '[' + key + ']');
    }
  }
  return unclosed ? [...found, 'unclosed brackets'] : [...found];
}"""


@pytest.fixture(scope="module")
def bracketed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An app that speaks English, and to whoever asks for Esperanto in brackets."""
    folder: Path = tmp_path_factory.mktemp("words")
    write(folder / "locale" / "eo" / "LC_MESSAGES" / "sam.po", pseudo("eo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "LOCALES", folder / "locale")
        settings = Settings(data_dir=folder / "data", host="127.0.0.1", language="auto")
        pool = make_pool(folder / "pool")
        services = Services(settings, pool=pool)
        engine = FakeEngine(settings, pool)
        worker = Worker(services, engine, name="thread")
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        try:
            with running(services) as url:
                yield Live(url, services, engine)
        finally:
            worker.stopping.set()
            thread.join(10)
            services.close()


def plain(page: Any, own: list[str]) -> list[str]:
    """What is to be seen without brackets."""
    # The longest first: a word may be part of another.
    return list(page.evaluate(WALK, sorted(own, key=len, reverse=True)))


def test_the_start_page_and_the_help_are_translatable(bracketed: Live, visit: Any) -> None:
    page = visit(bracketed.url, locale="eo")
    expect(page.locator("#new-session")).to_have_text("⟦New session⟧")
    expect(page.locator("h1")).to_contain_text("⟦")
    own = [
        *OWN,
        *(name.replace("_", " ").capitalize() for name in bracketed.services.sessions.samples()),
    ]
    assert plain(page, own) == []
    page.locator("#help").click()
    expect(page.locator("#sam-help")).to_be_visible()
    assert plain(page, own) == []
    for topic in ("overview", "similarity", "probe", "merging", "keys"):
        page.goto(f"{bracketed.url}/?help={topic}")
        expect(page.locator(f"#help-{topic}")).to_be_visible()
        expect(page.locator("#new-session")).to_have_text("⟦New session⟧")
        assert plain(page, own) == [], topic


def test_texts_types_match_and_merge_are_translatable(
    bracketed: Live, visit: Any, tmp_path: Path
) -> None:
    page = visit(bracketed.url, locale="eo")
    left: dict[str, list[str]] = {}
    page.locator("#new-session").click()
    expect(page.locator("#add-text")).to_have_text("⟦Add this text⟧")
    expect(page.locator("#paste")).to_contain_text("⟦or paste text⟧")
    left["upload, empty"] = plain(page, OWN)
    _filled(page, tmp_path)
    left["upload"] = plain(page, OWN)
    page.locator("#preview-search textarea").fill("nowhere")
    expect(page.locator("#preview .sam-empty")).to_be_visible()
    left["upload, nothing found"] = plain(page, OWN)
    assert bracketed.engine is not None
    bracketed.engine.gate = threading.Event()
    page.locator("#primary").click()
    expect(page.locator("#job-strip .running")).to_be_visible()
    left["match, running"] = plain(page, OWN)
    bracketed.engine.gate.set()
    expect(page.locator(".sam-expert").first).to_be_visible()
    for tab in ("Scores", "Map", "Types", "Answers"):
        page.get_by_role("tab", name=f"⟦{tab}⟧").click()
        left[f"match, {tab}"] = plain(page, OWN)
    _corrected(page)
    left["match, corrected"] = plain(page, OWN)
    page.locator("#primary").click()
    expect(page.locator("#merge-preview mark").first).to_be_visible()
    expect(page.locator("#merge-together table")).to_be_attached()
    left["merge"] = plain(page, OWN)
    page.locator("#primary").click()
    page.locator("#rail-merge").click()
    expect(page.locator("#merge-history li[data-merge]")).to_have_count(1)
    page.locator("#method").select_option("ties")
    expect(page.locator("#parameter-density")).to_be_attached()
    page.locator("#weight-astro").fill("1")
    page.locator("#weight-astro").press("Enter")
    expect(page.locator("#merge-preview .sam-gone").first).to_be_visible()
    with speaking("eo"):
        today = day(datetime.now(UTC))
    left["merge, changed"] = plain(page, [*OWN, today])
    lines = [f"{screen}: {line}" for screen, found in left.items() for line in found]
    assert not lines, "\n".join(lines)


def _filled(page: Any, folder: Path) -> None:
    """Texts, one file that is removed and one that is refused, types, one of them open."""
    page.locator("#paste textarea").fill(TEXT)
    page.locator("#add-text").click()
    expect(page.locator("#preview li").first).to_be_visible()
    other = folder / "Bled.txt"
    other.write_text("Grace saw the lake in Bled.", encoding="utf-8")
    empty = folder / "Ada.txt"
    empty.write_text("", encoding="utf-8")
    page.locator("#drop input[type=file]").set_input_files([other, empty])
    expect(page.locator("#files tbody tr")).to_have_count(2)
    expect(page.locator("#files .sam-refused li")).to_have_count(1)
    page.locator("#files [data-act=remove]").last.click()
    expect(page.locator("#files .gone")).to_be_visible()
    page.locator("#types-box textarea").fill("person, place: a place")
    page.locator("#add-types").click()
    expect(page.locator("#types .sam-chip")).to_have_count(2)
    page.locator("#types .sam-chip-name").first.click()
    expect(page.locator("#types form")).to_be_visible()
    expect(page.locator("#suggested .often").first).to_be_visible()


def _corrected(page: Any) -> None:
    """One answer taken, another marked by hand."""
    card = page.locator("#answers .sam-answer").first
    card.locator("[data-act=take]").first.click()
    expect(page.locator("#answers .sam-progress")).to_be_visible()
    page.locator("#answers .sam-answer").nth(1).locator("[data-open]").click()
    box = page.locator("#answers .sam-edit-text")
    box.press("ArrowRight")
    box.press("1")
    expect(page.locator("#answers .sam-edit-said")).to_contain_text("⟦")


def test_others_see_their_own_language(bracketed: Live, visit: Any) -> None:
    page = visit(bracketed.url, locale="eo")
    other = visit(bracketed.url, locale="en-GB")
    page.locator("#new-session").click()
    expect(page.locator("#rail-upload")).to_contain_text("⟦Upload⟧")
    other.goto(page.url)
    expect(other.locator("#rail-upload")).to_contain_text("Upload")
    expect(other.locator("#add-text")).to_have_text("Add this text")
    expect(other.locator("body")).not_to_contain_text("⟦")
    expect(other.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("html")).to_have_attribute("lang", "eo")
