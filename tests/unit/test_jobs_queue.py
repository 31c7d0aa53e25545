"""The queue: order, cancelling, orphans, late reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from db import Database, migrate
from db.models import Job, now
from db.repositories import SessionRepository
from sam_ui.jobs.context import RemainingTime
from sam_ui.jobs.queue import JobQueue

WHAT, HINT = "The worker stopped.", "Press Try again."


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'sam.sqlite3'}"
    migrate(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database)


@pytest.fixture
def one(database: Database) -> str:
    return SessionRepository(database).create("One").id


@pytest.fixture
def two(database: Database) -> str:
    return SessionRepository(database).create("Two").id


def state(queue: JobQueue, job_id: str) -> str:
    job = queue.get(job_id)
    assert job is not None
    return job.state


def test_oldest_first_whosever_it_is(queue: JobQueue, one: str, two: str) -> None:
    submitted = [
        queue.submit(one, "match", {"n": 1}),
        queue.submit(two, "match", {}),
        queue.submit(one, "predict", {}),
    ]
    taken = [queue.jobs.take("w") for _ in range(4)]
    assert [job and job.id for job in taken] == [*submitted, None]
    assert taken[0] is not None
    assert (taken[0].state, taken[0].worker, taken[0].attempts) == ("running", "w", 1)
    assert taken[0].payload == {"n": 1}


def test_a_new_job_replaces_the_unfinished_one_of_its_kind(
    queue: JobQueue, one: str, two: str
) -> None:
    other = queue.submit(two, "match", {})
    waiting = queue.submit(one, "match", {})
    queue.submit(one, "match", {})
    assert state(queue, waiting) == "cancelled"
    assert state(queue, other) == "queued"

    running = queue.jobs.take("w")
    assert running is not None
    assert running.id == other
    queue.submit(two, "match", {})
    assert queue.jobs.must_stop(other, "w")
    assert other not in [job.id for job in queue.active(two)]


def test_merge_and_predict_replaces_a_prediction(queue: JobQueue, one: str) -> None:
    match, predict = queue.submit(one, "match", {}), queue.submit(one, "predict", {})
    queue.submit(one, "merge_and_predict", {})
    assert (state(queue, match), state(queue, predict)) == ("queued", "cancelled")


def test_cancel_is_immediate_when_queued_and_asked_when_running(
    queue: JobQueue, one: str, two: str
) -> None:
    running, waiting = queue.submit(one, "match", {}), queue.submit(two, "match", {})
    queue.jobs.take("w")
    assert not queue.jobs.must_stop(running, "w")
    queue.cancel(running)
    queue.cancel(waiting)
    assert state(queue, waiting) == "cancelled"
    assert state(queue, running) == "running"
    assert queue.jobs.must_stop(running, "w")
    queue.jobs.set_cancelled(running, "w")
    assert state(queue, running) == "cancelled"


def test_finished_jobs_stay_finished(queue: JobQueue, one: str) -> None:
    job_id = queue.submit(one, "match", {})
    queue.jobs.take("w")
    queue.jobs.finish(job_id, "w", {"run_id": "r"})
    queue.cancel(job_id)
    queue.jobs.fail(job_id, "w", WHAT, HINT)
    queue.jobs.report(job_id, "w", progress=0.2, message="Late", eta_s=None)
    job = queue.get(job_id)
    assert job is not None
    assert (job.state, job.progress, job.result) == ("done", 1.0, {"run_id": "r"})


def test_an_orphan_is_tried_once_more_then_fails(queue: JobQueue, one: str) -> None:
    job_id = queue.submit(one, "match", {})
    for attempt in (1, 2):
        worker = f"w{attempt}"
        job = queue.jobs.take(worker)
        assert job is not None
        assert job.attempts == attempt
        assert queue.jobs.release_orphans(what=WHAT, hint=HINT, worker="another") == 0
        assert queue.jobs.release_orphans(what=WHAT, hint=HINT, worker=worker) == 1
    job = queue.get(job_id)
    assert job is not None
    assert (job.state, job.what, job.hint) == ("failed", WHAT, HINT)


def test_a_cancelled_orphan_is_cancelled(queue: JobQueue, one: str) -> None:
    job_id = queue.submit(one, "match", {})
    queue.jobs.take("w")
    queue.cancel(job_id)
    queue.jobs.release_orphans(what=WHAT, hint=HINT, worker="w")
    assert state(queue, job_id) == "cancelled"


def test_silent_workers_lose_their_jobs(queue: JobQueue, database: Database, one: str) -> None:
    from datetime import timedelta

    job_id = queue.submit(one, "match", {})
    queue.jobs.take("w")
    assert queue.jobs.release_orphans(what=WHAT, hint=HINT, silent_s=30) == 0
    with database.write() as session:
        session.execute(update(Job).values(heartbeat_at=now() - timedelta(seconds=31)))
    assert queue.jobs.release_orphans(what=WHAT, hint=HINT, silent_s=30) == 1
    # The worker lives after all: what it says no longer counts.
    queue.jobs.finish(job_id, "w", {})
    assert state(queue, job_id) == "queued"
    assert queue.jobs.must_stop(job_id, "w")


def test_a_heartbeat_keeps_the_job(queue: JobQueue, database: Database, one: str) -> None:
    from datetime import timedelta

    job_id = queue.submit(one, "match", {})
    queue.jobs.take("w")
    with database.write() as session:
        session.execute(update(Job).values(heartbeat_at=now() - timedelta(seconds=31)))
    queue.jobs.beat(job_id, "w")
    assert queue.jobs.release_orphans(what=WHAT, hint=HINT, silent_s=30) == 0


def test_giving_back_does_not_count_as_an_attempt(queue: JobQueue, one: str) -> None:
    job_id = queue.submit(one, "match", {})
    queue.jobs.take("w")
    queue.jobs.give_back("w")
    job = queue.jobs.take("w2")
    assert job is not None
    assert (job.id, job.attempts) == (job_id, 1)


def test_giving_back_a_job_that_was_asked_to_stop_cancels_it(queue: JobQueue, one: str) -> None:
    job_id = queue.submit(one, "match", {})
    queue.jobs.take("w")
    queue.cancel(job_id)
    queue.jobs.give_back("w")
    assert state(queue, job_id) == "cancelled"
    assert queue.jobs.take("w2") is None


def test_forget_spares_unfinished_and_recent_jobs(
    queue: JobQueue, database: Database, one: str
) -> None:
    from datetime import timedelta

    done, waiting = queue.submit(one, "match", {}), queue.submit(one, "predict", {})
    queue.jobs.take("w")
    queue.jobs.finish(done, "w", {})
    assert queue.jobs.forget(older_than_s=60) == 0
    with database.write() as session:
        session.execute(update(Job).values(finished_at=now() - timedelta(seconds=61)))
    with database.write() as session:
        session.execute(update(Job).where(Job.id == waiting).values(finished_at=None))
    assert queue.jobs.forget(older_than_s=60) == 1
    assert queue.get(done) is None
    assert state(queue, waiting) == "queued"


def test_remaining_time_follows_the_recent_speed() -> None:
    seconds = 0.0
    remaining = RemainingTime(window_s=10, clock=lambda: seconds)
    assert remaining.update(0.0) is None
    for step in range(1, 21):  # 1 % a second
        seconds = float(step)
        left = remaining.update(step / 100)
    assert left == pytest.approx(80.0)
    for step in range(1, 13):  # then 5 % a second, for longer than the window
        seconds = 20.0 + step
        left = remaining.update(0.2 + step * 0.05)
    assert left == pytest.approx(4.0, abs=0.5)
