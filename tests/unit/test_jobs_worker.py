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
        assert job_of(services, first).result == {"forgotten": 0}

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
