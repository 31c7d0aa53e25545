"""A session from upload to download through the services, with a stand-in for the models."""

from __future__ import annotations

import csv
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experts.errors import SamError
from experts.pool import Pool
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.views import STEPS, EntityType, JobView, MatchView
from sam_ui.settings import Settings
from tests.unit.fakes import FakeEngine, make_pool

TEXT = "Ada met Grace in Paris. It rained all day. Bob left early."
WEIGHTS = {"astro": 0.5, "law": 0.5, "lake": 0.0}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def services(tmp_path: Path, pool: Pool) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=pool)
    yield services
    services.close()


@pytest.fixture
def engine(services: Services, pool: Pool) -> FakeEngine:
    return FakeEngine(services.settings, pool)


@pytest.fixture
def worker(services: Services, engine: FakeEngine) -> Worker:
    return Worker(services, engine, name="w")


@pytest.fixture
def session_id(services: Services) -> str:
    session = services.sessions.create("Lake sediments")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person", "A human being"), EntityType("place")])
    return session.id


def finished(services: Services, session_id: str, worker: Worker, job_id: str) -> JobView:
    assert worker.run_one()
    job = services.jobs.get(session_id, job_id)
    assert job is not None
    assert job.state == "done", (job.what, job.hint)
    return job


def matched(services: Services, session_id: str, worker: Worker) -> MatchView:
    finished(services, session_id, worker, services.match.start(session_id, samples=2))
    view = services.match.result(session_id)
    assert view is not None
    return view


def refused(call: Callable[[], object]) -> SamError:
    with pytest.raises(SamError) as caught:
        call()
    assert caught.value.hint
    return caught.value


def test_whole_path(services: Services, session_id: str, worker: Worker) -> None:
    states = [services.state(session_id)]

    view = matched(services, session_id, worker)
    assert [e.name for e in view.experts] == ["astro", "lake", "law"]  # recommended first
    assert [e.title for e in view.experts if e.recommended] == ["Astronomy", "Lakes"]
    assert view.single == {"astro": 0.5, "lake": 0.5}
    assert view.experts[0].nearest == ("A sentence of the expert.",)
    assert [p.text for p in view.probe] == ["Ada met Grace in Paris.", "It rained all day."]
    spans = view.probe[0].answers["law"]
    assert [view.probe[0].text[s.start : s.end] for s in spans] == ["Ada", "Grace", "Paris"]
    assert view.map.points[0] == (0.1235, 1.0)
    assert len(view.map.points) == len(view.map.texts) == 3
    assert view.summary == (
        "Your texts are closest to *Astronomy*; on 2 sampled sentences *Lakes* agreed most with "
        "the others (F1 0.75, 24 spans)."
    )
    states.append(services.state(session_id))

    job_id = services.merge.start(session_id, WEIGHTS)
    states.append(services.state(session_id))
    job = finished(services, session_id, worker, job_id)
    info = services.merge.list(session_id)[0]
    assert info.id == job.result["merge_id"]
    assert (info.label, info.method, info.dual) == ("Astronomy + Court decisions", "linear", False)
    assert info.weights == {"astro": 0.5, "law": 0.5}
    assert info.retained_energy == pytest.approx(1.0, abs=1e-5)
    assert info.predicted
    assert not info.stale
    states.append(services.state(session_id))

    page = services.predict.page(session_id)
    assert page is not None
    assert page.total == 3
    assert not page.stale
    found = [[r.sentence.text[s.start : s.end] for s in r.spans] for r in page.rows]
    assert found == [["Ada", "Grace", "Paris"], ["It"], ["Bob"]]
    assert list(page.counts.items()) == [("person", 5), ("place", 0)]

    services.share.adapter_zip(session_id)
    states.append(services.state(session_id))
    assert [[s[step] for step in STEPS] for s in states] == [
        ["done", "todo", "todo", "todo", "todo"],
        ["done", "done", "todo", "todo", "todo"],
        ["done", "done", "running", "running", "todo"],
        ["done", "done", "done", "done", "todo"],
        ["done", "done", "done", "done", "done"],
    ]


def test_steps_go_stale_when_an_earlier_one_changes(
    services: Services, session_id: str, worker: Worker
) -> None:
    matched(services, session_id, worker)
    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))

    matched(services, session_id, worker)
    later = services.state(session_id)
    assert (later["match"], later["merge"], later["review"]) == ("done", "stale", "stale")

    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    assert services.state(session_id)["review"] == "done"
    services.types.add(session_id, "river")
    changed = services.state(session_id)
    assert (changed["match"], changed["merge"], changed["review"]) == ("stale",) * 3
    page = services.predict.page(session_id)
    view = services.match.result(session_id)
    assert page is not None
    assert page.stale
    assert view is not None
    assert view.stale
    assert view.types == ("person", "place")

    services.types.remove(session_id, "person")
    services.corpus.clear(session_id)
    assert services.state(session_id)["upload"] == "todo"


