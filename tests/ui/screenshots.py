"""Pictures of every screen: `python -m tests.ui.screenshots FOLDER` (or `make screenshots`).

Drives a running app in Chromium through the states of each screen, wide and narrow, light and dark,
and writes `<screen>-<wide|narrow>-<light|dark>.png`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright

from sam_ui.help_texts import TOPICS
from sam_ui.services.views import EntityType, SessionInfo
from tests.chromium import ADVICE, find_chromium
from tests.ui.conftest import FLAGS, shoot
from tests.ui.demo import Demo, demo, sample_types

__all__ = ["SCHEMES", "WIDTHS", "Scene", "main", "open_scene", "photograph", "scenes", "settled"]

WIDTHS = {"wide": (1360, 860), "narrow": (400, 860)}
SCHEMES = ("light", "dark")
PATIENCE_S = 600
SAMPLE = "museum_catalogue"


@dataclass(frozen=True)
class Scene:
    """One state of one screen.

    Attributes:
        query: address after the "?"; the start page has none.
        shows: selector of what must be visible before the picture is taken.
        clicks: selectors to click first, in order.
    """

    name: str
    query: str
    shows: str
    clicks: tuple[str, ...] = ()


def _address(session: SessionInfo, step: str) -> str:
    return f"s={session.token}&step={step}"


def _wait(app: Demo, session: SessionInfo) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while app.services.jobs.active(session.id) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError("A job did not end.")
        time.sleep(0.05)


def _filled(app: Demo, name: str) -> SessionInfo:
    session = app.services.sessions.try_sample(SAMPLE)
    app.services.types.set(
        session.id, [EntityType(kind) for kind in sample_types(SAMPLE, app.services.settings)]
    )
    app.services.sessions.rename(session.id, name)
    return session


def _matched(app: Demo, name: str) -> SessionInfo:
    session = _filled(app, name)
    app.services.match.start(session.id)
    _wait(app, session)
    return session


def _merged(app: Demo, name: str) -> SessionInfo:
    session = _matched(app, name)
    match = app.services.match.result(session.id)
    assert match is not None
    app.services.merge.start(session.id, match.single)
    _wait(app, session)
    return session


def scenes(app: Demo) -> Iterator[Scene]:
    """Every screen in its states. Consume in order: some hold only until the next is asked for."""
    empty = app.services.sessions.create()
    filled = _filled(app, "Museum catalogue, first look")
    matched = _matched(app, "Museum catalogue")
    stale = _matched(app, "Museum catalogue, more types")
    app.services.types.add(stale.id, "donor")
    merged = _merged(app, "Museum catalogue, merged")
    yield Scene("start", "", "#hero svg")
    yield Scene("upload-empty", _address(empty, "upload"), "#files .sam-empty")
    yield Scene("upload-full", _address(filled, "upload"), ".sam-chip.often")
    yield Scene("match-before", _address(filled, "match"), "#match-summary .sam-empty")
    yield Scene("match-done", _address(matched, "match"), "#fit-chart .plot-container")
    yield Scene(
        "match-why", _address(matched, "match"), "#experts details[open]",
        ("#experts details summary",),
    )  # fmt: skip
    for tab, shows in (("Map", "#map-chart .plot-container"), ("Types", "#type-chart .plot-container"),
                       ("Answers", "#answers mark")):  # fmt: skip
        yield Scene(
            f"match-{tab.lower()}", _address(matched, "match"), shows,
            (f'role=tab[name="{tab}"]',),
        )  # fmt: skip
    yield Scene("match-stale", _address(stale, "match"), "#match-summary .stale")
    yield Scene(
        "merge", _address(matched, "merge"),
        "#step-merge:has(#merge-preview mark):has(#merge-together details)",
    )  # fmt: skip
    yield Scene("merge-done", _address(merged, "merge"), "#merge-finds mark")
    yield Scene("review-before", _address(matched, "review"), "#review-top .sam-empty")
    yield Scene("review", _address(merged, "review"), "#step-review mark")
    yield Scene("share-before", _address(matched, "share"), "#share-top .sam-empty")
    yield Scene("share", _address(merged, "share"), "#licences tbody tr")
    with _held(app):
        running = _filled(app, "Museum catalogue, being compared")
        app.services.match.start(running.id)
        yield Scene("match-running", _address(running, "match"), "#cancel-job")
    _wait(app, running)
    with _failing(app):
        failed = _filled(app, "Museum catalogue, too large")
        app.services.match.start(failed.id)
        _wait(app, failed)
    yield Scene("failed", _address(failed, "match"), ".sam-strip.failed")
    view = app.services.links.create(merged.id, "view")
    yield Scene("view-only-review", f"s={view}&step=review", "#step-review mark")
    yield Scene("view-only-merge", f"s={view}&step=merge", "#merge-finds mark")
    for topic in TOPICS:
        yield Scene(f"help-{topic}", f"help={topic}", f"#help-{topic}")
    yield Scene("help-sheet", _address(matched, "match"), "#sam-help", ("#help",))
    yield Scene("wrong-link", "s=nonsense&step=merge", "#sam-notice [role=alert]")
    yield Scene("start-sessions", "", ".sam-session")


@contextmanager
def _held(app: Demo) -> Iterator[None]:
    app.hold()
    try:
        yield
    finally:
        app.free()


@contextmanager
def _failing(app: Demo) -> Iterator[None]:
    app.fail(MemoryError())
    try:
        yield
    finally:
        app.fail(None)


def settled(page: Any) -> None:
    """Wait until fonts, figures and transitions are through."""
    page.evaluate("document.fonts.ready")
    page.wait_for_function(
        "() => !document.getAnimations().some((a) => a.playState === 'running' "
        "&& a.effect?.getTiming().iterations !== Infinity)"
    )
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def open_scene(page: Any, url: str, scene: Scene) -> None:
    """Go to the screen and wait until it shows what it is about."""
    page.goto(f"{url}/?{scene.query}" if scene.query else url)
    for selector in scene.clicks:
        page.locator(selector).first.click()
    expect(page.locator(scene.shows).first).to_be_visible(timeout=120_000)
    settled(page)


def photograph(app: Demo, folder: Path, only: Sequence[str] = ()) -> list[Path]:
    """Write the pictures; `only` names scenes, all when empty."""
    path = find_chromium()
    if path is None:
        raise SystemExit(ADVICE)
    written = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        pages = {}
        for name, (width, height) in WIDTHS.items():
            size = {"width": width, "height": height}
            pages[name] = browser.new_context(viewport=size, reduced_motion="reduce").new_page()
        for scene in scenes(app):
            if only and scene.name not in only:
                continue
            for name, page in pages.items():
                open_scene(page, app.url, scene)
                for scheme in SCHEMES:
                    page.emulate_media(color_scheme=scheme)
                    settled(page)
                    written.append(folder / f"{scene.name}-{name}-{scheme}.png")
                    shoot(page, written[-1])
                    print(written[-1], file=sys.stderr)
        browser.close()
    return written


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ui.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="names of screens")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, demo(Path(folder)) as app:
        written = photograph(app, options.folder, options.only)
    print(f"{len(written)} pictures in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
