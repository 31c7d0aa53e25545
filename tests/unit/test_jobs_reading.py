"""Reading in portions: what was read is kept, others have their turn, memory that runs out is met
with shorter passes; and real worker processes that are killed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experts.spans import Span
from sam_ui.jobs import reading
from sam_ui.jobs.context import SLICE_S
from sam_ui.jobs.memory import KILLED, advice, out_of_memory, read_less_at_once
from sam_ui.jobs.supervisor import Supervisor
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.views import EntityType, JobView
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, find, make_pool
from tests.unit.worker_process import HOLD, write_worker

WEIGHTS = {"astro": 0.5, "law": 0.5}
SENTENCES = 200
TEXT = "\n".join(f"Ada met number {n} in Paris." for n in range(SENTENCES))
DEADLINE_S = 300.0


class Killed(BaseException):
    """Ends the worker's thread where a signal would end its process."""


class Reader(FakeEngine):
    """Counts what it reads; raises `error` when it has read `stop_after` sentences."""

    def __init__(self, settings: Settings, pool: Any) -> None:
        super().__init__(settings, pool)
        self.read: list[str] = []
        self.stop_after = 10**9
        self.failure: BaseException = Killed()
        self.before: Callable[[], None] = lambda: None

    def predict(self, texts: Any, types: Any, adapters: Any, **options: Any) -> list[list[Span]]:
        self.before()
        if len(self.read) + len(texts) > self.stop_after:
            raise self.failure
        self.read += texts
        if options.get("progress"):
            options["progress"](1000, 1000, "Reading sentence 5 of 5")
        return [find(text, types) for text in texts]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=make_pool(tmp_path / "pool"))
    yield services
    services.close()


@pytest.fixture
def engine(services: Services) -> Reader:
    return Reader(services.settings, services.pool)


@pytest.fixture
def worker(services: Services, engine: Reader) -> Worker:
    return Worker(services, engine, name="w")


@pytest.fixture
def session_id(services: Services) -> str:
    return new_session(services)


def new_session(services: Services, text: str = TEXT) -> str:
    session = services.sessions.create("Lake sediments")
    services.corpus.add_text(session.id, text)
    services.types.set(session.id, [EntityType("person")])
    return session.id


def view(services: Services, session_id: str, job_id: str) -> JobView:
    job = services.jobs.get(session_id, job_id)
    assert job is not None
    return job


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        pause.wait(0.02)


def test_a_killed_prediction_goes_on_where_it_stopped(
    services: Services, session_id: str, engine: Reader, worker: Worker
) -> None:
    job_id = services.merge.start(session_id, WEIGHTS)
    engine.stop_after = 60
    with pytest.raises(Killed):
        worker.run_one()
    first = list(engine.read)
    assert first
    services.queue.jobs.release_orphans(what=KILLED[0], hint=KILLED[1], worker="w")
    engine.stop_after = 10**9
    assert worker.run_one()
    assert view(services, session_id, job_id).state == "done"
    assert len(engine.read) == len(set(engine.read)) == SENTENCES, "no sentence is read twice"
    page = services.predict.page(session_id, limit=SENTENCES)
    assert page is not None
    assert sum(bool(row.spans) for row in page.rows) == SENTENCES


def test_a_cancelled_prediction_keeps_what_was_read(
    services: Services, session_id: str, engine: Reader, worker: Worker
) -> None:
    job_id = services.merge.start(session_id, WEIGHTS)

    def cancel() -> None:
        if engine.read:
            services.queue.cancel(job_id)

    engine.before = cancel
    assert worker.run_one()
    assert view(services, session_id, job_id).state == "cancelled"
    read_before = len(engine.read)
    engine.before = lambda: None
    services.jobs.retry(session_id, job_id)
    assert worker.run_one()
    assert len(engine.read) == SENTENCES
    assert 0 < read_before < SENTENCES
    assert len(services.merge.list(session_id)) == 1, "trying again makes no second merge"


