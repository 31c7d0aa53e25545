"""Merge methods that need scores, texts or corrections, from a session and in the interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from experts.errors import SamError
from experts.merging import registry
from experts.merging.data import ExpertFit
from experts.merging.linear import Linear
from experts.merging.registry import MergeContext, methods, register
from experts.pool import Pool
from experts.spans import Span
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.drafts import Draft
from sam_ui.services.merge_data import MergeInputs, mean_coefficients, merge_data
from sam_ui.services.recipes import make_recipes
from sam_ui.services.views import BaseInfo
from sam_ui.settings import Settings
from sam_ui.steps.merge_history import history_html
from sam_ui.steps.merge_method import method_html
from tests.unit import tiny
from tests.unit.fakes import BASE, FakeEngine
from tests.unit.merging_data_support import tiny_pool

TEXTS = ["Ada met Grace.", "Lake Orvenn is deep."]
ANNOTATED = b'{"text": "Ada left.", "label": [[0, 3, "person"], [4, 8, "verb"]]}\n'


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return tiny_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def services(tmp_path: Path, pool: Pool) -> Iterator[Services]:
    services = Services(Settings(data_dir=tmp_path / "data", _env_file=None), pool=pool)  # type: ignore[call-arg]
    yield services
    services.close()


@pytest.fixture
def engine(services: Services, pool: Pool) -> FakeEngine:
    engine = FakeEngine(services.settings, pool)
    engine.__dict__["base"] = tiny.gemma()
    return engine


@pytest.fixture
def session_id(services: Services) -> str:
    session_id = services.sessions.create().id
    services.corpus.add_text(session_id, "\n".join(TEXTS))
    services.types.set_text(session_id, "person, place")
    return session_id


@pytest.fixture
def worker(services: Services, engine: FakeEngine) -> Worker:
    return Worker(services, engine, name="w")


def merged(services: Services, session_id: str, worker: Worker, method: str, **fields: Any) -> Any:
    services.merge.start(session_id, {"astro": 0.5, "lake": 0.5}, method=method, **fields)
    assert worker.run_one()
    job = services.jobs.latest(session_id)
    assert job is not None
    assert (job.state, job.what) == ("done", "")
    return services.merge.list(session_id)[0]


def test_weights_from_the_match_are_kept_and_shown(
    services: Services, session_id: str, worker: Worker
) -> None:
    with pytest.raises(SamError, match="needs the scores of a match"):
        services.merge.start(session_id, {"astro": 1.0}, method="metrics_weighted")
    services.match.start(session_id, samples=2)
    assert worker.run_one()
    inputs = services.merge.inputs(session_id, "metrics_weighted")
    assert inputs is not None
    assert inputs.fits["astro"] == ExpertFit(pytest.approx(0.9), 0.25)
    parameters = {"by": "similarity", "power": 1.0}
    info = merged(services, session_id, worker, "metrics_weighted", parameters=parameters)
    assert info.weights == {"astro": 0.5, "lake": 0.5}
    assert info.found == ({"astro": pytest.approx(0.75), "lake": pytest.approx(0.25)},)
    assert not info.layerwise
    page = history_html([info], {}, methods())
    assert "Weights found: astro 0.75, lake 0.25" in page
    assert 'data-act="found"' in page
    assert merged(services, session_id, worker, "linear").found == ({"astro": 0.5, "lake": 0.5},)


def test_a_method_that_reads_gets_the_sessions_texts(
    services: Services, session_id: str, worker: Worker, engine: FakeEngine
) -> None:
    before = {name: value.clone() for name, value in engine.base.model.state_dict().items()}
    info = merged(services, session_id, worker, "regmean_core", parameters={"sentences": 2})
    assert info.method == "regmean_core"
    assert info.found == ()
    for name, value in engine.base.model.state_dict().items():
        assert torch.equal(value, before[name])
    empty = services.sessions.create().id
    with pytest.raises(SamError, match=r"RegMean.* needs texts and entity types"):
        services.merge.start(empty, {"astro": 1.0}, method="regmean_core", predict=False)


def test_known_entities_are_corrections(services: Services, session_id: str) -> None:
    assert set(services.merge.missing(session_id)) == {"scores", "corrections"}
    services.corpus.add_files(session_id, [("a.jsonl", ANNOTATED)])
    assert set(services.merge.missing(session_id)) == {"scores"}
    inputs = services.merge.inputs(session_id, "regmean")
    assert inputs is not None
    assert inputs.texts == [*TEXTS, "Ada left."]
    assert inputs.gold[:2] == [None, None]
    assert services.merge.inputs(session_id, "ties") is None


def test_the_engine_builds_what_the_method_needs(engine: FakeEngine) -> None:
    recipe = make_recipes({"astro": 1.0}, method="regmean", base_model=BASE)[0]
    spans = [Span(0, 3, "person"), Span(4, 8, "verb")]
    inputs = MergeInputs(["Ada left."], ["person"], [spans])
    data = merge_data(engine, recipe, inputs)
    assert data is not None
    assert data.base is engine.base
    assert data.gold == [[spans[0]]]  # of the asked types
    assert data.expert_texts == {"astro": ["A sentence of astro.", "Another one."]}
    assert merge_data(engine, make_recipes({"astro": 1.0})[0], inputs) is None
    del engine.__dict__["base"]  # what is missing is said before the model is loaded
    with pytest.raises(SamError, match="missing: types"):
        engine.merge([recipe], [Path("nowhere")], inputs=MergeInputs(["Ada left."]))


@pytest.fixture
def layerwise() -> Iterator[str]:
    """A method that settles a weight for every layer."""

    class Layerwise(Linear):
        key = "layerwise"
        name = "Layerwise"
        summary = "Takes more of the later layers."

        def prepare(self, adapters: Any, context: MergeContext) -> None:
            self.state["coefficients"] = {
                a.name: {module: 0.25 * (i + 1) for i, module in enumerate(sorted(a.modules))}
                for a in adapters
            }
            self.state["note"] = "It took one look."

    yield register(Layerwise).key
    del registry._METHODS["layerwise"]


def test_weights_of_layers_are_kept_and_their_mean_is_shown(
    services: Services, session_id: str, worker: Worker, layerwise: str
) -> None:
    info = merged(services, session_id, worker, layerwise)
    assert info.found == ({"astro": 0.375, "lake": 0.375},)
    assert info.layerwise
    record = services.store.merge(session_id, info.id)
    assert record is not None
    kept = record.details["found"][0]["coefficients"]["astro"]
    assert kept == {"model.layers.0.mlp.up_proj": 0.25, "model.layers.1.mlp.up_proj": 0.5}
    page = history_html([info], {}, methods())
    assert "Weights found, on average over the layers: astro 0.38, lake 0.38" in page
    assert "It took one look." in page


def test_the_mean_stands_for_weights_that_differ_between_layers() -> None:
    assert mean_coefficients({"a": {"x": 0.5, "y": 1.0}, "b": {}}) == {"a": 0.75}


def test_methods_without_their_data_are_greyed_with_the_reason() -> None:
    missing = {"texts": ("needs texts and entity types.", "Add both in step 1 first.")}
    page = method_html(Draft(), methods(), BaseInfo("base", ""), missing)
    regmean = next(option for option in page.split("<option") if 'value="regmean"' in option)
    assert "disabled" in regmean
    linear = next(option for option in page.split("<option") if 'value="linear"' in option)
    assert "disabled" not in linear
    assert "RegMean in the core" in page
    assert "needs texts and entity types. Add both in step 1 first." in page
    assert "needs texts" not in method_html(Draft(), methods(), BaseInfo("base", ""), {})
