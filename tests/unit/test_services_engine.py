"""The engine over a real pool and the real select and merge code; only the models are stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from experts.errors import Cancelled, SamError
from experts.pool import Pool
from experts.spans import Span
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.engine import Engine
from sam_ui.services.recipes import make_recipes
from sam_ui.settings import Settings
from tests.unit.fakes import BASE, FakeEmbedder, FakeExtractor, make_pool

TEXTS = [f"Ada met Grace number {i} at Lake Orvenn in {place}." for i in range(3) for place in "AB"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def engine(tmp_path: Path, pool: Pool) -> Engine:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    engine = Engine(settings, pool=pool)
    engine.__dict__["embedder"] = FakeEmbedder()
    engine.__dict__["extractor"] = FakeExtractor()
    return engine


def test_match_scores_every_expert(engine: Engine, pool: Pool) -> None:
    messages: list[tuple[float, str]] = []
    result = engine.match(
        TEXTS,
        ["person", "lake"],
        samples=4,
        k=1,
        progress=lambda done, total, message: messages.append((done / total, message)),
    )
    assert [e.name for e in result.experts] == ["astro", "lake", "law"]
    assert len(result.probe) == 4
    assert len(set(result.probe)) == 4
    for expert in result.experts:
        assert -1 <= expert.similarity <= 1
        # All say the same, so that they differ from what is likely by their own doubt alone.
        assert expert.f1 == result.experts[0].f1
        assert 0 < result.experts[0].f1 < 1
        assert expert.per_type["lake"] is None
        assert len(expert.nearest) == 3
    assert sum(result.single.values()) == pytest.approx(1)
    best = max(result.experts, key=lambda e: e.similarity)
    assert result.by_similarity == {best.name: 1.0}
    assert len(result.map_points) == len(result.map_texts) == len(TEXTS)
    assert {name: len(points) for name, points in result.map_experts.items()} == {
        "astro": 8,
        "lake": 8,
        "law": 8,
    }
    assert engine.extractor.adapters == [e.path for e in pool.list()]  # type: ignore[attr-defined]
    shares = [share for share, _ in messages]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert "Probing expert 2 of 3" in [message for _, message in messages]


def test_match_with_gold_scores_against_it(engine: Engine) -> None:
    gold = [(Span(0, 3, "person"),) for _ in TEXTS]
    result = engine.match(TEXTS, ["person"], samples=6, gold=gold)
    assert {e.support for e in result.experts} == {6}
    assert all(e.f1 is not None and e.f1 < 1 for e in result.experts)


def test_match_with_another_embedder_embeds_the_exemplars_anew(engine: Engine) -> None:
    class Other(FakeEmbedder):
        name = "other"
        asked = 0

        def embed(self, texts, **options):  # type: ignore[no-untyped-def]
            Other.asked += 1
            return super().embed(texts, **options)[:, :9]

    engine.__dict__["embedder"] = Other()
    engine.match(TEXTS, ["person"])
    result = engine.match(TEXTS, ["person"])
    assert all(len(e.nearest) == 3 for e in result.experts)
    assert Other.asked == 2 + 3


def test_match_on_one_sentence(engine: Engine) -> None:
    result = engine.match(["Ada left."], ["person"], samples=10)
    assert result.probe == [0]
    assert not any(e.enough for e in result.experts)


def test_match_is_refused_or_stopped(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(SamError):
        engine.match([], ["person"])
    with pytest.raises(SamError):
        engine.match(TEXTS, [])
    with pytest.raises(Cancelled):
        engine.match(TEXTS, ["person"], cancelled=lambda: True)
    with pytest.raises(SamError):
        Engine(engine.settings, pool=Pool(None, tmp_path / "none")).match(TEXTS, ["person"])


def test_merge_refuses_an_expert_that_has_changed(engine: Engine, tmp_path: Path) -> None:
    recipes = make_recipes({"astro": 1.0}, base_model=BASE, hashes={"astro": "another"})
    with pytest.raises(SamError, match="changed"):
        engine.merge(recipes, [tmp_path / "merged"])
    assert not (tmp_path / "merged").exists()


def test_predict_unites_adapters(engine: Engine, pool: Pool) -> None:
    paths = [expert.path for expert in pool.list()][:2]
    found = engine.predict(["Ada met Grace."], ["person"], paths)
    assert [(s.start, s.end) for s in found[0]] == [(0, 3), (8, 13)]
    assert engine.extractor.adapters == paths  # type: ignore[attr-defined]
    assert engine.predict([], ["person"], paths) == []
    with pytest.raises(Cancelled):
        engine.predict(["Ada."], ["person"], [None], cancelled=lambda: True)


@pytest.fixture
def services(engine: Engine, pool: Pool) -> Iterator[Services]:
    services = Services(engine.settings, pool=pool)
    yield services
    services.close()


def test_worker_with_the_engine_from_match_to_dual_prediction(
    services: Services, engine: Engine
) -> None:
    session_id = services.sessions.create().id
    services.corpus.add_text(session_id, "\n".join(TEXTS))
    services.types.set_text(session_id, "person, lake")
    worker = Worker(services, engine, name="w")
    services.match.start(session_id, samples=3, k=1)
    assert worker.run_one()
    view = services.match.result(session_id)
    assert view is not None
    weights = {"astro": 0.5, "lake": 0.25, "law": 0.25}
    services.merge.start(session_id, weights, method="ties", rank=2, dual=True)
    assert worker.run_one()
    job = services.jobs.latest(session_id)
    assert job is not None
    assert (job.state, job.what) == ("done", "")
    page = services.predict.page(session_id)
    assert page is not None
    assert page.total == len(TEXTS)
    assert page.counts["person"] > 0