def test_a_merge_alone_then_its_prediction(
    services: Services, session_id: str, worker: Worker
) -> None:
    job_id = services.merge.start(session_id, WEIGHTS, predict=False, label="  My \n merge ")
    finished(services, session_id, worker, job_id)
    info = services.merge.list(session_id)[0]
    assert (info.label, info.predicted) == ("My merge", False)
    assert services.predict.page(session_id) is None
    assert "predicted" in refused(lambda: services.share.annotations(session_id, "jsonl")).what
    finished(services, session_id, worker, services.predict.start(session_id))
    assert services.merge.get(session_id, info.id).predicted


def test_dual_merge_has_an_adapter_for_each_criterion(
    services: Services, session_id: str, worker: Worker, tmp_path: Path
) -> None:
    matched(services, session_id, worker)
    weights = {"astro": 0.2, "lake": 0.3, "law": 0.5}
    finished(services, session_id, worker, services.merge.start(session_id, weights, dual=True))
    info = services.merge.list(session_id)[0]
    assert info.dual
    members = {
        r["criterion"]: {e["name"]: round(e["weight"], 4) for e in r["experts"]}
        for r in info.recipes
    }
    # law, which neither criterion recommends, joins both; each has the sum of all weights.
    assert members == {
        "similarity": {"astro": 0.2857, "law": 0.7143},
        "probe": {"lake": 0.375, "law": 0.625},
    }
    with zipfile.ZipFile(services.share.adapter_zip(session_id, folder=tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    assert {"similarity/adapter_config.json", "probe/adapter_model.safetensors"} <= names
    recipes = json.loads(services.share.recipe_json(session_id, folder=tmp_path).read_text())
    assert [r["criterion"] for r in recipes] == ["similarity", "probe"]


def test_zip_holds_the_adapter_and_says_what_is_in_it(
    services: Services, session_id: str, worker: Worker, tmp_path: Path
) -> None:
    from experts.merging.adapters import load_adapter

    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    path = services.share.adapter_zip(session_id, folder=tmp_path)
    assert path.parent == tmp_path
    first = path.read_bytes()
    assert services.share.adapter_zip(session_id, folder=tmp_path).read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")
    folder = tmp_path / "out" / path.stem
    adapter = load_adapter(folder, expected_base="google/gemma-3-270m")
    assert list(adapter.modules) == ["model.q_proj"]
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    assert labels[0] == {"name": "person", "definition": "A human being"}
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    assert [e["name"] for e in recipe["experts"]] == ["astro", "law"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "# Lake sediments" in card
    assert "PeftModel.from_pretrained" in card
    assert "Astronomy corpus (CC-BY-4.0), 2,000 sentences" in card
    assert "Gemma Terms of Use" in card
    assert str(services.settings.data_dir) not in card


def test_annotations_as_jsonl_and_csv(
    services: Services, session_id: str, worker: Worker, tmp_path: Path
) -> None:
    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    jsonl = services.share.annotations(session_id, "jsonl", folder=tmp_path)
    lines = [json.loads(line) for line in jsonl.read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in lines][1] == "It rained all day."
    entity = lines[0]["entities"][1]
    assert (lines[0]["text"][entity["start"] : entity["end"]], entity["label"]) == (
        "Grace",
        "person",
    )
    with services.share.annotations(session_id, "csv", folder=tmp_path).open(
        encoding="utf-8-sig", newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    assert [row["mention"] for row in rows] == ["Ada", "Grace", "Paris", "It", "Bob"]
    assert rows[0]["score"] == "0.3000"


def test_predictions_can_be_filtered_and_ordered(
    services: Services, session_id: str, worker: Worker
) -> None:
    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    doubtful = services.predict.page(session_id, order="doubtful", limit=2)
    assert doubtful is not None
    assert [r.sentence.text for r in doubtful.rows] == [
        "It rained all day.",
        "Ada met Grace in Paris.",
    ]
    searched = services.predict.page(session_id, search="PARIS")
    assert searched is not None
    assert searched.total == 1
    none = services.predict.page(session_id, types=["place"])
    assert none is not None
    assert none.rows == ()


def test_deleting_a_merge_removes_its_files(
    services: Services, session_id: str, worker: Worker
) -> None:
    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    merge_id = services.merge.list(session_id)[0].id
    folder = services.store.merge_folder(session_id, merge_id)
    assert folder.is_dir()
    exported = services.share.annotations(session_id, "jsonl")
    services.merge.delete(session_id, merge_id)
    assert not folder.exists()
    assert not exported.exists()
    assert services.merge.list(session_id) == []
    assert services.predict.page(session_id) is None
    refused(lambda: services.predict.start(session_id, merge_id))


def test_cancelling_a_prediction_keeps_the_merge(
    services: Services, session_id: str, engine: FakeEngine, worker: Worker
) -> None:
    engine.gate = threading.Event()
    job_id = services.merge.start(session_id, WEIGHTS)
    thread = threading.Thread(target=worker.run_one)
    thread.start()
    assert engine.entered.wait(30)
    assert services.jobs.cancel(session_id, job_id).message == "Stopping"
    assert services.jobs.active(session_id) is None
    thread.join(30)
    assert not thread.is_alive()
    job = services.jobs.latest(session_id)
    assert job is not None
    assert (job.id, job.state) == (job_id, "cancelled")
    assert len(services.merge.list(session_id)) == 1
    assert services.predict.page(session_id) is None


def test_a_failed_merge_leaves_no_folder_and_can_be_retried(
    services: Services, session_id: str, engine: FakeEngine, worker: Worker, tmp_path: Path
) -> None:
    job_id = services.merge.start(session_id, WEIGHTS, predict=False)
    engine._pool = Pool(None, tmp_path / "empty")  # the experts have left it meanwhile
    worker.run_one()
    job = services.jobs.get(session_id, job_id)
    assert job is not None
    assert job.state == "failed"
    assert "astro" in job.what
    merges = services.settings.session_dir(session_id) / "merges"
    assert not merges.exists() or list(merges.iterdir()) == []
    engine._pool = services.pool
    finished(services, session_id, worker, services.jobs.retry(session_id, job_id))


def test_waiting_jobs_say_so(services: Services, session_id: str, worker: Worker) -> None:
    other = services.sessions.create()
    services.corpus.add_text(other.id, TEXT)
    services.types.set_text(other.id, "person")
    services.match.start(other.id)
    services.match.start(session_id)
    job = services.jobs.active(session_id)
    assert job is not None
    assert job.active
    assert (job.state, job.line) == ("queued", "1 other before yours")
    assert worker.run_one()
    job = services.jobs.active(session_id)
    assert job is not None
    assert job.line == "Starting"


def test_sessions_cannot_see_each_other(
    services: Services, session_id: str, worker: Worker
) -> None:
    job_id = services.merge.start(session_id, WEIGHTS)
    finished(services, session_id, worker, job_id)
    merge_id = services.merge.list(session_id)[0].id
    other = services.sessions.create("Other").id
    assert services.jobs.get(other, job_id) is None
    refused(lambda: services.jobs.cancel(other, job_id))
    refused(lambda: services.jobs.retry(other, job_id))
    refused(lambda: services.merge.get(other, merge_id))
    refused(lambda: services.predict.page(other, merge_id=merge_id))
    refused(lambda: services.share.adapter_zip(other, merge_id))
    refused(lambda: services.corpus.remove_file(other, services.corpus.files(session_id)[0].id))
    assert services.merge.list(other) == []
    assert services.corpus.sentences(other).total == 0


def test_deleting_a_session_removes_its_files_and_stops_its_jobs(
    services: Services, session_id: str, worker: Worker
) -> None:
    finished(services, session_id, worker, services.merge.start(session_id, WEIGHTS))
    folder = services.settings.session_dir(session_id)
    assert folder.is_dir()
    services.match.start(session_id)
    services.sessions.delete(session_id)
    assert services.queue.active(session_id) == []
    assert folder.is_dir(), "it can be brought back for a day"
    assert services.sessions.purge() == 0
    assert services.sessions.purge(deleted_for_s=-1) == 1
    assert not folder.exists()
    assert not worker.run_one()
    assert "does not exist" in refused(lambda: services.state(session_id)).what


def test_work_that_cannot_be_done_is_refused_before_it_is_queued(
    services: Services, session_id: str
) -> None:
    empty = services.sessions.create().id
    assert "texts" in refused(lambda: services.match.start(empty)).what
    services.corpus.add_text(empty, TEXT)
    assert "types" in refused(lambda: services.match.start(empty)).what
    refused(lambda: services.match.start(session_id, samples=0))
    refused(lambda: services.match.start(session_id, k=0))
    refused(lambda: services.merge.start(session_id, {}))
    refused(lambda: services.merge.start(session_id, {"astro": 0.0}))
    refused(lambda: services.merge.start(session_id, {"astro": float("nan")}))
    assert "nobody" in refused(lambda: services.merge.start(session_id, {"nobody": 1.0})).what
    refused(lambda: services.merge.start(session_id, WEIGHTS, method="magic"))
    refused(lambda: services.merge.start(session_id, WEIGHTS, rank=0))
    refused(lambda: services.predict.start(session_id))
    refused(lambda: services.share.adapter_zip(session_id))
    assert services.jobs.latest(session_id) is None
