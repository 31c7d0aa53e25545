"""The worker: handlers in this process, and real worker processes under their supervisor."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.records import JobRecord
from experts.errors import Cancelled, SamError
from sam_ui.jobs.context import JobContext
from sam_ui.jobs.supervisor import Supervisor
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.settings import Settings

DEADLINE_S = 60.0


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings)
    yield services
    services.close()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        pause.wait(0.02)


def job_of(services: Services, job_id: str) -> JobRecord:
    job = services.queue.get(job_id)
    assert job is not None
    return job


def run_one(
    services: Services, handler: Callable[[JobContext], dict[str, Any]], payload: dict[str, Any]
) -> JobRecord:
    session = services.sessions.create()
    job_id = services.queue.submit(session.id, "probe", payload)
    worker = Worker(services, engine=None, name="w", handlers={"probe": handler})  # type: ignore[arg-type]
    assert worker.run_one()
    assert not worker.run_one()
    return job_of(services, job_id)


def test_result_and_payload(services: Services) -> None:
    def handler(context: JobContext) -> dict[str, Any]:
        context.progress(1, 4, "Probing expert 1 of 4")
        seen = job_of(context.services, context.job.id)
        assert (seen.state, seen.progress, seen.message) == (
            "running",
            0.25,
            "Probing expert 1 of 4",
        )
        return {"double": 2 * context.payload["number"]}

    job = run_one(services, handler, {"number": 21})
    assert (job.state, job.progress, job.result) == ("done", 1.0, {"double": 42})
    assert job.started_at is not None
    assert job.finished_at is not None


def test_progress_is_written_a_few_times_a_second_only(services: Services) -> None:
    written: list[float] = []

    def handler(context: JobContext) -> dict[str, Any]:
        report = context.services.queue.jobs.report

        def counting(*args: Any, **kwargs: Any) -> None:
            written.append(kwargs["progress"])
            report(*args, **kwargs)

        context._jobs.report = counting  # type: ignore[method-assign]
        part = context.stage(0.5, 1.0)
        for done in range(1000):
            part(done, 1000, "Working")
        return {}

    assert run_one(services, handler, {}).state == "done"
    assert written[0] == 0.5
    assert len(written) < 100


def test_a_mendable_error_is_stored_in_its_words(services: Services) -> None:
    def handler(_context: JobContext) -> dict[str, Any]:
        raise SamError("The expert lacks a layer.", "Add it again.")

    job = run_one(services, handler, {})
    assert (job.state, job.what, job.hint) == (
        "failed",
        "The expert lacks a layer.",
        "Add it again.",
    )


def test_other_errors_are_logged_without_what_they_quote(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_context: JobContext) -> dict[str, Any]:
        raise KeyError("a sentence of the person")

    with caplog.at_level(logging.ERROR):
        job = run_one(services, handler, {})
    assert job.state == "failed"
    assert job.what
    assert job.hint
    assert "KeyError" in caplog.text
    assert "test_jobs_worker.py" in caplog.text
    assert "a sentence of the person" not in caplog.text + job.what + job.hint


def test_unknown_kind_fails(services: Services) -> None:
    job_id = services.queue.submit(None, "nonsense", {})
    Worker(services, engine=None, name="w").run_one()  # type: ignore[arg-type]
    assert job_of(services, job_id).state == "failed"


def test_cancelling_a_running_job(services: Services) -> None:
    def handler(context: JobContext) -> dict[str, Any]:
        context.services.queue.cancel(context.job.id)
        wait_for(context.cancelled, "the job sees that it is cancelled")
        raise Cancelled

    assert run_one(services, handler, {}).state == "cancelled"


def test_a_stopping_worker_gives_its_job_back(services: Services) -> None:
    session = services.sessions.create()
    job_id = services.queue.submit(session.id, "probe", {})

    def handler(context: JobContext) -> dict[str, Any]:
        worker.stopping.set()
        context.check()
        return {}

    worker = Worker(services, engine=None, name="w", handlers={"probe": handler})  # type: ignore[arg-type]
    worker.run()
    job = job_of(services, job_id)
    assert (job.state, job.attempts, job.worker) == ("queued", 0, None)


def test_a_session_deleted_meanwhile_leaves_no_files(services: Services) -> None:
    folders: list[Path] = []

    def handler(context: JobContext) -> dict[str, Any]:
        context.services.sessions.delete(context.session_id)
        assert context.cancelled()
        assert context.services.sessions.purge(deleted_for_s=-1) == 1
        folder = context.services.settings.session_dir(context.session_id)
        folder.mkdir(parents=True)
        folders.append(folder)
        raise Cancelled

    session = services.sessions.create()
    services.queue.submit(session.id, "probe", {})
    worker = Worker(services, engine=None, name="w", handlers={"probe": handler})  # type: ignore[arg-type]
    assert worker.run_one()
    assert folders
    assert not folders[0].exists()


def test_supervised_worker_runs_jobs_restarts_and_ends(services: Services) -> None:
    with Supervisor(services) as supervisor:
        first_pid = supervisor.pid
        assert first_pid is not None
        first = services.queue.submit(None, "tidy", {})
        wait_for(lambda: job_of(services, first).state == "done", "the first job")
        tidied = job_of(services, first).result
        assert {"answers", "forgotten", "removed"} <= tidied.keys()
        assert not any(tidied.values())

        os.kill(first_pid, signal.SIGKILL)
        second = services.queue.submit(None, "tidy", {})
        wait_for(lambda: job_of(services, second).state == "done", "a new worker")
        second_pid = supervisor.pid
        assert second_pid is not None
        assert second_pid != first_pid
    assert supervisor.pid is None
    assert not _alive(second_pid)


def test_a_worker_that_cannot_start_fails_the_queue(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_ui.jobs.supervisor.MAX_STARTS", 2)
    monkeypatch.setattr(Settings, "as_env", lambda _self: {"SAM_PORT": "nonsense"})
    session = services.sessions.create()
    with Supervisor(services):
        job_id = services.queue.submit(session.id, "match", {})
        wait_for(lambda: job_of(services, job_id).state == "failed", "the queue is given up")
    view = services.jobs.get(session.id, job_id)
    assert view is not None
    assert "cannot be started" in view.what
    assert view.hint


def test_jobs_fail_at_once_while_the_worker_cannot_start(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_ui.jobs.supervisor.MAX_STARTS", 2)
    monkeypatch.setattr(Settings, "as_env", lambda _self: {"SAM_PORT": "nonsense"})
    session = services.sessions.create()
    with Supervisor(services) as supervisor:
        first = services.queue.submit(session.id, "match", {})
        wait_for(lambda: job_of(services, first).state == "failed", "the queue is given up")
        spawned: list[bool] = []
        monkeypatch.setattr(supervisor, "_spawn", lambda: spawned.append(True))
        later = services.queue.submit(session.id, "match", {})
        wait_for(lambda: job_of(services, later).state == "failed", "the later job is refused")
        assert spawned == []


def test_the_watch_outlives_a_process_that_cannot_be_made(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn, refused = Supervisor._spawn, threading.Event()

    def spawning(self: Supervisor) -> None:
        if self._starts and not refused.is_set():
            refused.set()
            raise OSError("Cannot allocate memory")
        spawn(self)

    monkeypatch.setattr(Supervisor, "_spawn", spawning)
    with Supervisor(services) as supervisor:
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        wait_for(refused.is_set, "the system refuses a process")
        wait_for(lambda: supervisor.pid is not None, "another attempt")


def test_stopping_the_app_never_counts_against_a_job(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the app is stopped while its worker is deaf in a job: the job is still not to blame."""
    deaf = "import signal, threading\nsignal.signal(15, signal.SIG_IGN)\nthreading.Event().wait()"

    def spawning(self: Supervisor) -> None:
        self._name = f"deaf-{len(names)}"
        names.append(self._name)
        self._process = subprocess.Popen([sys.executable, "-c", deaf])

    names: list[str] = []
    monkeypatch.setattr(Supervisor, "_spawn", spawning)
    monkeypatch.setattr("sam_ui.jobs.supervisor.TERMINATE_S", 0.1)
    session = services.sessions.create()
    job_id = services.queue.submit(session.id, "match", {})
    for _ in range(3):
        with Supervisor(services):
            taken = services.queue.jobs.take(names[-1])
            assert taken is not None
            assert taken.id == job_id
        job = job_of(services, job_id)
        assert (job.state, job.attempts) == ("queued", 0)


