"""Recipes, the registry of methods, and what `merge` refuses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from experts.errors import Cancelled, SamError
from experts.merging import registry
from experts.merging.adapters import content_hash
from experts.merging.data import NEEDED, MergeData
from experts.merging.merge import merge
from experts.merging.recipe import Recipe, RecipeExpert
from experts.merging.registry import (
    MergeContext,
    MergedModule,
    MergeMethod,
    ModuleInputs,
    Parameter,
    check_parameters,
    get_method,
    methods,
    parse_parameters,
    register,
)
from tests.unit import tiny
from tests.unit.merging_support import SHAPES, random_adapter, recipe_for


def full_recipe() -> Recipe:
    return Recipe(
        experts=[
            RecipeExpert(name="law", weight=0.5, hash="abc"),
            RecipeExpert(name="médecine", weight=-0.25),
        ],
        method="ties",
        parameters={"density": 0.2, "average": False},
        rank=4,
        base_model="google/gemma-3-270m",
        criterion="probe",
    )


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    recipe, path = full_recipe(), tmp_path / "recipe.json"
    recipe.save(path)
    assert Recipe.load(path) == recipe
    assert Recipe.load(path).to_json() == path.read_text(encoding="utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.json"]
    assert json.loads(path.read_text())["parameters"]["average"] is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not valid JSON \\(line 1"),
        ("[1]", "must be a JSON object"),
        ("{}", "experts: field required"),
        ('{"experts": []}', "experts: list should have at least 1"),
        ('{"experts": [{"name": "a"}]}', "experts\\[0\\].weight: field required"),
        ('{"experts": [{"name": "a", "weight": "x"}]}', "experts\\[0\\].weight: input"),
        ('{"experts": [{"name": "a", "weight": NaN}]}', "finite"),
        ('{"experts": [{"name": "a", "weight": 1e30}]}', "between -1000 and 1000"),
        ('{"experts": [{"name": "", "weight": 1}]}', "experts\\[0\\].name"),
        ('{"experts": [{"name": "a", "weight": 1}, {"name": "a", "weight": 1}]}', "'a' is listed"),
        ('{"experts": [{"name": "a", "weight": 1}], "rank": 0}', "rank: "),
        ('{"experts": [{"name": "a", "weight": 1}], "color": 1}', "color: extra inputs"),
        ('{"experts": [{"name": "a", "weight": 1}], "version": 2}', "version: "),
        ('{"experts": [{"name": "a", "weight": 1}], "criterion": "x"}', "criterion: "),
        ("[" * 100_000, "recipe"),
    ],
)
def test_bad_recipes_say_what_is_wrong(text: str, expected: str) -> None:
    with pytest.raises(SamError, match=expected) as caught:
        Recipe.from_json(text)
    assert "Traceback" not in str(caught.value)


def test_recipe_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SamError, match="cannot be read"):
        Recipe.load(tmp_path / "none.json")
    with pytest.raises(SamError, match="cannot be read"):
        Recipe.load(tmp_path)
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SamError, match=r"binary\.json is not"):
        Recipe.load(binary)
    large = tmp_path / "large.json"
    large.write_bytes(b" " * 1_000_001)
    with pytest.raises(SamError, match="too large"):
        Recipe.load(large)
    with pytest.raises(SamError, match="cannot be written"):
        full_recipe().save(tmp_path / "no folder" / "recipe.json")


def test_every_method_declares_itself_in_full() -> None:
    assert [method.key for method in methods()][:2] == ["linear", "ties"]
    for method in methods():
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", method.key)
        assert method.name
        assert method.summary.endswith(".")
        assert method.needs in NEEDED
        assert isinstance(method.exact, bool)
        for parameter in method.parameters:
            assert parameter.label
            assert parameter.meaning.endswith(".")
            assert parameter.check(parameter.default) == parameter.default
    assert get_method("linear").exact
    assert not get_method("ties").exact


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(SamError, match=r"no merge method 'linar'.*Did you mean 'linear'"):
        get_method("linar")
    with pytest.raises(SamError, match="Choose one of: linear, ties"):
        get_method("zzz")


def test_parameters_from_the_command_line_get_their_type() -> None:
    ties = get_method("ties")
    assert parse_parameters(ties, ["density=0.5", " average = no"]) == {
        "density": 0.5,
        "average": False,
    }
    assert check_parameters(ties, {}) == {"density": 0.3, "strength": 1.0, "average": True}
    assert parse_parameters(ties, []) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("density=2", "'density' was given '2'.*a number from 0.01 to 1"),
        ("density=nan", "'density' was given 'nan'"),
        ("density=much", "'density' was given 'much'"),
        ("average=maybe", "'average' was given 'maybe'.*true or false"),
        ("colour=1", "no parameter 'colour'.*density, strength, average"),
        ("density", "'density' is not a parameter.*name=value"),
        ("=1", "'=1' is not a parameter"),
    ],
)
def test_bad_parameters_name_the_range(given: str, expected: str) -> None:
    with pytest.raises(SamError, match=expected):
        parse_parameters(get_method("ties"), [given])


def test_a_parameter_given_twice_and_a_method_without_any() -> None:
    with pytest.raises(SamError, match="given twice"):
        parse_parameters(get_method("ties"), ["density=0.1", "density=0.2"])
    with pytest.raises(SamError, match=r"no parameter 'density'.*no parameters"):
        parse_parameters(get_method("linear"), ["density=0.1"])


def test_whole_numbers_and_choices() -> None:
    steps = Parameter("steps", "Steps", "int", 1, None, 3, "How many steps are taken.")
    assert steps.check("7") == 7
    assert steps.range_text == "a whole number, at least 1"
    for bad in ("1.5", 0, True, None, math.inf, "", 10**400, "9" * 400):
        with pytest.raises(SamError, match="'steps' was given"):
            steps.check(bad)
    pick = Parameter("pick", "Pick", "choice", None, None, "a", "Which.", choices=("a", "b"))
    assert pick.check("b") == "b"
    with pytest.raises(SamError, match="one of a, b"):
        pick.check("c")


@pytest.fixture
def halves() -> Iterator[type[MergeMethod]]:
    """A method made of nothing but a class, needing texts."""

    class Halves(MergeMethod):
        key = "halves"
        name = "Halves"
        summary = "Takes half of the first expert."
        needs = "texts"

        def prepare(self, adapters: Any, context: MergeContext) -> None:
            self.state["seen"] = [adapter.name for adapter in adapters]

        def merge_group(
            self, group: Sequence[ModuleInputs], context: MergeContext
        ) -> list[MergedModule]:
            assert self.state["seen"] == ["a"]
            assert context.data is not None
            assert context.data.texts == ["a text"]
            return [MergedModule(module.factors[0], 0.5, 1.0) for module in group]

    yield register(Halves)
    del registry._METHODS["halves"]


def test_a_new_method_is_one_class(halves: type[MergeMethod]) -> None:
    assert halves in methods()
    recipe = recipe_for({"a": 1.0}, method="halves")
    data = MergeData(base=tiny.llama(), texts=["a text"], types=["person"])
    result = merge(recipe, [random_adapter("a", 1)], data=data)
    assert result.retained_energy == 0.5
    with pytest.raises(SamError, match="needs texts"):
        merge(recipe, [random_adapter("a", 1)])

    class Other(MergeMethod):
        key = "halves"

    with pytest.raises(ValueError, match="'halves'"):
        register(Other)


def test_merge_refuses_what_does_not_fit() -> None:
    first, second = random_adapter("a", 1), random_adapter("b", 2)
    both = {"a": 0.5, "b": 0.5}
    cases: list[tuple[Recipe, list[Any], str]] = [
        (recipe_for(both), [first], "asks for the expert 'b'.*On hand: a"),
        (recipe_for(both), [first, first], "Two adapters are named 'a'"),
        (recipe_for({"a": 0.0}), [first], "weight 0"),
        (recipe_for(both), [first, random_adapter("b", 2, base="x/y")], "'b' belongs.*'x/y'"),
        (
            recipe_for(both),
            [first, random_adapter("b", 2, shapes={"layers.0.q": (12, 11)})],
            "'b' has 12×11 numbers in layers.0.q, 'a' has 12×10",
        ),
        (recipe_for(both, rank=7), [first, second], "rank 7.*from 1 to 6"),
        (recipe_for(both, method="none"), [first, second], "no merge method 'none'"),
        (recipe_for(both, parameters={"x": 1}), [first, second], "no parameter 'x'"),
        (recipe_for({"a": 1}), [random_adapter("a", 1, shapes={})], "no layer at all"),
    ]
    for recipe, adapters, expected in cases:
        seen: list[int] = []
        with pytest.raises(SamError, match=expected):
            merge(recipe, adapters, progress=lambda done, *_: seen.append(done))  # noqa: B023
        assert not seen


def test_a_recipe_notices_that_an_expert_has_changed() -> None:
    expert = random_adapter("a", 1)
    recipe = Recipe(experts=[RecipeExpert(name="a", weight=1, hash=content_hash(expert))])
    assert merge(recipe, [expert]).retained_energy == 1.0
    with pytest.raises(SamError, match="'a' has changed"):
        merge(recipe, [random_adapter("a", 2)])


def test_an_expert_of_weight_zero_is_left_out() -> None:
    experts = [random_adapter("a", 1), random_adapter("b", 2, shapes={"other": (3, 3)})]
    result = merge(recipe_for({"a": 1.0, "b": 0.0}), experts)
    assert set(result.adapter.modules) == set(SHAPES)


@pytest.mark.parametrize("method", ["linear", "ties"])
def test_progress_counts_modules(method: str) -> None:
    shapes = {f"layers.{i}.q": (6, 5) for i in range(12)} | {"layers.0.down": (5, 6)}
    seen: list[tuple[int, int, str]] = []
    result = merge(
        recipe_for({"a": 1.0}, method=method),
        [random_adapter("a", 1, shapes=shapes)],
        progress=lambda *step: seen.append(step),
    )
    assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})
    assert seen[-1][:2] == (13, 13)
    assert {module for _, _, module in seen} <= set(shapes)
    assert list(result.adapter.modules)[-1] == "layers.11.q"
    assert result.seconds > 0


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One worker, so that no other has a group in hand already."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.usefixtures("one_thread")
def test_cancelling_stops_between_groups(after: int) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        merge(
            recipe_for({"a": 1.0}),
            [random_adapter("a", 1)],
            progress=lambda done, *_: seen.append(done),
            cancelled=lambda: len(seen) >= after,
        )
    assert len(seen) == after


@pytest.mark.parametrize("method", ["linear", "ties"])
def test_numbers_that_overflow_are_reported(method: str) -> None:
    expert = random_adapter("a", 1, scaling=1e38)
    with pytest.raises(SamError, match="too large"):
        merge(recipe_for({"a": 1000.0}, method=method), [expert])
