"""Long work as a person sees it: queue, cancel, interruption, failure, refresh, kill -9."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from experts.corpus import EntityType
from sam_ui.jobs import reading
from sam_ui.jobs.supervisor import Supervisor
from sam_ui.services import Services
from sam_ui.services.views import SessionInfo
from sam_ui.settings import Settings
from tests.ui.conftest import PATIENCE_MS, Live, running, shoot
from tests.unit.fakes import make_pool
from tests.unit.worker_process import HOLD, write_worker

pytestmark = [pytest.mark.ui, pytest.mark.browser]

SENTENCES = 60
TEXT = "\n".join(f"Ada met number {n} in Paris." for n in range(SENTENCES))


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        pause.wait(0.02)


def filled(services: Services) -> SessionInfo:
    session = services.sessions.create("Reading")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person")])
    return session


def open_step(visit: Any, url: str, session: SessionInfo, step: str) -> Any:
    page = visit(f"{url}/?s={session.token}&step={step}")
    expect(page.locator(f"#rail-{step}[aria-current]")).to_be_visible()
    return page


@pytest.fixture
def gate(live: Live) -> Any:
    """Holds up the worker inside the next job until set."""
    assert live.engine is not None
    live.engine.gate = threading.Event()
    live.engine.entered.clear()
    yield live.engine.gate
    live.engine.gate.set()
    live.engine.gate = None


def test_the_strip_tells_of_the_queue_and_of_stopping(
    live: Live, visit: Any, gate: Any, shots: Path
) -> None:
    assert live.engine is not None
    mine, other = filled(live.services), filled(live.services)
    live.services.match.start(other.id)
    assert live.engine.entered.wait(PATIENCE_MS / 1000)
    job_id = live.services.match.start(mine.id)
    page = open_step(visit, live.url, mine, "match")
    strip = page.locator(".sam-strip")
    expect(strip).to_have_class("sam-strip queued")
    expect(strip).to_contain_text("Comparing the experts: 1 other before yours")
    shoot(page, shots / "job-queued.png")
    page.locator("#cancel-job").click()  # a queued job is gone at once
    expect(strip).to_have_count(0)
    expect(page.locator("#match-summary")).to_contain_text("You stopped the last run")
    job = live.services.jobs.get(mine.id, job_id)
    assert job is not None
    assert job.state == "cancelled"


def test_cancelling_stops_a_running_job_and_keeps_the_merge(
    live: Live, visit: Any, gate: Any
) -> None:
    assert live.engine is not None
    session = filled(live.services)
    job_id = live.services.merge.start(session.id, {"astro": 1.0})
    assert live.engine.entered.wait(PATIENCE_MS / 1000)  # it is reading
    page = open_step(visit, live.url, session, "review")
    page.locator("#cancel-job").click()

    def state() -> str:
        job = live.services.jobs.get(session.id, job_id)
        return job.state if job else ""

    wait_for(lambda: state() == "cancelled", "the job stops")
    expect(page.locator(".sam-strip")).to_have_count(0)
    expect(page.locator("#review-top")).to_contain_text("What it had finished is kept")
    assert len(live.services.merge.list(session.id)) == 1


@pytest.fixture
def killable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, ...]]:
    """An app with a real worker process under its supervisor; the models alone are a stand-in."""
    settings = Settings(data_dir=tmp_path / "data", host="127.0.0.1")
    pool = tmp_path / "pool"
    services = Services(settings, pool=make_pool(pool))
    log, go, script = tmp_path / "read.log", tmp_path / "go", tmp_path / "worker.py"
    log.touch()
    write_worker(script, log=log, pool=pool, body=HOLD.format(go=str(go)))
    monkeypatch.setattr("sam_ui.jobs.supervisor.WORKER", [str(script)])
    with Supervisor(services) as supervisor, running(services) as url:
        yield url, services, supervisor, log, go
    services.close()


@pytest.mark.timeout(900)
def test_kill_9_of_the_worker_during_a_prediction_and_a_refresh_lose_nothing(
    killable: Any, visit: Any, shots: Path
) -> None:
    url, services, supervisor, log, go = killable
    session = filled(services)
    services.merge.start(session.id, {"astro": 0.5, "law": 0.5})
    page = open_step(visit, url, session, "review")
    expect(page.locator(".sam-strip")).to_be_visible()

    # The second portion has begun, so what the first has found is stored.
    wait_for(lambda: len(log.read_text("utf-8").splitlines()) > reading.FIRST, "a portion is read")
    page.reload()
    expect(page.locator("#cancel-job")).to_be_visible()
    os.kill(supervisor.pid, signal.SIGKILL)
    expect(page.locator(".sam-strip")).to_contain_text("nterrupt")  # it waits, or goes on
    shoot(page, shots / "job-interrupted.png")
    go.touch()
    page.get_by_role("tab", name="All texts").click()
    expect(page.locator("#predictions mark").first).to_be_visible()
    expect(page.locator(".sam-strip")).to_have_count(0)
    read = log.read_text("utf-8").splitlines()
    assert len(set(read)) == SENTENCES
    assert all(read.count(text) == 1 for text in read[: reading.FIRST]), "none is read twice"
    assert len(services.merge.list(session.id)) == 1
