"""Work that is cut off or done again: nothing twice, nothing left behind, nothing out of date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.views import EntityType, JobView
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, make_pool

TEXT = "Ada met Grace in Paris. It rained all day. Bob left early."
WEIGHTS = {"astro": 0.5, "law": 0.5}


class Killed(BaseException):
    """Ends the worker's thread where a signal would end its process."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=make_pool(tmp_path / "pool"))
    yield services
    services.close()


@pytest.fixture
def engine(services: Services) -> FakeEngine:
    return FakeEngine(services.settings, services.pool)


@pytest.fixture
def worker(services: Services, engine: FakeEngine) -> Worker:
    return Worker(services, engine, name="w")


@pytest.fixture
def session_id(services: Services) -> str:
    session = services.sessions.create("Lake sediments")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person")])
    return session.id


def finished(services: Services, session_id: str, worker: Worker, job_id: str) -> JobView:
    assert worker.run_one()
    job = services.jobs.get(session_id, job_id)
    assert job is not None
    assert job.state == "done", (job.what, job.hint)
    return job


def test_a_job_that_was_killed_after_its_merge_does_not_merge_twice(
    services: Services, session_id: str, engine: FakeEngine, worker: Worker
) -> None:
    job_id = services.merge.start(session_id, WEIGHTS)
    engine.error = Killed()  # as kill -9: neither handler nor worker gets to say anything
    with pytest.raises(Killed):
        worker.run_one()
    (first,) = services.merge.list(session_id)
    services.queue.jobs.release_orphans(what="Gone.", hint="Wait.", worker="w")
    engine.error = None
    job = finished(services, session_id, worker, job_id)
    (second,) = services.merge.list(session_id)
    assert job.result["merge_id"] == second.id == first.id
    assert second.predicted


def test_what_killed_processes_left_is_removed(
    services: Services, session_id: str, worker: Worker
) -> None:
    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    kept = services.share.adapter_zip(session_id)
    sessions = services.settings.data_dir / "sessions"
    left = [sessions / session_id / "merges" / "killed", sessions / "deleted" / "merges" / "m"]
    for folder in left:
        folder.mkdir(parents=True)

    running = services.merge.start(session_id, WEIGHTS)
    services.queue.jobs.take("another")
    services.queue.submit(None, "tidy", {})
    assert worker.run_one()
    assert all(folder.exists() for folder in left), "a merge runs: its folder looks the same"

    services.queue.jobs.set_cancelled(running, "another")
    services.queue.submit(None, "tidy", {})
    assert worker.run_one()
    assert not any(folder.exists() for folder in left)
    assert kept.exists()
    merge = services.store.merge(session_id, None)
    assert merge is not None
    assert services.store.adapter_paths(merge)


def test_annotations_are_written_again_only_when_they_have_changed(
    services: Services, session_id: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    read = services.predict.all
    asked: list[str] = []
    monkeypatch.setattr(
        services.predict, "all", lambda session, merge: asked.append(merge) or read(session, merge)
    )
    first = services.share.annotations(session_id, "jsonl")
    assert services.share.annotations(session_id, "jsonl") == first
    assert len(asked) == 1

    services.corpus.add_text(session_id, "Zoe stayed.")
    second = services.share.annotations(session_id, "jsonl")
    assert "Zoe" in second.read_text(encoding="utf-8")
    assert not first.exists()

    finished(services, session_id, worker, services.predict.start(session_id))
    last = services.share.annotations(session_id, "jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(last[-1])["entities"]
    assert services.state(session_id)["review"] == "stale"  # made by a merge of the old texts
