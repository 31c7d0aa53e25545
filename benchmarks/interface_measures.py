"""How `benchmarks.interface` measures: each function takes a page or an address, returns seconds."""

from __future__ import annotations

import resource
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.interface_data import PATIENCE_S, sentences

__all__ = [
    "SHIFTS_JS",
    "SHOWS",
    "Crowd",
    "first_paint",
    "handed",
    "opened",
    "shifts",
    "slider_to_preview",
    "stepped",
    "together",
]

SHOWS = {
    "start": "#hero svg",
    "upload": "#preview li",
    "match": ".sam-expert",
    "merge": ".sam-weight",
    "review": "#step-review mark",
    "share": "#licences tbody tr",
}
"""What a person waits for on each screen."""

SHIFTS_JS = """
window.samShift = 0;
window.samShifted = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    // As browsers count it: what follows within half a second of a click was asked for.
    if (entry.hadRecentInput) continue;
    window.samShift += entry.value;
    for (const source of entry.sources) {
      const node = source.node;
      const name = node && (node.id ? '#' + node.id : node.className || node.nodeName);
      window.samShifted.push([entry.value, String(name)]);
    }
  }
}).observe({type: 'layout-shift', buffered: true});
"""


def first_paint(context: Any, url: str) -> float:
    """Seconds from asking for the page until the browser draws its first content, without cache."""
    fresh = context.browser.new_context()
    page = fresh.new_page()
    page.goto(url)
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    taken = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    fresh.close()
    return float(taken) / 1000


def opened(page: Any, url: str, shows: str) -> float:
    """Seconds from asking for an address until `shows` is visible."""
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(shows).first.wait_for(state="visible")
    return time.perf_counter() - began


def stepped(page: Any, step: str) -> float:
    """Seconds from a click on a step in the rail until it shows what it is about."""
    began = time.perf_counter()
    page.locator(f"#rail-{step}").click()
    page.locator(SHOWS[step]).first.wait_for(state="visible")
    return time.perf_counter() - began


def handed(page: Any, button: str) -> float:
    """Seconds from a click on a button until the download that it asks for begins."""
    began = time.perf_counter()
    with page.expect_download():
        page.locator(button).click()
    return time.perf_counter() - began


def slider_to_preview(page: Any) -> float:
    """Seconds from releasing the first slider until the preview has been read again."""
    return float(
        page.evaluate(
            """async () => {
              const card = document.querySelector('#merge-preview');
              const slider = document.querySelector('#weights input[type=range]');
              const said = () => card.querySelector('#preview-state')?.textContent ?? '';
              // What was asked for before must be through.
              for (let quiet = 0, last = ''; quiet < 5; ) {
                await new Promise((done) => setTimeout(done, 100));
                const same = card.innerHTML === last && said().startsWith('Read again');
                quiet = same ? quiet + 1 : 0;
                last = card.innerHTML;
              }
              const before = card.innerHTML;
              let touched = false;
              const look = () => { touched ||= card.innerHTML !== before; };
              const watch = new MutationObserver(look);
              watch.observe(card, {childList: true, subtree: true, characterData: true});
              slider.value = Number(slider.value) > 0.8 ? 0.3 : Number(slider.value) + 0.2;
              slider.dispatchEvent(new Event('input', {bubbles: true}));
              const began = performance.now();
              slider.dispatchEvent(new Event('change', {bubbles: true}));
              while (!touched || !said().startsWith('Read again')) {
                if (performance.now() - began > 120000) throw new Error('No preview came.');
                await new Promise(requestAnimationFrame);
              }
              watch.disconnect();
              return (performance.now() - began) / 1000;
            }"""
        )
    )


def shifts(page: Any, url: str, token: str) -> dict[str, float]:
    """Cumulative layout shift while each step is opened by its address."""
    page.add_init_script(SHIFTS_JS)
    found = {}
    for step, shows in SHOWS.items():
        opened(page, f"{url}/?s={token}&step={step}" if step != "start" else url, shows)
        page.wait_for_timeout(500)
        found[step] = float(page.evaluate("window.samShift"))
    return found


@dataclass
class Crowd:
    """What `together` saw.

    Attributes:
        finished: people whose match came to its end.
        foreign: people who were shown a text that is not theirs.
        own: people who finished and saw exactly their own texts.
        before_mb, peak_mb: memory of the process that is app and worker in one.
    """

    finished: int = 0
    foreign: int = 0
    own: int = 0
    seconds: float = 0.0
    before_mb: float = 0.0
    peak_mb: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


def _memory_mb() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e3)


def together(url: str, people: int) -> Crowd:
    """So many programs at once, each with a session of its own: texts in, match, results out."""
    crowd = Crowd(before_mb=_memory_mb())
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_person, args=(url, number, crowd)) for number in range(people)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    crowd.seconds = time.perf_counter() - began
    crowd.peak_mb = _memory_mb()
    return crowd


def _person(url: str, number: int, crowd: Crowd) -> None:
    from gradio_client import Client

    mine = sentences(30, word=f"Person{number:03}")
    client = Client(url, verbose=False, analytics_enabled=False)
    try:
        token = client.predict(name=f"Person {number}", api_name="/start_session")["token"]
        client.predict(token=token, text="\n".join(mine), api_name="/add_text")
        client.predict(token=token, types=f"ship, kind{number}", api_name="/set_types")
        job = client.predict(token=token, api_name="/match")
        deadline = time.monotonic() + PATIENCE_S
        while job["state"] in ("queued", "running") and time.monotonic() < deadline:
            time.sleep(0.5)
            job = client.predict(token=token, job=job["job"], api_name="/read_job")
        session = client.predict(token=token, api_name="/read_session")
        match = client.predict(token=token, api_name="/read_match")
    finally:
        client.close()
    own = session["sentences"] == mine and match["types"] == ["ship", f"kind{number}"]
    with crowd.lock:
        crowd.finished += job["state"] == "done"
        crowd.foreign += not own
        crowd.own += own and job["state"] == "done"