def test_torch_running_out_of_memory_is_told_as_such(services: Services) -> None:
    def handler(_context: JobContext) -> dict[str, Any]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 TB")

    assert "memory" in run_one(services, handler, {}).what


def test_a_cancel_just_before_the_end_counts(services: Services) -> None:
    def handler(context: JobContext) -> dict[str, Any]:
        assert not context.cancelled()  # asked, and remembered for a while
        context.services.queue.cancel(context.job.id)
        context.check()
        raise AssertionError("what was cancelled would have been stored")

    assert run_one(services, handler, {}).state == "cancelled"


def test_no_stage_foretells_another(services: Services) -> None:
    """Loading for a minute, then reading a sentence a second: nothing nonsensical in between."""
    seconds = 0.0
    told: list[tuple[str, float | None]] = []
    context = _context(services, lambda: seconds, told)
    merging, reading = context.stage(0.0, 0.3), context.stage(0.3, 1.0)
    for done in range(5):
        seconds += 1
        merging(done, 5, "Merging the experts")
    reading(0, 1, "Loading the base model")
    seconds += 60
    for done in range(1, 100):
        seconds += 1
        reading(done, 100, f"Reading sentence {done} of 100")
    assert [message for message, _ in told[5:7]] == [
        "Loading the base model",
        "Reading sentence 1 of 100",
    ]
    known = [(message, eta) for message, eta in told if eta is not None]
    assert len(known) > 90
    for message, eta in known:
        assert eta == pytest.approx(100 - int(message.split()[2]), abs=1.0)


