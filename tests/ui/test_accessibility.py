"""Every screen can be read and used by everybody: axe-core's rules, keyboard, steadiness."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from benchmarks.interface_measures import SHIFTS_JS
from sam_ui.help_texts import TOPICS
from tests.ui.demo import Demo, demo
from tests.ui.screenshots import SCHEMES, WIDTHS, open_scene, scenes, settled

pytestmark = [pytest.mark.ui, pytest.mark.browser]

GRAVE = ("serious", "critical")
# One page of the help stands for all: they are drawn by one function.
ALIKE = {f"help-{topic}" for topic in TOPICS} - {"help-probe"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


def violations(page: Any) -> list[str]:
    """What axe-core finds serious or critical, one line an element."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]} | {node['any'][:1]}"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


@pytest.mark.timeout(1200)
def test_axe_finds_nothing_serious_on_any_screen(app: Demo, visit: Any) -> None:
    page = visit(app.url, reduced_motion="reduce")
    wrong: list[str] = []
    for scene in scenes(app):
        if scene.name in ALIKE:
            continue
        page.set_viewport_size(dict(zip(("width", "height"), WIDTHS["wide"], strict=True)))
        open_scene(page, app.url, scene)
        for name, (width, height) in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                settled(page)
                wrong += [f"{scene.name} {name} {scheme}: {line}" for line in violations(page)]
    assert wrong == []


REACHED_JS = """() => {
  const node = document.activeElement;
  if (!node || node === document.body) return null;
  const style = getComputedStyle(node);
  const ring = style.outlineStyle !== 'none' || style.boxShadow !== 'none'
    || style.borderColor !== 'rgba(0, 0, 0, 0)';
  window.samSeen = window.samSeen ?? new Map();
  if (!window.samSeen.has(node)) window.samSeen.set(node, window.samSeen.size);
  return {number: window.samSeen.get(node), tag: node.tagName, id: node.id,
          text: (node.getAttribute('aria-label') || node.textContent || '').trim().slice(0, 40),
          zone: node.closest('#sam-header, #sam-rail, #sam-work, #sam-foot')?.id, ring};
}"""

WAITING_JS = """() => [...document.querySelectorAll(
  'button, a[href], input, select, textarea, summary, [tabindex]:not([tabindex="-1"])')]
  .filter((node) => node.checkVisibility({visibilityProperty: true, opacityProperty: false})
    && !node.disabled && node.tabIndex >= 0 && !node.closest('dialog, [inert]')
    && node.getBoundingClientRect().width > 0
    && !(node.type === 'radio' && !node.checked
         && document.querySelector(`input[type=radio][name="${node.name}"]:checked`))
    && !(window.samSeen ?? new Map()).has(node))
  .map((node) => node.outerHTML.slice(0, 120))"""


@pytest.mark.timeout(900)
def test_every_control_is_reached_by_tab_in_a_sensible_order(app: Demo, visit: Any) -> None:
    wanted = {"start", "upload-full", "match-done", "merge", "review", "share"}
    page = visit(app.url, reduced_motion="reduce")
    for scene in scenes(app):
        if scene.name not in wanted:
            continue
        open_scene(page, app.url, scene)
        order = []
        for _ in range(300):
            page.keyboard.press("Tab")
            here = page.evaluate(REACHED_JS)
            if here is None or here["number"] < len(order):
                break  # once around
            order.append(here)
        missed = page.evaluate(WAITING_JS)
        assert missed == [], f"{scene.name}: {missed}"
        assert [node for node in order if not node["ring"]] == [], scene.name
        # The header first, then the rail, then the screen, then its one button; never back.
        zones = [zone for zone, _ in groupby(node["zone"] for node in order)]
        inside = ["sam-header", "sam-rail", "sam-work", "sam-foot"]
        assert zones == (inside if scene.name != "start" else ["sam-header", "sam-work"])


STEADY = 0.1
"""Cumulative layout shift that still counts as good."""


@pytest.mark.timeout(900)
def test_nothing_jumps_when_a_page_is_opened_or_a_step_is_changed(app: Demo, visit: Any) -> None:
    page = visit("about:blank", reduced_motion="reduce")
    page.add_init_script(SHIFTS_JS)
    for scene in scenes(app):
        if scene.name not in ("start", "upload-full", "merge-done", "review", "share"):
            continue
        open_scene(page, app.url, scene)
        moved, what = page.evaluate("[window.samShift, window.samShifted]")
        assert moved < STEADY, f"{scene.name}: {what}"
        if scene.name == "share":
            break
    # The last page is a session with everything in it: now through its steps.
    for step in ("review", "merge", "match", "upload", "match", "merge", "review", "share"):
        page.evaluate("window.samShift = 0; window.samShifted = []")
        page.locator(f"#rail-{step}").click()
        expect(page.locator(f"#rail-{step}[aria-current]")).to_be_visible()
        settled(page)
        moved, what = page.evaluate("[window.samShift, window.samShifted]")
        assert moved < STEADY, f"to {step}: {what}"
