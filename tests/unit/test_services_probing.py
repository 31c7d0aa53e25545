"""The probe inside a match: what is kept in the database, and how a large pool is shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from experts.pool import Pool
from sam_ui import charts
from sam_ui.cli_output import expert_rows, print_experts
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.drafts import Draft
from sam_ui.services.engine import Engine
from sam_ui.services.probing import StoredAnswers, probe_note, settings_version
from sam_ui.services.views import MatchView
from sam_ui.settings import Settings
from sam_ui.steps.match_answers import answers_html
from sam_ui.steps.match_experts import PAGE, experts_html
from tests.unit.fakes import BASE, FakeEmbedder, FakeExtractor, make_pool

TEXTS = [f"Ada met Grace number {i} at Lake Orvenn." for i in range(12)]
LARGE = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_pool(tmp_path / "pool")
    return tmp_path / "pool"


@pytest.fixture
def services(tmp_path: Path, folder: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=Pool(folder, tmp_path / "own", base_model=BASE))
    yield services
    services.close()


@pytest.fixture
def session_id(services: Services) -> str:
    session = services.sessions.create("Lakes")
    services.corpus.add_text(session.id, "\n".join(TEXTS))
    services.types.set_text(session.id, "person, lake")
    return session.id


def new_engine(services: Services) -> Engine:
    """As a worker process that has just started has it."""
    engine = Engine(
        services.settings,
        pool=lambda: services.pool,
        answers=StoredAnswers(services.store.answers),
    )
    engine.__dict__["embedder"] = FakeEmbedder()
    engine.__dict__["extractor"] = FakeExtractor()
    return engine


def match(services: Services, session_id: str, engine: Engine) -> MatchView:
    services.match.start(session_id, samples=10)
    assert Worker(services, engine, name="w").run_one()
    job = services.jobs.latest(session_id)
    assert job is not None
    assert (job.state, job.what) == ("done", "")
    view = services.match.result(session_id)
    assert view is not None
    return view


def calls(engine: Engine) -> list[tuple[int, list[str], list[str]]]:
    """(number of texts, types, names of the experts) of each call of the extractor."""
    return [
        (len(texts), types, [path.name for path in adapters])
        for texts, types, adapters in engine.extractor.calls  # type: ignore[attr-defined]
    ]


def copy(folder: Path, name: str) -> None:
    """Put a copy of an expert, which is an expert of its own, into the pool."""
    shutil.copytree(folder / "lake", folder / name)
    card = json.loads((folder / name / "card.json").read_text("utf-8"))
    card |= {"name": name, "title": f"The {name}", "hash": f"hash of {name}"}
    (folder / name / "card.json").write_text(json.dumps(card), "utf-8")


def test_a_second_match_needs_no_extraction(services: Services, session_id: str) -> None:
    first = new_engine(services)
    before = match(services, session_id, first)
    assert calls(first) == [(10, ["person", "lake"], ["astro", "lake", "law"])]
    second = new_engine(services)
    after = match(services, session_id, second)
    assert calls(second) == []
    assert after.run_id != before.run_id
    assert after.probe == before.probe
    assert after.experts == before.experts


def test_the_base_model_is_not_even_loaded(
    services: Services, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match(services, session_id, new_engine(services))
    engine = new_engine(services)
    del engine.__dict__["extractor"]
    monkeypatch.setattr(Engine, "base", property(lambda _self: pytest.fail("it was loaded")))
    match(services, session_id, engine)


def test_the_database_keeps_no_answers_of_a_server(services: Services) -> None:
    settings = services.settings.model_copy(update={"engine_url": "http://127.0.0.1:1"})
    engine = Engine(settings, pool=services.pool, answers=StoredAnswers(services.store.answers))
    engine.__dict__ |= {"embedder": FakeEmbedder(), "extractor": FakeExtractor()}
    engine.match(TEXTS, ["person"])
    engine.match(TEXTS, ["person"])
    assert len(calls(engine)) == 1
    assert services.store.answers.forget(older_than_s=-1.0) == 0


def test_a_new_expert_costs_that_one_alone_and_a_new_type_all(
    services: Services, session_id: str, folder: Path
) -> None:
    match(services, session_id, new_engine(services))
    services.types.add(session_id, "river")
    engine = new_engine(services)
    match(services, session_id, engine)
    assert calls(engine) == [(10, ["person", "lake", "river"], ["astro", "lake", "law"])]

    copy(folder, "pond")
    engine = new_engine(services)
    match(services, session_id, engine)
    assert calls(engine) == [(10, ["person", "lake", "river"], ["pond"])]


def test_a_match_goes_stale_with_the_pool(
    services: Services, session_id: str, folder: Path
) -> None:
    def stale() -> tuple[bool, str]:
        view = services.match.result(session_id)
        assert view is not None
        return view.stale, services.state(session_id)["match"]

    match(services, session_id, new_engine(services))
    assert stale() == (False, "done")
    copy(folder, "pond")
    assert stale() == (True, "stale")
    shutil.rmtree(folder / "pond")
    assert stale() == (False, "done")
    shutil.rmtree(folder / "law")
    assert stale() == (True, "stale")
    copy(folder, "law")  # another adapter by the same name
    assert stale() == (True, "stale")
    match(services, session_id, new_engine(services))
    assert stale() == (False, "done")


def test_tidying_forgets_answers(
    services: Services, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine(services)
    match(services, session_id, engine)
    monkeypatch.setattr("sam_ui.jobs.handlers.FORGET_ANSWERS_AFTER_S", -1.0)
    job_id = services.queue.submit(None, "tidy", {})
    assert Worker(services, engine, name="w").run_one()
    job = services.queue.get(job_id)
    assert job is not None
    assert job.result["answers"] == 3 * 10
    again = new_engine(services)
    match(services, session_id, again)
    assert len(calls(again)) == 1


def test_a_large_pool_is_probed_in_part_and_says_so(
    services: Services, session_id: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(LARGE - 3):
        copy(folder, f"pond-{number:02}")
    engine = new_engine(services)
    view = match(services, session_id, engine)
    states = [score.probe_state for score in view.experts]
    assert {state: states.count(state) for state in states} == {
        "done": 12,
        "stopped": 36,
        "none": 12,
    }
    assert states == sorted(states, key="none".__eq__)  # those that were not probed come last
    assert sum(n * len(names) for n, _, names in calls(engine)) == 48 * 4 + 24 * 3 + 12 * 3
    assert max(len(names) for _, _, names in calls(engine)) == 16
    assert "Only the 48 most similar of 60 experts were probed." in view.summary
    for score in view.experts:
        if score.probe_state == "none":
            assert (score.f1, score.support, score.recommended) == (None, 0, False)
            assert score.note == "not probed: less similar than 48 others"
        elif score.probe_state == "stopped":
            assert score.support > 0
            assert score.note in {f"stopped after {n} of 10 sentences" for n in (4, 7)}
        else:
            assert score.note == ""
    assert [len(sentence.answers) for sentence in view.probe[:3]] == [48, 24, 12]
    assert set(view.by_probe) <= {s.name for s in view.experts if s.probe_state == "done"}

    draft, base = Draft().following(view), services.base_info()
    pages = [
        experts_html(view, draft, base, {"experts_offset": offset})
        for offset in range(0, LARGE, PAGE)
    ]
    assert [page.count("<article") for page in pages] == [8] * 7 + [4]
    assert "1–8 of 60 experts" in pages[0]
    every = "".join(pages)
    assert every.count("<p>Not probed: less similar than 48 others.") == 12
    assert every.count("<p>Stopped after 4 of 10 sentences.") == 24
    answers = answers_html(view, {})
    assert answers.count("<tr>") == 10  # all have said the same
    assert "and 45 more" in answers
    assert len(view.map.experts) == 48

    rows = expert_rows(engine.match(view_texts(services, session_id), list(view.types)))
    print_experts(rows)
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + LARGE
    assert table[0].split()[-1] == "note"
    assert table[-1].endswith("not probed: less similar than 48 others")
    assert sorted({row["sentences"] for row in rows}) == [0, 4, 7, 10]


def view_texts(services: Services, session_id: str) -> list[str]:
    return [row.text for row in services.corpus.sentences(session_id).rows]


def test_the_table_of_a_small_pool_has_no_notes(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    print_experts(expert_rows(new_engine(services).match(TEXTS, ["person"])))
    assert capsys.readouterr().out.splitlines()[0].split()[-1] == "weight"


def test_notes() -> None:
    assert probe_note([[], [], None], 20) == "stopped after 2 of 3 sentences"
    assert probe_note([[], []], 20) == ""
    assert probe_note(None, 48) == "not probed: less similar than 48 others"


def test_the_chart_shows_the_notes() -> None:
    notes = ["", "stopped after 4 of 10 sentences", "not probed: <b>"]
    figure = charts.fit_chart(
        ["a", "b", "c"], [0.5, 0.4, 0.3], [(0.5, 0.4, 0.6), (0.1, 0.0, 0.2), None],
        samples=10, notes=notes,
    )  # fmt: skip
    hovers = figure.data[1].hovertext
    assert "stopped" not in hovers[0]
    assert hovers[1].endswith("<br>stopped after 4 of 10 sentences")
    assert [a.text for a in figure.layout.annotations] == ["not probed: &lt;b&gt;"]


def test_the_version_follows_settings_and_the_folder_of_the_base_model(tmp_path: Path) -> None:
    def version(**changes: object) -> str:
        given: dict[str, object] = {"dtype": "float32", "device": "cpu"} | changes
        return settings_version(Settings(_env_file=None, **given))  # type: ignore[arg-type, call-arg]

    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    known = {version(base_model=str(model)), version(base_model="a/b"), version(base_model="")}
    known.add(version(base_model="a/b", dtype="bfloat16"))
    assert len(known) == 4
    assert version(base_model=str(model)) in known
    (model / "config.json").write_text("{ }")
    assert version(base_model=str(model)) not in known
    assert version(dtype="auto") in {version(), version(dtype="bfloat16")}
    assert version(engine_url="http://127.0.0.1:1") not in {
        version(),
        version(engine_url="http://127.0.0.1:2"),
    }
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert settings_version(settings, none_bias=1.0) != settings_version(settings)
