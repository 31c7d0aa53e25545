"""How quick the interface is, in a real browser: first paint, sliders, large sessions, many people.

    python -m benchmarks.interface [--quick] [--only NAME …] [--json FILE] [--docs PAGE]

Models are stand-ins that answer at once (`tests.ui.demo`): the figures are what the interface, the
database and the job queue take, to which the models' own time comes (`benchmarks.main_job`). Jobs,
merging and everything else are real. Let the machine do nothing else: its load is noted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.interface_data import full_session, write_pool
from benchmarks.interface_measures import (
    SHOWS,
    Crowd,
    first_paint,
    handed,
    opened,
    shifts,
    slider_to_preview,
    stepped,
    together,
)
from benchmarks.pages import rewrite
from tests.chromium import ADVICE, find_chromium
from tests.ui.conftest import FLAGS
from tests.ui.demo import Demo, demo

__all__ = ["Figure", "Size", "main", "measure", "table"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "interface.json"
PAGE = ROOT / "docs" / "interface.md"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    sentences: int = 5_000
    most: int = 10_000
    experts: int = 200
    people: int = 20
    times: int = 5


QUICK = Size(sentences=60, most=120, experts=8, people=3, times=1)


@dataclass(frozen=True)
class Figure:
    """One measured number; `target` is the largest that is good enough, None where none is set."""

    name: str
    value: float
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        return self.target is None or self.value <= self.target


def _seconds(
    name: str, run: Callable[[], float], times: int, target: float | None, note: str = ""
) -> Figure:
    taken = [run() for _ in range(times)]
    spread = f"median of {times}, {min(taken):.2f} to {max(taken):.2f}" if times > 1 else ""
    note = ", ".join(part for part in (note, spread) if part)
    return Figure(name, round(statistics.median(taken), 3), "s", target, note)


def _first(app: Demo, browser: Any, size: Size) -> Iterator[Figure]:
    yield _seconds(
        "start page: first paint", lambda: first_paint(browser, app.url), size.times, 1.5,
        "empty browser cache",
    )  # fmt: skip
    page = browser.new_page()
    yield _seconds(
        "start page: ready to use", lambda: opened(page, app.url, SHOWS["start"]), size.times, 1.5
    )
    page.close()


def _slider(app: Demo, browser: Any, size: Size) -> Iterator[Figure]:
    session = full_session(app, 40)
    page = browser.new_page()
    opened(page, f"{app.url}/?s={session.token}&step=merge", "#merge-preview mark")
    yield _seconds(
        "slider released: preview shown", lambda: slider_to_preview(page), size.times, 0.7,
        "without the model, which may take 0.8 s of the 1.5 s",
    )  # fmt: skip
    page.close()


def _pages(app: Demo, browser: Any, size: Size, count: int, label: str) -> Iterator[Figure]:
    """Each step by its address, and by a click on the rail."""
    session = full_session(app, count)
    page = browser.new_page()
    page.goto(app.url)  # the cache of a browser that has been here before
    for step, shows in SHOWS.items():
        query = f"/?s={session.token}&step={step}" if step != "start" else ""
        yield _seconds(
            f"{label}: {step} opened", lambda q=query, s=shows: opened(page, app.url + q, s),
            size.times, 1.5,
        )  # fmt: skip
    steps = [step for step in SHOWS if step != "start"]
    opened(page, f"{app.url}/?s={session.token}&step=share", SHOWS["share"])
    for what, button in (("model", "#download-model"), ("annotations", "#download-notes")):
        yield _seconds(
            f"{label}: {what} asked for, download begins", lambda b=button: handed(page, b), 1, 5.0
        )
    for step in steps:
        yield _seconds(f"{label}: {step} by the rail", lambda s=step: stepped(page, s), 1, 1.5)
    for step, moved in shifts(page, app.url, session.token).items():
        yield Figure(f"layout shift: {step}", round(moved, 4), "CLS", 0.1)
    page.close()


def _crowd(app: Demo, browser: Any, size: Size) -> Iterator[Figure]:
    crowd: Crowd = together(app.url, size.people)
    yield Figure(
        f"{size.people} sessions matching at once: all done", round(crowd.seconds, 2), "s",
        note=f"{crowd.finished} finished, {crowd.foreign} saw foreign texts",
    )  # fmt: skip
    yield Figure("the same: failed or foreign", size.people - crowd.own, "sessions", 0)
    yield Figure(
        "the same: memory of app and worker", round(crowd.peak_mb), "MB",
        note=f"{round(crowd.peak_mb - crowd.before_mb)} MB more than before",
    )  # fmt: skip


def measure(folder: Path, size: Size, only: Sequence[str] = ()) -> list[Figure]:
    """All figures, in the order of the table.

    Args:
        only: names of parts ("first", "slider", "crowd", "open", "large"); all when empty.
    """
    parts: Mapping[str, Callable[[Demo, Any], Iterator[Figure]]] = {
        "first": lambda app, browser: _first(app, browser, size),
        "slider": lambda app, browser: _slider(app, browser, size),
        "crowd": lambda app, browser: _crowd(app, browser, size),
        "open": lambda app, browser: _pages(
            app, browser, size, size.sentences, f"{size.sentences:,} sentences"
        ),
        "large": lambda app, browser: _pages(
            app, browser, size, size.most, f"{size.most:,} sentences, {size.experts} experts"
        ),
    }
    write_pool(folder / "pool", size.experts)
    figures: list[Figure] = []
    with demo(folder / "data", pool_dir=str(folder / "pool")) as app, _browser() as browser:
        for name, part in parts.items():
            for figure in part(app, browser) if not only or name in only else ():
                print(f"{figure.name}: {figure.value} {figure.unit}", file=sys.stderr, flush=True)
                figures.append(figure)
    return figures


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise SystemExit(ADVICE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        context = browser.new_context(viewport={"width": 1360, "height": 860})
        context.set_default_timeout(600_000)
        try:
            yield context
        finally:
            browser.close()


def table(figures: Sequence[Figure]) -> str:
    """Markdown: what, figure, target, note."""
    rows = ["| what | figure | target | |", "| --- | --- | --- | --- |"]
    for f in figures:
        target = "" if f.target is None else f"≤ {f.target:g} {f.unit}"
        shown = f"{f.value:g} {f.unit}" if f.met else f"**{f.value:g} {f.unit}**"
        rows.append(f"| {f.name} | {shown} | {target} | {f.note} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small: only to see that it runs")
    parser.add_argument("--only", nargs="*", default=[], help="first, slider, crowd, open, large")
    parser.add_argument("--json", type=Path, default=None, help=f"default: {RESULTS.name}")
    parser.add_argument("--docs", type=Path, default=None, help="page whose table is rewritten")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), QUICK if options.quick else Size(), options.only)
    print(table(figures))
    found = {
        "machine": {"processor": platform.processor() or platform.machine(),
                    "cores": os.cpu_count(), "load_before": load, "system": platform.system()},
        "quick": options.quick,
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
    }  # fmt: skip
    target = options.json or (None if options.quick or options.only else RESULTS)
    if target is not None:
        target.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if options.docs is not None:
        rewrite(options.docs, {"interface": table(figures)})
    return 0 if all(figure.met for figure in figures) or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
