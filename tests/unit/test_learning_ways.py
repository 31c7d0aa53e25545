"""Weights, thresholds and training through the engine, on a random model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experts.base import BaseModel
from experts.card import ExpertCard
from experts.errors import SamError
from experts.extract import Extractor
from experts.learning_checks import check_weights
from experts.learning_plan import LearningPlan
from experts.learning_replay import agreeing, hardly_shown
from experts.learning_thresholds import learn_thresholds
from experts.learning_weights import learn_weights
from experts.merging.adapters import Adapter, LoraFactors, content_hash, load_adapter, save_adapter
from experts.merging.merge import merge
from experts.merging.recipe import LearningStep, Recipe, RecipeExpert
from experts.pool import Pool
from experts.spans import Example, Span
from sam_ui.services.engine import Engine, MergedAdapter
from sam_ui.services.engine_learning import LearnedModel, LearnInputs
from sam_ui.settings import Settings
from tests.unit import tiny
from tests.unit.test_learning import NAMES, TYPES, sentence

EXAMPLES = [sentence(name) for name in (*NAMES, "Ida", "Olga")]
RECIPE = Recipe(
    experts=[RecipeExpert(name="a", weight=0.5), RecipeExpert(name="b", weight=0.5)],
    base_model="tiny/llama",
)


def expert(base: BaseModel, name: str, seed: int) -> Adapter:
    module = "model.layers.0.self_attn.q_proj"
    out, into = base.model.get_submodule(module).weight.shape
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(2, into, generator=generator) / 10
    b = torch.randn(out, 2, generator=generator) / 10
    return Adapter(name, base.name, {module: LoraFactors(a, b, 1.0)})


def test_weights_found_on_one_half_read_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny.llama()
    experts = [expert(base, "a", 1), expert(base, "b", 2)]
    read: list[list[str]] = []
    extract = Extractor.extract

    def listen(self: Extractor, texts: list[str], *rest: Any, **options: Any) -> Any:
        read.append(list(texts))
        return extract(self, texts, *rest, **options)

    monkeypatch.setattr(Extractor, "extract", listen)
    told: list[float] = []
    found = learn_weights(
        base, experts, RECIPE, EXAMPLES, TYPES, progress=lambda done, of, said: told.append(done)
    )
    assert found.recipe.method == "linear"
    assert [e.name for e in found.recipe.experts] == ["a", "b"]
    assert told == sorted(told)
    again = merge(found.recipe, experts).adapter
    assert content_hash(again) == content_hash(found.merged.adapter), "the recipe makes it again"
    halves = [texts for texts in read if len(texts) == len(EXAMPLES) // 2]
    assert sorted(text for texts in halves for text in texts) == sorted(e.text for e in EXAMPLES)
    assert len(found.after) == len(EXAMPLES)


@pytest.mark.parametrize(
    ("recipe", "count", "said"),
    [
        (RECIPE, 7, "7 corrected sentences are too few"),
        (RECIPE.model_copy(update={"experts": RECIPE.experts[:1]}), 20, "only one expert"),
        (
            RECIPE.model_copy(update={"learned": [LearningStep(how="train", sentences=9)]}),
            20,
            "new weights would undo that",
        ),
    ],
)
def test_where_there_are_no_weights_to_find_it_is_said(
    recipe: Recipe, count: int, said: str
) -> None:
    with pytest.raises(SamError, match=said):
        check_weights(recipe, count)


def test_a_threshold_is_judged_on_sentences_that_did_not_choose_it() -> None:
    examples, found = [], []
    for number in range(40):
        text = f"Word{number} other{number}"
        end = text.index(" ")
        examples.append(Example(text, (Span(0, end, "x"),)))
        wrong = Span(end + 1, len(text), "x", 0.3 + 0.005 * number)
        found.append([Span(0, end, "x", 0.6 + 0.005 * number), wrong])
    thresholds, kept = learn_thresholds(examples, found, ["x", "y"])
    assert 0.495 <= thresholds["x"] <= 0.6
    assert [len(spans) for spans in kept].count(1) >= 38
    none, all_kept = learn_thresholds(examples[:5], found[:5], ["x"])
    assert none == {"x": 0.0}, "five spans tell nothing"
    assert all_kept == found[:5]


def test_what_the_experts_agree_on_is_kept_in_mind() -> None:
    ada, sea, ship = Span(0, 3, "x", 0.9), Span(4, 7, "x", 0.2), Span(8, 12, "y")
    texts = ["all alike", "two of three", "each another", "nothing"]
    answers = [
        [[ada, sea], [ada, sea], [ada], []],
        [[ada, sea], [ada, sea], [sea], []],
        [[ada, sea], [ship], [ship], []],
    ]
    agreed = agreeing(texts, answers)
    assert agreed == [
        Example("all alike", (Span(0, 3, "x"), Span(4, 7, "x"))),
        Example("two of three", (Span(0, 3, "x"), Span(4, 7, "x"))),
    ]


def test_a_type_with_fewer_than_three_mentions_is_hardly_shown() -> None:
    assert hardly_shown(EXAMPLES, TYPES) == ["ship"]
    assert hardly_shown(EXAMPLES[:2], TYPES) == TYPES


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """The real engine over a random model and two experts."""
    base = tiny.llama()
    for number, name in enumerate("ab"):
        adapter = expert(base, name, number)
        save_adapter(adapter, tmp_path / "pool" / name, base_model=base.name)
        card = ExpertCard(name=name, title=name, base_model=base.name, rank=2)
        card.save(tmp_path / "pool" / name / "card.json")
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    engine = Engine(settings, pool=Pool(tmp_path / "pool", tmp_path / "own"))
    engine.__dict__["base"] = base
    return engine


def learned(
    engine: Engine, merged: MergedAdapter, folder: Path, how: Any, **more: Any
) -> LearnedModel:
    before = engine.extractor.extract([e.text for e in EXAMPLES], TYPES, adapter=merged.path)
    inputs = LearnInputs(
        how=how, recipes=[RECIPE], adapters=[merged.path], before=[before], corrected=EXAMPLES,
        types=TYPES, others=["The ship lay still.", "Nobody came."], label="Mine", **more,
    )  # fmt: skip
    return engine.learn(inputs, folder / how, work=folder / "work")


def test_the_engine_learns_in_each_way(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        LearningPlan,
        "for_sentences",
        classmethod(lambda cls, count, **changes: cls(epochs=1, **changes)),
    )
    (merged,) = engine.merge([RECIPE], [tmp_path / "merged"])
    for how in ("train", "weights", "thresholds"):
        model = learned(engine, merged, tmp_path, how)
        (adapter,), (recipe,) = model.adapters, model.recipes
        assert adapter == tmp_path / how / "single"
        assert load_adapter(adapter).rank == 4
        (step,) = recipe.learned
        assert (step.how, step.merge, step.sentences) == (how, "Mine", len(EXAMPLES))
        assert Recipe.load(adapter / "recipe.json") == recipe
        assert model.outcome.before.sentences == len(EXAMPLES)
        assert not model.outcome.better
        if not model.changed:
            assert model.outcome.after == model.outcome.before
    assert merge(recipe, [load_adapter(engine.pool.get(n).path, name=n) for n in "ab"]).adapter
    trained = RECIPE.model_copy(update={"learned": [LearningStep(how="train", sentences=8)]})
    with pytest.raises(SamError, match="trained on corrections after the merge"):
        merge(trained, [])


def test_what_the_corrections_lack_is_replayed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experts import learning

    agreed = [Span(0, 8, "ship"), Span(9, 12, "person")]
    asked: list[list[str]] = []

    def extract_each(self: Any, texts: list[str], types: Any, adapters: Any, **_: Any) -> Any:
        asked.append(list(texts))
        return [[agreed, agreed[1:]] for _ in adapters]

    replayed: list[tuple[list[Example], float]] = []

    def learn(*_: Any, replay: Any, plan: Any, before: Any, **__: Any) -> Any:
        replayed.append((replay, plan.replay))
        return SimpleNamespace(found=(before, before), steps=0, pace=0.0)

    monkeypatch.setattr(Extractor, "extract_each", extract_each)
    monkeypatch.setattr(learning, "learn", learn)
    (merged,) = engine.merge([RECIPE], [tmp_path / "merged"])
    monkeypatch.setattr(Recipe, "save", lambda self, path: None)
    model = learned(engine, merged, tmp_path, "train")
    assert asked == [["The ship lay still.", "Nobody came."]]
    assert replayed == [([Example("The ship lay still.", tuple(agreed))], 0.25)]
    assert not model.changed


def test_thresholds_of_before_count_before(engine: Engine, tmp_path: Path) -> None:
    (merged,) = engine.merge([RECIPE], [tmp_path / "merged"])
    model = learned(engine, merged, tmp_path, "thresholds", thresholds={"person": 1.0, "ship": 1.0})
    assert model.outcome.before.micro.tp + model.outcome.before.micro.fp == 0


def test_a_recipe_tells_what_was_learned_and_reads_as_before_where_nothing_was() -> None:
    assert "learned" not in RECIPE.to_json()
    assert "learned" not in RECIPE.model_dump(mode="json")
    step = LearningStep(how="thresholds", merge="Mine", sentences=20, thresholds={"x": 0.4})
    recipe = RECIPE.model_copy(update={"learned": [step]})
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert not recipe.trained
    assert SimpleNamespace(**recipe.model_dump()).learned[0]["how"] == "thresholds"
