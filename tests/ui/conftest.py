"""The running app for the tests of the interface: real services, and a browser to look at it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.settings import Settings
from tests.chromium import ADVICE, find_chromium
from tests.unit.fakes import FakeEngine, make_pool

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Live:
    """A running app."""

    url: str
    services: Services
    engine: FakeEngine | None = None


PATIENCE_MS = 90_000
"""How long a browser test waits for what it expects: the machine may be busy with others."""


@pytest.fixture(autouse=True)
def patient() -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def running(services: Services) -> Iterator[str]:
    """Serve the interface on a free port; gives its address."""
    from sam_ui.app import build_app, launch_options

    demo = build_app(services)
    options = launch_options(services.settings) | {"server_port": None}
    _, url, _ = demo.launch(**options, prevent_thread_lock=True, quiet=True)
    try:
        yield url.rstrip("/")
    finally:
        demo.close(verbose=False)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Everything real but the models; the worker is a thread, so that tests can hold it up."""
    folder: Path = tmp_path_factory.mktemp("live")
    settings = Settings(data_dir=folder / "data", host="127.0.0.1")
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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; `make test` installs it or leaves these tests out, saying so."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        pytest.fail(ADVICE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Opens pages, each in a browser profile of its own: ``page = visit(url, width=400)``.

    At the end no page may have fetched anything from elsewhere or raised an error in JavaScript.
    """
    contexts, foreign, errors = [], [], []

    def watch(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1", "http://localhost", "data:", "blob:")):
            foreign.append(request.url)

    def open_page(url: str, *, width: int = 1360, height: int = 860, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", watch)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert foreign == []
    assert errors == []


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for pictures of the screens: $SAM_SCREENSHOTS, or a temporary one."""
    named = os.environ.get("SAM_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screens")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shoot(page: Any, path: Path) -> None:
    """A picture of the whole screen. The window grows to it: bars stick where they belong."""
    size = page.viewport_size
    page.evaluate("window.scrollTo(0, 0)")
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
    page.screenshot(path=path)
    page.set_viewport_size(size)
