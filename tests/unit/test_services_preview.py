"""Previews: from the sliders to spans, with a real extractor on a tiny model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from db.repositories import JobRepository
from experts.card import CardType, ExpertCard
from experts.errors import Cancelled, SamError
from experts.extract import Extractor
from experts.merging.adapters import Adapter, LoraFactors, content_hash, load_adapter, save_adapter
from experts.merging.merge import merge
from experts.merging.recipe import Recipe
from experts.pool import Pool
from experts.spans import Span
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.comparing import summary_words
from sam_ui.services.engine import Engine, unite
from sam_ui.services.merge_views import CompatibilityPair
from sam_ui.services.preview import changes
from sam_ui.services.recipes import make_recipes
from sam_ui.settings import Settings
from tests.unit import tiny
from tests.unit.fakes import FakeEngine, FakeExtractor, make_pool

BASE = "tiny/gemma"
TEXTS = [
    "The Greens formed a joint list with the SDI.",
    "New York and York are not the same.",
    "p53 and BRCA1 are genes.",
    "Italian Democratic Socialists met in New Zealand.",
]
TYPES = ["person", "place"]


def add_expert(folder: Path, name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for path, module in tiny.gemma().model.named_modules():
        if path.endswith(("q_proj", "up_proj", "down_proj")):
            out, into = module.weight.shape  # type: ignore[union-attr,misc]
            modules[path] = LoraFactors(
                a=torch.randn(2, into, generator=generator) * 0.5,  # type: ignore[arg-type]
                b=torch.randn(out, 2, generator=generator) * 0.5,  # type: ignore[arg-type]
                scaling=1.0,
            )
    adapter = Adapter(name, BASE, modules)
    save_adapter(adapter, folder / name, dtype=torch.float32, overwrite=True)
    card = ExpertCard(
        name=name, title=name, domain=name, types=[CardType(name="person")], base_model=BASE,
        rank=2, hash=content_hash(load_adapter(folder / name, name=name)), embedder="none",
        mean=[1.0], exemplars=[],
    )  # fmt: skip
    card.save(folder / name / "card.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b", "c")):
        add_expert(tmp_path / "pool", name, seed)
    return tmp_path / "pool"


@pytest.fixture
def engine(tmp_path: Path, folder: Path) -> Engine:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    engine = Engine(settings, pool=Pool(folder, folder / "own", base_model=BASE))
    engine.__dict__["base"] = tiny.gemma()
    engine.__dict__["extractor"] = Extractor(engine.base)
    return engine


def keys(found: list[list[Span]]) -> list[list[tuple[int, int, str]]]:
    return [[span.key for span in spans] for spans in found]


def merged(engine: Engine, recipe: Recipe) -> Adapter:
    experts = [load_adapter(engine.pool.get(e.name).path, name=e.name) for e in recipe.experts]
    return merge(recipe, experts).adapter


def test_a_preview_finds_what_the_merge_would_find(engine: Engine) -> None:
    seen = []
    for weights in ({"a": 0.5, "b": 0.5}, {"a": 1.5}, {"b": -0.5, "a": 1.0}):
        recipes = make_recipes(weights, base_model=BASE)
        found = engine.preview(recipes, TEXTS, TYPES)
        adapter = merged(engine, recipes[0])
        assert keys(found) == keys(engine.extractor.extract(TEXTS, TYPES, adapter=adapter))
        seen.append(found)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("options", [{"method": "ties"}, {"rank": 2}])
def test_other_methods_and_ranks_are_previewed_as_they_are(
    engine: Engine, options: dict[str, object]
) -> None:
    recipe = make_recipes({"a": 0.6, "b": 0.6}, base_model=BASE, **options)[0]  # type: ignore[arg-type]
    wanted = engine.extractor.extract(TEXTS, TYPES, adapter=merged(engine, recipe))
    assert keys(engine.preview([recipe], TEXTS, TYPES)) == keys(wanted)
    assert engine._previewer._live is None


def test_two_recipes_are_united(engine: Engine) -> None:
    both = [make_recipes({name: 1.0}, base_model=BASE)[0] for name in ("a", "b")]
    apart = [engine.preview([recipe], TEXTS, TYPES) for recipe in both]
    wanted = [unite(answers) for answers in zip(*apart, strict=True)]
    assert engine.preview(both, TEXTS, TYPES) == wanted


def test_experts_stay_loaded_until_they_change(engine: Engine, folder: Path) -> None:
    engine.preview(make_recipes({"a": 0.5, "b": 0.5}, base_model=BASE), TEXTS, TYPES)
    first = engine._previewer._live
    assert first is not None
    engine.preview(make_recipes({"b": 1.0}, base_model=BASE), TEXTS, TYPES)
    assert engine._previewer._live is first  # a subset of what is loaded
    engine.preview(make_recipes({"b": 1.0, "c": 0.1}, base_model=BASE), TEXTS, TYPES)
    second = engine._previewer._live
    assert second is not None
    assert second is not first
    assert second.names == ("a", "b", "c")
    before = engine.preview(make_recipes({"a": 2.0}, base_model=BASE), TEXTS, TYPES)
    assert engine._previewer._live is second
    add_expert(folder, "a", 99)  # trained anew
    after = engine.preview(make_recipes({"a": 2.0}, base_model=BASE), TEXTS, TYPES)
    assert engine._previewer._live is not second
    assert after != before  # the probabilities at least


def test_with_a_server_the_merge_is_made_in_memory(engine: Engine) -> None:
    served = FakeExtractor()
    engine.__dict__["extractor"] = served
    del engine.__dict__["base"]  # would be loaded if it were asked for
    found = engine.preview(make_recipes({"a": 0.5, "b": 0.5}, base_model=BASE), TEXTS, TYPES)
    assert found[0]
    assert [type(adapter) for adapter in served.adapters] == [Adapter]
    assert "base" not in engine.__dict__


def test_refused_or_stopped(engine: Engine) -> None:
    with pytest.raises(SamError, match="no expert named"):
        engine.preview(make_recipes({"nobody": 1.0}, base_model=BASE), TEXTS, TYPES)
    recipes = make_recipes({"a": 1.0}, base_model=BASE)
    with pytest.raises(Cancelled):
        engine.preview(recipes, TEXTS, TYPES, cancelled=lambda: True)


def test_what_changed() -> None:
    now = [Span(0, 3, "person", 0.5), Span(5, 8, "place", 0.5)]
    then = [Span(0, 3, "person", 0.9), Span(5, 8, "person", 0.5)]
    assert changes(now, then) == ((now[1],), (then[1],))
    assert changes(now, None) == ((), ())


# ---- service and job ----


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    pool = make_pool(tmp_path / "fake-pool")
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=pool)
    yield services
    services.close()


@pytest.fixture
def worker(services: Services) -> Worker:
    return Worker(services, FakeEngine(services.settings, services.pool), name="w")


@pytest.fixture
def session_id(services: Services) -> str:
    session_id = services.sessions.create().id
    services.corpus.add_text(session_id, "\n".join(TEXTS))
    services.types.set_text(session_id, "person, place")
    return session_id


def test_three_sentences_and_what_has_changed_in_them(
    services: Services, worker: Worker, session_id: str
) -> None:
    assert services.preview.result(session_id) is None
    services.preview.start(session_id, {"astro": 0.2})
    assert services.preview.running(session_id)
    assert services.jobs.active(session_id) is None  # not in the job strip
    assert worker.run_one()
    assert not services.preview.running(session_id)
    first = services.preview.result(session_id)
    assert first is not None
    assert (dict(first.weights), first.method) == ({"astro": 0.2}, "linear")
    assert [s.text for s in first.sentences] == TEXTS[:3]
    assert all(not s.new and not s.gone for s in first.sentences)
    assert first.sentences[0].spans

    services.preview.start(session_id, {"astro": 0.6})
    worker.run_one()
    fewer = services.preview.result(session_id)
    assert fewer is not None
    gone = [s.text[span.start : span.end] for s in fewer.sentences for span in s.gone]
    assert gone == ["The", "SDI", "New", "York", "York"]
    assert all(not s.new for s in fewer.sentences)

    services.preview.start(session_id, {"astro": 0.2})
    worker.run_one()
    again = services.preview.result(session_id)
    assert again is not None
    new = [s.text[span.start : span.end] for s in again.sentences for span in s.new]
    assert new == gone


def test_sentences_are_those_of_the_probe_in_which_most_was_found(
    services: Services, worker: Worker, session_id: str
) -> None:
    services.match.start(session_id, samples=4)
    worker.run_one()
    services.preview.start(session_id, {"astro": 0.1, "law": 0.1})
    worker.run_one()
    view = services.preview.result(session_id)
    assert view is not None
    assert [s.text for s in view.sentences] == [TEXTS[0], TEXTS[1], TEXTS[3]]


def test_other_texts_or_types_make_a_preview_pointless(
    services: Services, worker: Worker, session_id: str
) -> None:
    services.preview.start(session_id, {"astro": 0.2})
    worker.run_one()
    services.types.set_text(session_id, "gene")
    assert services.preview.result(session_id) is None
    services.types.set_text(session_id, "person, place")
    assert services.preview.result(session_id) is not None


def test_a_preview_goes_ahead_of_longer_work_and_replaces_an_older_one(
    services: Services, session_id: str
) -> None:
    other = services.sessions.create().id
    services.corpus.add_text(other, "Ada left.")
    services.types.set_text(other, "person")
    long = services.match.start(other, samples=2)
    stale = services.preview.start(session_id, {"astro": 0.2})
    fresh = services.preview.start(session_id, {"astro": 0.3})
    jobs: JobRepository = services.queue.jobs
    taken = [jobs.take("w", first=("preview",)) for _ in range(3)]
    assert [job and job.id for job in taken] == [fresh, long, None]
    replaced = services.queue.get(stale)
    assert replaced is not None
    assert replaced.state == "cancelled"


def test_a_method_that_needs_data_is_previewed_as_a_weighted_sum(
    services: Services, session_id: str
) -> None:
    job_id = services.preview.start(session_id, {"astro": 0.4, "law": 0.6}, method="fisher")
    job = services.queue.get(job_id)
    assert job is not None
    assert job.payload["recipes"][0]["method"] == "linear"


def test_what_cannot_be_previewed_is_refused(services: Services, session_id: str) -> None:
    empty = services.sessions.create().id
    with pytest.raises(SamError, match="no texts"):
        services.preview.start(empty, {"astro": 1.0})
    with pytest.raises(SamError, match="No expert has a weight"):
        services.preview.start(session_id, {"astro": 0.0})
    with pytest.raises(SamError, match="no merge method"):
        services.preview.start(session_id, {"astro": 1.0}, method="nothing")
    services.types.set(session_id, [])
    with pytest.raises(SamError, match="no entity types"):
        services.preview.start(session_id, {"astro": 1.0})


# ---- compatibility ----


def test_experts_are_compared_once_for_as_long_as_they_stay_the_same(
    services: Services, session_id: str, tmp_path: Path
) -> None:
    view = services.merge.compatibility(session_id, ["astro", "law", "lake"])
    assert view.experts == ("astro", "law", "lake")
    assert [(p.first, p.second) for p in view.pairs] == [
        ("astro", "law"),
        ("astro", "lake"),
        ("law", "lake"),
    ]
    assert all(-1 <= p.cosine <= 1 and 0 <= p.overlap <= 1 for p in view.pairs)
    assert view.pairs[0].sentence.startswith("Astronomy and Court decisions:")
    worst = max(view.pairs, key=lambda p: p.conflict or 0)
    assert view.sentence == worst.sentence
    assert view.retained[16] == pytest.approx(1)
    weights = tmp_path / "fake-pool" / "astro" / "adapter_model.safetensors"
    hidden = weights.rename(weights.with_suffix(".hidden"))  # remembered, so not read again
    assert services.merge.compatibility(session_id, ["astro", "law", "lake"]) == view
    hidden.rename(weights)
    with pytest.raises(SamError, match="at least two"):
        services.merge.compatibility(session_id, ["astro"])
    with pytest.raises(SamError, match="no expert named"):
        services.merge.compatibility(session_id, ["astro", "nobody"])
    with pytest.raises(SamError, match="session"):
        services.merge.compatibility("gone", ["astro", "law"])


def test_a_comparison_that_is_asked_for_soon_does_not_wait(
    services: Services, session_id: str
) -> None:
    names = ["astro", "law"]
    deadline = time.monotonic() + 30
    view = services.merge.compatibility_soon(session_id, names)
    while view is None and time.monotonic() < deadline:
        view = services.merge.compatibility_soon(session_id, names)
    assert view == services.merge.compatibility(session_id, names)
    assert services.merge.compatibility_soon(session_id, names) == view
    with pytest.raises(SamError, match="no expert named"):
        services.merge.compatibility_soon(session_id, ["astro", "nobody"])


def test_a_comparison_that_fails_says_why_when_asked_again(
    services: Services, session_id: str, tmp_path: Path
) -> None:
    (tmp_path / "fake-pool" / "law" / "adapter_model.safetensors").write_bytes(b"broken")

    def ask() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert services.merge.compatibility_soon(session_id, ["law", "lake"]) is None

    with pytest.raises(SamError, match="law"):
        ask()


@pytest.mark.parametrize(
    ("cosine", "conflict", "said"),
    [
        (-0.4, 0.7, "Astronomy and Law partly undo each other"),
        (0.0, 0.7, "such as TIES"),
        (1.0, 0.0, "the same expert"),
        (0.5, 0.2, "learned much the same"),
        (0.03, 0.5, "Astronomy and Law have mostly learned different things"),
        (0.03, None, "hardly disturb each other"),
    ],
)
def test_what_a_comparison_means_is_said_in_plain_words(
    cosine: float, conflict: float | None, said: str
) -> None:
    pair = CompatibilityPair("astro", "law", cosine, 0.1, conflict, 0.0, "")
    words = summary_words([pair], {"astro": "Astronomy", "law": "Law"})
    assert said in words
    assert not any(jargon in words for jargon in ("cosine", "rank", "subspace", "conflict"))