def _context(
    services: Services, clock: Callable[[], float], told: list[tuple[str, float | None]]
) -> JobContext:
    services.queue.submit(services.sessions.create().id, "probe", {})
    job = services.queue.jobs.take("w")
    assert job is not None

    class Jobs:
        def report(self, *_: Any, message: str, eta_s: float | None, **_more: Any) -> None:
            told.append((message, eta_s))

    return JobContext(
        job,
        worker="w",
        jobs=Jobs(),  # type: ignore[arg-type]
        services=services,
        engine=None,  # type: ignore[arg-type]
        stopping=threading.Event(),
        clock=clock,
    )


def test_worker_ends_with_its_parent(services: Services, tmp_path: Path) -> None:
    """A stand-in for the app starts a worker and is killed, so that nothing can end the worker."""
    code = (
        "import os, subprocess, sys\n"
        "worker = subprocess.Popen([sys.executable, '-m', 'sam_ui.jobs.worker',"
        " '--parent', str(os.getpid())], stderr=subprocess.DEVNULL)\n"
        "print(worker.pid, flush=True)\n"
        "worker.wait()\n"
    )
    environment = {**os.environ, **services.settings.as_env()}
    app = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert app.stdout is not None
    worker_pid = int(app.stdout.readline())
    job_id = services.queue.submit(None, "tidy", {})
    wait_for(lambda: job_of(services, job_id).state == "done", "the worker works")
    app.kill()
    app.wait()
    app.stdout.close()
    wait_for(lambda: not _alive(worker_pid), "the worker ends")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a zombie that nobody waits for is not alive
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
