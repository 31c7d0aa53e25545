"""Learning from corrections through services and worker, with a stand-in for the models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experts.errors import SamError
from experts.merging.recipe import Recipe
from experts.spans import Span
from sam_ui.jobs import learning as jobs_learning
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.learning_kept import trained_on
from sam_ui.services.views import EntityType, JobView
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, make_pool

NAMES = (
    "Ada", "Bob", "Cleo", "Dora", "Emmy", "Finn", "Grace", "Hugo", "Iris", "Jane", "Kurt", "Lise",
    "Mary", "Nora", "Otto", "Paul", "Queenie", "Rosa", "Stella", "Theodora", "Ursula", "Viktoria",
)  # fmt: skip
TEXT = "\n".join(f"Today {name} met nobody." for name in NAMES)
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
def session_id(services: Services, worker: Worker) -> str:
    """Texts in which the merge has found every capitalised word, “Today” among them."""
    session = services.sessions.create("Names")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person")])
    finished(services, session.id, worker, services.merge.start(session.id, WEIGHTS, label="Mine"))
    return session.id


def correct(services: Services, session_id: str, count: int) -> None:
    for sentence in services.store.corpus.sentences(session_id, limit=count):
        end = sentence.text.index(" met")
        services.corrections.put(session_id, sentence.id, [Span(6, end, "person")])


def finished(
    services: Services, session_id: str, worker: Worker, job_id: str, state: str = "done"
) -> JobView:
    assert worker.run_one()
    job = services.jobs.get(session_id, job_id)
    assert job is not None
    assert job.state == state, (job.what, job.hint)
    return job


def learned(services: Services, session_id: str, worker: Worker, how: str = "train") -> Any:
    finished(services, session_id, worker, services.learning.start(session_id, how=how))
    return services.learning.candidate(session_id)


def folders(services: Services, session_id: str) -> list[str]:
    folder = services.settings.session_dir(session_id) / "learning"
    return sorted(path.name for path in folder.glob("*"))


def test_too_few_corrections_are_refused_and_it_is_said_how_many_it_takes(
    services: Services, session_id: str
) -> None:
    view = services.learning.view(session_id)
    assert (view.sentences, view.fewest, view.merge_label) == (0, 4, "Mine")
    correct(services, session_id, 1)
    with pytest.raises(SamError, match=r"^1 corrected sentence is too few.*Correct 3 more"):
        services.learning.start(session_id)
    correct(services, session_id, 4)
    view = services.learning.view(session_id)
    assert view.seconds["train"] > 8
    assert "8" in view.why_not["weights"]
    assert "4 corrected entities are too few" in view.why_not["thresholds"]
    with pytest.raises(SamError, match="no such way"):
        services.learning.start(session_id, how="magic")


def test_a_result_waits_and_is_kept_as_a_merge(
    services: Services, session_id: str, worker: Worker
) -> None:
    correct(services, session_id, 20)
    result = learned(services, session_id, worker)
    assert folders(services, session_id) == [result.id], "what was begun is cleared away"
    assert (result.sentences, result.entities, result.merge_label) == (20, 20, "Mine")
    assert (result.before.tp, result.before.fp, result.before.fn) == (20, 20, 0)
    assert (result.after.tp, result.after.fp) == (20, 0)
    assert [change.name for change in result.types] == ["person"]
    assert result.better
    assert len(services.merge.list(session_id)) == 1, "it waits"

    merge_id = services.learning.keep(session_id)
    assert folders(services, session_id) == []
    merge, before = services.merge.list(session_id)
    assert (merge.id, merge.label) == (merge_id, "Learned from 20 corrections")
    assert "“Mine” with 20 of your corrections" in merge.note
    assert "found 20 of 20 entities instead of 20" in merge.note
    assert merge.weights == before.weights
    (step,) = Recipe.model_validate(merge.recipes[0]).learned
    assert (step.how, step.merge, step.sentences) == ("train", "Mine", 20)
    assert "learned" not in before.recipes[0]
    view = services.learning.view(session_id)
    assert view.candidate is None
    assert view.kept is not None
    assert not view.predicted
    with pytest.raises(SamError, match="nothing to keep"):
        services.learning.keep(session_id)

    finished(services, session_id, worker, services.predict.start(session_id, merge_id))
    assert services.learning.view(session_id).predicted
    assert services.share.recipe_json(session_id, merge_id).is_file()
    # Scored by what it did before it had learned from these sentences, not by heart.
    score = services.merge.scores(session_id)[merge_id]
    assert score.truth is not None
    assert (score.truth.tp, score.truth.fp, score.sentences) == (20, 0, 20)
    again = learned(services, session_id, worker)
    assert again.merge_label == "Learned from 20 corrections", "it goes on from what reads best"
    assert services.learning.keep(session_id) != merge_id
    labels = [merge.label for merge in services.merge.list(session_id)]
    assert labels == ["Learned from 20 corrections (2)", "Learned from 20 corrections", "Mine"]
    two = Recipe.model_validate(services.merge.list(session_id)[0].recipes[0])
    assert len(two.learned) == 2


def test_keeping_and_discarding_can_be_undone(
    services: Services, session_id: str, worker: Worker
) -> None:
    correct(services, session_id, 12)
    learned(services, session_id, worker)
    merge_id = services.learning.keep(session_id)
    services.merge.delete(session_id, merge_id)
    view = services.learning.view(session_id)
    assert (view.kept, view.discarded) == (None, merge_id)
    services.merge.restore(session_id, merge_id)
    assert services.learning.view(session_id).kept is not None

    learned(services, session_id, worker)
    second = services.learning.discard(session_id)
    assert services.learning.view(session_id).discarded == second
    assert services.merge.list(session_id)[0].id == merge_id
    services.merge.restore(session_id, second)
    record = services.store.merge(session_id, second)
    assert record is not None
    assert services.store.adapter_paths(record)
    assert len(trained_on(record)) == 12
    assert services.learning.view(session_id).discarded == ""


def test_a_new_result_takes_the_place_of_the_one_that_waits(
    services: Services, session_id: str, worker: Worker
) -> None:
    correct(services, session_id, 5)
    first = learned(services, session_id, worker)
    correct(services, session_id, 8)
    assert services.learning.view(session_id).fresh == 3
    second = learned(services, session_id, worker)
    assert folders(services, session_id) == [second.id] != [first.id]
    assert not second.enough, "eight sentences tell nothing"


def test_thresholds_leave_out_what_is_unsure(
    services: Services, session_id: str, worker: Worker
) -> None:
    # Of “Today” the stand-in is as sure as of any word of five letters; longer ones are surer.
    for sentence in services.store.corpus.sentences(session_id):
        end = sentence.text.index(" met")
        spans = [Span(6, end, "person")] if end - 6 > 5 else []
        services.corrections.put(session_id, sentence.id, spans)
    services.corpus.add_text(session_id, "\n".join(f"See {n}ina go." for n in NAMES if len(n) > 3))
    for sentence in services.store.corpus.sentences(session_id)[len(NAMES) :]:
        services.corrections.put(
            session_id, sentence.id, [Span(4, sentence.text.index(" go"), "person")]
        )
    result = learned(services, session_id, worker, "thresholds")
    assert result.changed
    assert 0.5 < result.thresholds["person"] <= 0.6
    assert result.after.fp < result.before.fp
    assert result.better
    merge_id = services.learning.keep(session_id)
    finished(services, session_id, worker, services.predict.start(session_id, merge_id))
    counts = services.predict.counts(session_id, merge_id)
    mine = services.merge.list(session_id)[1]
    assert counts["person"] < services.predict.counts(session_id, mine.id)["person"]
    with pytest.raises(SamError, match="knows no more than before"):
        services.learning.publish(session_id, "", "Names", "CC0-1.0")


def test_what_does_not_help_is_said(
    services: Services, session_id: str, worker: Worker, engine: FakeEngine
) -> None:
    engine.helps = False
    correct(services, session_id, 12)
    result = learned(services, session_id, worker)
    assert not result.changed
    assert result.gain == 0.0
    assert not result.better


def test_a_killed_worker_goes_on_and_a_cancelled_one_keeps_nothing(
    services: Services, session_id: str, worker: Worker, engine: FakeEngine
) -> None:
    correct(services, session_id, 12)
    job_id = services.learning.start(session_id)
    engine.error = Killed()
    with pytest.raises(Killed):
        worker.run_one()
    assert folders(services, session_id) == ["work"]
    services.queue.jobs.release_orphans(what="Gone.", hint="Wait.", worker="w")
    correct(services, session_id, 20)  # the person has gone on meanwhile
    engine.error = None
    finished(services, session_id, worker, job_id)
    result = services.learning.candidate(session_id)
    assert result is not None
    assert result.sentences == 12, "as it was asked for"
    assert folders(services, session_id) == [result.id]

    engine.gate = threading.Event()  # never opens
    engine.entered.clear()
    job_id = services.learning.start(session_id)
    thread = threading.Thread(target=worker.run_one)
    thread.start()
    assert engine.entered.wait(30)
    services.jobs.cancel(session_id, job_id)
    thread.join(30)
    assert not thread.is_alive()
    job = services.jobs.get(session_id, job_id)
    assert job is not None
    assert job.state == "cancelled"
    assert services.learning.candidate(session_id) == result, "what waited still does"
    assert folders(services, session_id) == [result.id, "work"], "another start goes on from there"


def test_it_makes_way_for_what_somebody_is_looking_at(
    services: Services,
    session_id: str,
    worker: Worker,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs_learning, "UNDISTURBED_S", 0.0)
    monkeypatch.setattr(jobs_learning, "ASK_EVERY_S", 0.0)
    correct(services, session_id, 12)
    engine.gate = threading.Event()
    engine.entered.clear()
    job_id = services.learning.start(session_id)
    thread = threading.Thread(target=worker.run_one)
    thread.start()
    assert engine.entered.wait(30)
    quick = services.queue.submit(session_id, "suggest", {})
    thread.join(30)
    assert not thread.is_alive()
    job = services.jobs.get(session_id, job_id)
    assert job is not None
    assert job.state == "queued"
    assert folders(services, session_id) == ["work"]
    assert worker.run_one()
    record = services.queue.get(quick)
    assert record is not None
    assert record.state == "done"
    engine.gate.set()
    finished(services, session_id, worker, job_id)
    assert services.learning.candidate(session_id) is not None


def test_what_cannot_be_learned_from_is_left_out(services: Services, session_id: str) -> None:
    correct(services, session_id, 6)
    services.types.set(session_id, [EntityType("person"), EntityType("ship")])
    view = services.learning.view(session_id)
    assert (view.sentences, view.unfit) == (0, 6)
    services.types.set(session_id, [EntityType("person")])
    page = services.review.queue(session_id, order="position", status="open")
    assert page.total == len(NAMES) - 6
    services.review.accept_above(session_id, 0.0)
    view = services.learning.view(session_id)
    assert view.sentences == 6, "nobody has read what was accepted all at once"
    assert view.unfit == len(NAMES) - 6


def test_it_becomes_an_expert_of_the_pool(
    services: Services, session_id: str, worker: Worker
) -> None:
    with pytest.raises(SamError, match="Nothing learned has been kept"):
        services.learning.publish(session_id, "", "Names", "CC0-1.0")
    correct(services, session_id, 20)
    learned(services, session_id, worker)
    merge_id = services.learning.keep(session_id)
    for name, title, licence, said in (
        ("", "  ", "CC0-1.0", "needs a name"),
        ("", "x" * 90, "CC0-1.0", "longer than 80"),
        ("Not So", "Names", "CC0-1.0", "cannot be the name"),
        ("", "Names", "mine", "No licence"),
        ("astro", "Names", "CC0-1.0", "already in the pool"),
    ):
        with pytest.raises(SamError, match=said):
            services.learning.publish(session_id, name, title, licence)
    job_id = services.learning.publish(session_id, "", "Names of people", "CC-BY-4.0")
    job = finished(services, session_id, worker, job_id)
    assert job.result == {"expert": "names-of-people"}
    assert services.learning.view(session_id).published == "names-of-people"
    card = services.pool.get("names-of-people").card
    assert card.title == "Names of people"
    assert [kind.name for kind in card.types] == ["person"]
    assert card.data[0].name == "corrections of a person"
    assert (card.data[0].sentences, card.data[0].licence) == (20, "CC-BY-4.0")
    assert {d.name for d in card.data[1:]} == {"Astronomy corpus", "Court decisions corpus"}
    assert "found 20 of 20 entities instead of 20, 0 of what it found was wrong" in card.description
    assert card.dev_f1 == 1.0
    assert len(card.mean) == 16
    assert len(card.exemplars) == 20
    assert card.recipe["learned"]["how"] == "train"
    info = services.experts.get("names-of-people")
    assert not info.bundled
    services.merge.start(session_id, {"names-of-people": 0.5, "lake": 0.5})
    assert worker.run_one()
    assert services.merge.list(session_id)[0].weights.keys() == {"names-of-people", "lake"}
    with pytest.raises(SamError, match="already in the pool"):
        services.learning.publish(session_id, "", "Names of people", "CC-BY-4.0")
    services.merge.delete(session_id, merge_id)
