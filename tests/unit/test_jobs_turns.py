"""Whose turn it is: fair between sessions, and how long one has to wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from db.models import Job
from db.repositories.turns import Waiting, in_turn
from sam_ui.jobs.queue import QUICK
from sam_ui.services import Services
from sam_ui.services.views import JobView
from sam_ui.settings import Settings
from sam_ui.strip import strip_html

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def waiting(name: str, second: float, served: float | None = None, kind: str = "match") -> Waiting:
    """A job called "a1" belongs to the session "a"."""
    return Waiting(name, name[0], kind, at(second), None if served is None else at(served))


def order(*jobs: Waiting) -> list[str]:
    return [job.id for job in in_turn(jobs, first=QUICK)]


def test_sessions_that_wait_are_served_in_turn() -> None:
    jobs = [
        waiting("a1", 0),
        waiting("a2", 1),
        waiting("a3", 2),
        waiting("b1", 3),
        waiting("c1", 4),
    ]
    assert order(*jobs) == ["a1", "b1", "c1", "a2", "a3"]


def test_who_was_served_waits_for_those_who_came_meanwhile_but_not_for_later_ones() -> None:
    # a was served until second 10; b has waited since 5, c comes at 20.
    assert order(waiting("a2", 1, served=10), waiting("b1", 5), waiting("c1", 20)) == [
        "b1",
        "a2",
        "c1",
    ]


def test_quick_jobs_go_first_the_oldest_of_them_first() -> None:
    jobs = [waiting("a1", 0), waiting("b1", 5, kind="preview"), waiting("a2", 3, kind="compare")]
    assert order(*jobs) == ["a2", "b1", "a1"]


def test_everybody_is_served_however_many_others_come() -> None:
    """Fifty sessions, each with three jobs: nobody is passed by twice by the same session."""
    queue = [waiting(f"{chr(200 + n % 50)}{n}", n) for n in range(150)]
    served: dict[str, datetime] = {}
    seen: list[str] = []
    moment = 1000.0
    while queue:
        known = [
            Waiting(j.id, j.session_id, j.kind, j.created_at, served.get(j.id[0])) for j in queue
        ]
        chosen = in_turn(known)[0]
        seen.append(chosen.id[0])
        moment += 1
        served[chosen.id[0]] = at(moment)
        queue = [job for job in queue if job.id != chosen.id]
    assert [len(set(seen[first : first + 50])) for first in (0, 50, 100)] == [50, 50, 50]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings)
    yield services
    services.close()


def active(services: Services, session: str) -> JobView:
    job = services.jobs.active(session)
    assert job is not None
    return job


def test_the_strip_counts_who_is_before_and_for_how_long(services: Services) -> None:
    ada, bob, eve = (services.sessions.create().id for _ in range(3))
    queue = services.queue
    first = queue.submit(ada, "match", {})
    queue.jobs.take("w")
    queue.submit(bob, "match", {})
    mine = queue.submit(eve, "match", {})
    assert active(services, eve).line == "2 others before yours"  # nothing foretells for how long

    queue.jobs.finish(first, "w", {})
    with services.store.database.write() as session:
        done = update(Job).where(Job.id == first)
        session.execute(done.values(finished_at=Job.started_at, started_at=START))
        ended = START + timedelta(seconds=30)
        session.execute(done.values(finished_at=ended))
    assert services.queue.jobs.typical_s("match") == 30.0
    job = active(services, eve)
    assert (job.ahead, job.wait_s) == (1, 30.0)
    assert job.line == "1 other before yours, about 30 s"
    assert "Comparing the experts: 1 other before yours, about 30 s" in strip_html(job)

    queue.jobs.take("w")
    assert active(services, bob).state == "running"
    queue.jobs.take("w")
    assert active(services, eve).id == mine
    assert active(services, eve).state == "running"


def test_a_job_that_paused_says_so_and_keeps_what_it_has_done(services: Services) -> None:
    ada, bob = services.sessions.create().id, services.sessions.create().id
    long = services.queue.submit(ada, "predict", {})
    services.queue.jobs.take("w")
    services.queue.jobs.report(long, "w", progress=0.4, message="Reading 40", eta_s=9.0)
    services.queue.submit(bob, "match", {})
    services.queue.jobs.give_way(long, "w")
    job = active(services, ada)
    assert (job.state, job.progress, job.eta_s) == ("queued", 0.4, None)
    assert job.line == "Paused, so that others have their turn · 1 other before yours"
    taken = services.queue.jobs.take("w")
    assert taken is not None
    assert taken.session_id == bob
    services.queue.jobs.finish(taken.id, "w", {})
    assert active(services, ada).line == "Reading 40"  # its turn comes within a moment
    taken = services.queue.jobs.take("w")
    assert taken is not None
    assert (taken.id, taken.attempts) == (long, 1)


def test_an_interrupted_job_says_so_and_keeps_its_turn(services: Services) -> None:
    ada, bob = services.sessions.create().id, services.sessions.create().id
    killed = services.queue.submit(ada, "predict", {})
    services.queue.jobs.take("w")
    services.queue.submit(bob, "match", {})
    assert services.queue.jobs.release_orphans(what="Gone.", hint="Wait.", worker="w") == 1
    job = active(services, ada)
    assert job.interrupted
    assert job.line == "Interrupted. It goes on where it stopped"
    assert "sam-strip queued interrupted" in strip_html(job)
    taken = services.queue.jobs.take("w2")
    assert taken is not None
    assert taken.id == killed
    assert "goes on after an interruption" in strip_html(active(services, ada))
    services.queue.jobs.finish(killed, "w2", {"run_id": "r"})
    done = services.jobs.get(ada, killed)
    assert done is not None
    assert (done.interrupted, done.result) == (False, {"run_id": "r"})


def test_a_job_that_is_stopping_is_shown_until_it_has_stopped(services: Services) -> None:
    ada = services.sessions.create().id
    job_id = services.queue.submit(ada, "match", {})
    services.queue.jobs.take("w")
    services.jobs.cancel(ada, job_id)
    assert services.jobs.active(ada) is None
    shown = services.jobs.shown(ada)
    assert shown is not None
    assert shown.stopping
    html = strip_html(shown)
    assert "Comparing the experts: stopping. What is finished is kept" in html
    assert "disabled" in html
    services.queue.jobs.set_cancelled(job_id, "w")
    assert services.jobs.shown(ada) is None


def test_a_failure_is_shown_whatever_quick_jobs_come_after_it(services: Services) -> None:
    ada = services.sessions.create().id
    job_id = services.queue.submit(ada, "match", {})
    services.queue.jobs.take("w")
    services.queue.jobs.fail(job_id, "w", "It <broke>.", "Mend it.")
    services.queue.submit(ada, "preview", {})
    shown = services.jobs.shown(ada)
    assert shown is not None
    assert shown.id == job_id
    assert "It &lt;broke&gt;." in strip_html(shown)


def test_a_silent_worker_is_not_taken_for_a_busy_one(services: Services) -> None:
    ada = services.sessions.create().id
    services.queue.submit(ada, "match", {})
    services.queue.jobs.take("w")
    with services.store.database.write() as session:
        session.execute(update(Job).values(heartbeat_at=datetime.now(UTC) - timedelta(seconds=15)))
    assert "interrupted" in active(services, ada).line