def test_trying_again_after_a_failure_makes_no_second_merge(
    services: Services, session_id: str, engine: Reader, worker: Worker
) -> None:
    job_id = services.merge.start(session_id, WEIGHTS)
    engine.stop_after, engine.failure = 0, MemoryError()
    assert worker.run_one()
    failed = view(services, session_id, job_id)
    assert failed.state == "failed"
    assert (failed.what, failed.hint) == advice("merge_and_predict")
    assert "fewer experts" in failed.hint
    assert "SAM_DEVICE=cpu" in failed.hint
    engine.stop_after = 10**9
    again = services.jobs.retry(session_id, job_id)
    again = services.jobs.retry(session_id, again)  # and once more, impatiently
    assert worker.run_one()
    assert view(services, session_id, again).state == "done"
    (merge,) = services.merge.list(session_id)
    assert merge.id == job_id
    assert merge.predicted


def test_the_same_recipe_is_not_merged_twice(
    services: Services, session_id: str, worker: Worker
) -> None:
    services.merge.start(session_id, WEIGHTS)
    assert worker.run_one()
    (first,) = services.merge.list(session_id)
    services.corpus.add_text(session_id, "Grace left for Rome.")
    job_id = services.merge.start(session_id, WEIGHTS)
    assert worker.run_one()
    (again,) = services.merge.list(session_id)
    assert again.id == first.id == view(services, session_id, job_id).result["merge_id"]
    page = services.predict.page(session_id, search="Grace")
    assert page is not None
    assert page.rows[0].spans
    services.merge.start(session_id, {"astro": 0.6, "law": 0.4})
    assert worker.run_one()
    assert len(services.merge.list(session_id)) == 2


def test_only_new_texts_are_read_again(
    services: Services, session_id: str, engine: Reader, worker: Worker
) -> None:
    services.merge.start(session_id, WEIGHTS)
    assert worker.run_one()
    services.corpus.add_text(session_id, "Grace left for Rome.")
    services.predict.start(session_id)
    assert worker.run_one()
    assert engine.read[SENTENCES:] == ["Grace left for Rome."]
    services.types.set(session_id, [EntityType("person"), EntityType("city")])
    services.predict.start(session_id)
    assert worker.run_one()
    assert len(engine.read) == 2 * SENTENCES + 2, "another question is asked of every sentence"


def test_a_long_reading_lets_a_preview_and_other_sessions_go_first(
    services: Services, session_id: str, engine: Reader, worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("sam_ui.jobs.context.SLICE_S", 0.0)
    other = new_session(services, "Bob sat in Rome.")
    long = services.merge.start(session_id, WEIGHTS)
    asked: list[str] = []

    def others_come() -> None:
        if not asked:
            asked.append(services.merge.start(other, WEIGHTS))
            asked.append(services.preview.start(session_id, WEIGHTS))

    engine.before = others_come
    assert worker.run_one()
    paused = view(services, session_id, long)
    assert (paused.state, paused.ahead) == ("queued", 1)
    assert 0 < paused.progress < 1
    owners = {asked[0]: other, asked[1]: session_id, long: session_id}
    ended: list[str] = []
    for _ in range(3):
        assert worker.run_one()
        done = [job for job, whose in owners.items() if view(services, whose, job).state == "done"]
        ended += [job for job in done if job not in ended]
    assert ended == [asked[1], asked[0], long]
    assert engine.read.count("Bob sat in Rome.") == 1
    assert len(engine.read) == SENTENCES + 1
    assert SLICE_S > reading.PORTION_S, "a slice is worth more than a portion"


def test_short_of_memory_the_passes_are_made_shorter(
    services: Services, session_id: str, engine: Reader, worker: Worker
) -> None:
    class Extractor:
        pass_tokens = 512

    extractor = Extractor()
    vars(engine)["extractor"] = extractor

    def full() -> None:
        if extractor.pass_tokens > 200:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")

    engine.before = full
    job_id = services.merge.start(session_id, WEIGHTS)
    assert worker.run_one()
    assert view(services, session_id, job_id).state == "done"
    assert extractor.pass_tokens == 128
    assert not read_less_at_once(engine), "shorter ones would help no more"


def test_what_running_out_of_memory_looks_like() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch names its own."""

    assert out_of_memory(MemoryError())
    assert out_of_memory(OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(ValueError("memory of a list"))


def test_a_job_that_does_not_notice_is_cancelled_all_the_same(
    services: Services, session_id: str, engine: Reader
) -> None:
    """As while a model is loaded: nothing asks whether to stop."""
    worker = Worker(services, engine, name="w")
    entered, leave = threading.Event(), threading.Event()

    def deaf() -> None:
        entered.set()
        assert leave.wait(DEADLINE_S)

    engine.before = deaf
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        job_id = services.merge.start(session_id, WEIGHTS)
        assert entered.wait(DEADLINE_S)
        services.jobs.cancel(session_id, job_id)
        wait_for(
            lambda: view(services, session_id, job_id).state == "cancelled", "the job is cancelled"
        )
        assert not leave.is_set()
        engine.before = lambda: None
        leave.set()
        after = services.match.start(session_id)
        wait_for(lambda: view(services, session_id, after).state == "done", "the next job")
        assert services.store.runs.latest(session_id, "predict") is None, "nothing of it was kept"
    finally:
        leave.set()
        worker.stopping.set()
        thread.join(DEADLINE_S)


@pytest.fixture
def processes(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Real worker processes under their supervisor; the stand-in for the models is in them."""

    def prepare(body: str) -> Path:
        log, script = tmp_path / "read.log", tmp_path / "worker.py"
        log.touch()
        write_worker(script, log=log, pool=tmp_path / "pool", body=body)
        monkeypatch.setattr("sam_ui.jobs.supervisor.WORKER", [str(script)])
        return log

    return prepare


def test_a_prediction_survives_kill_9_of_its_worker_process(
    services: Services, session_id: str, processes: Any, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    log = processes(HOLD.format(go=str(go)))
    with Supervisor(services) as supervisor:
        job_id = services.merge.start(session_id, WEIGHTS)
        # The second portion has begun, so the first is stored.
        wait_for(lambda: len(log.read_text("utf-8").splitlines()) > reading.FIRST, "a portion")
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        wait_for(lambda: view(services, session_id, job_id).interrupted, "the job says so")
        go.touch()
        wait_for(lambda: view(services, session_id, job_id).state == "done", "the job ends")
    read = log.read_text("utf-8").splitlines()
    assert set(read) == {s.text for s in services.store.corpus.sentences(session_id)}
    assert read.count(read[0]) == 1, "what was stored is not read again"
    assert len(services.merge.list(session_id)) == 1


def test_a_job_that_kills_its_worker_twice_is_not_tried_again(
    services: Services, session_id: str, processes: Any
) -> None:
    log = processes("os.kill(os.getpid(), signal.SIGKILL)")  # as the kernel when memory runs out
    with Supervisor(services):
        job_id = services.merge.start(session_id, WEIGHTS)
        wait_for(lambda: view(services, session_id, job_id).state == "failed", "it is given up")
        job = view(services, session_id, job_id)
        assert (job.what, job.hint) == KILLED
        tidy = services.queue.submit(None, "tidy", {})
        wait_for(lambda: services.queue.get(tidy).state == "done", "SaM lives on")  # type: ignore[union-attr]
    assert len(log.read_text("utf-8").splitlines()) == 2 * reading.FIRST


def test_the_worker_is_a_process_of_its_own() -> None:
    """Spawned, never forked: it shares nothing with the app but the database."""
    from sam_ui.jobs import supervisor

    assert supervisor.WORKER == ["-m", "sam_ui.jobs.worker"]
