"""Taking an expert out of a merge, against the merge of the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter, content_hash, load_adapter, save_adapter
from experts.merging.merge import merge
from experts.merging.recipe import Recipe, RecipeExpert
from experts.merging.unmerge import rerun, stored_precision, unmerge, without
from tests.unit.merging_support import (
    BASE,
    SHAPES,
    dense,
    dense_sum,
    random_adapter,
    recipe_for,
    relative_error,
)

WIDE = {"layers.0.q": (48, 40), "layers.1.down": (40, 64)}


def experts_of(*names: str, **options: object) -> list[Adapter]:
    return [random_adapter(n, seed, **options) for seed, n in enumerate(names, 1)]  # type: ignore[arg-type]


def test_removing_an_expert_leaves_the_sum_of_the_others() -> None:
    experts = experts_of("a", "b", "c", shapes=WIDE)
    recipe = recipe_for({"a": 0.5, "b": 0.8, "c": -0.3})
    merged = merge(recipe, experts).adapter
    result = unmerge(merged, recipe, experts[1])
    assert [(e.name, e.weight) for e in result.recipe.experts] == [("a", 0.5), ("c", -0.3)]
    assert result.error < 1e-6
    for module, factors in result.adapter.modules.items():
        assert factors.rank == 6  # 9 less the 3 that were taken out
        assert factors.scaling == 1.0
        wanted = dense_sum(experts, [0.5, 0.0, -0.3], module)
        assert relative_error(dense(factors), wanted) < 1e-5
    again = merge(result.recipe, experts).adapter
    for module in WIDE:
        assert (
            relative_error(dense(again.modules[module]), dense(result.adapter.modules[module]))
            < 1e-5
        )


def test_from_a_stored_merge_only_its_rounding_is_left(tmp_path: Path) -> None:
    experts = experts_of("a", "b", "c", shapes=WIDE)
    recipe = recipe_for({"a": 0.3, "b": 0.4, "c": 0.3})
    save_adapter(merge(recipe, experts).adapter, tmp_path / "merged")
    stored = load_adapter(tmp_path / "merged")
    assert stored_precision(stored) == torch.finfo(torch.bfloat16).eps
    result = unmerge(stored, recipe, experts[0])
    assert 0.003 < result.error < 0.01
    for module, factors in result.adapter.modules.items():
        assert factors.rank == 6
        wanted = dense_sum(experts, [0.0, 0.4, 0.3], module)
        assert relative_error(dense(factors), wanted) < result.error
    save_adapter(merge(recipe, experts).adapter, tmp_path / "precise", dtype=torch.float32)
    precise = unmerge(load_adapter(tmp_path / "precise"), recipe, experts[0])
    assert precise.error < 1e-6


def test_the_rest_can_keep_the_sum_of_the_weights() -> None:
    experts = experts_of("a", "b", "c")
    recipe = recipe_for({"a": 0.5, "b": 0.3, "c": 0.2})
    merged = merge(recipe, experts).adapter
    result = unmerge(merged, recipe, experts[0], renormalise=True)
    assert [e.weight for e in result.recipe.experts] == pytest.approx([0.6, 0.4])
    for module, factors in result.adapter.modules.items():
        wanted = dense_sum(experts, [0.0, 0.6, 0.4], module)
        assert relative_error(dense(factors), wanted) < 1e-5


def test_experts_with_layers_of_their_own() -> None:
    first = random_adapter("a", 1)
    second = random_adapter("b", 2, shapes={"layers.0.q": (12, 10), "layers.9.o": (5, 7)})
    recipe = recipe_for({"a": 0.5, "b": 2.0})
    merged = merge(recipe, [first, second]).adapter
    without_a = unmerge(merged, recipe, first).adapter
    assert float(dense(without_a.modules["layers.1.q"]).norm()) < 1e-5
    for module in second.modules:
        wanted = 2.0 * dense(second.modules[module])
        assert relative_error(dense(without_a.modules[module]), wanted) < 1e-5
    without_b = unmerge(merged, recipe, second, renormalise=True).adapter
    for module in SHAPES:
        wanted = 2.5 * dense(first.modules[module])
        assert relative_error(dense(without_b.modules[module]), wanted) < 1e-5


def test_experts_that_share_directions_keep_them() -> None:
    first = random_adapter("a", 1)
    copy = dataclasses.replace(first, name="b")
    recipe = recipe_for({"a": 1.0, "b": -1.0})
    merged = merge(recipe, [first, copy]).adapter  # nothing
    result = unmerge(merged, recipe, copy).adapter
    for module, factors in first.modules.items():
        assert result.modules[module].rank == factors.rank
        assert relative_error(dense(result.modules[module]), dense(factors)) < 1e-5


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    ranks=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    weights=st.lists(st.sampled_from([-2.0, -0.4, 0.3, 1.0, 1.7]), min_size=4, max_size=4),
    seed=st.integers(0, 10_000),
)
def test_any_shapes_ranks_and_weights(
    shape: tuple[int, int], ranks: list[int], weights: list[float], seed: int
) -> None:
    experts = [
        random_adapter(f"e{i}", seed + i, shapes={"m": shape}, rank=rank, scaling=0.5 + i)
        for i, rank in enumerate(ranks)
    ]
    used = weights[: len(experts)]
    recipe = recipe_for({e.name: w for e, w in zip(experts, used, strict=True)})
    merged = merge(recipe, experts).adapter
    result = unmerge(merged, recipe, experts[0])
    wanted = dense_sum(experts, [0.0, *used[1:]], "m")
    size = sum(
        abs(w) * float(dense(e.modules["m"]).norm()) for w, e in zip(used, experts, strict=True)
    )
    assert float((dense(result.adapter.modules["m"]) - wanted).norm()) <= 2e-5 * size
    assert result.adapter.modules["m"].rank <= min(*shape, sum(ranks))


@pytest.mark.parametrize("method", ["ties", "dare_linear", "iso_c"])
def test_other_methods_cannot_be_undone(method: str) -> None:
    experts = experts_of("a", "b")
    recipe = recipe_for({"a": 0.5, "b": 0.5}, method=method)
    merged = merge(recipe, experts).adapter
    with pytest.raises(SamError, match=f"'{method}': only a weighted sum") as raised:
        unmerge(merged, recipe, experts[0])
    assert "--rerun" in raised.value.hint


def test_a_merge_that_was_cut_cannot_be_undone_one_that_was_not_can() -> None:
    experts = experts_of("a", "b", shapes=WIDE)
    recipe = recipe_for({"a": 0.5, "b": 0.5}, rank=4)
    cut = r"cut to rank 4 \(in 2 layers, such as layers\.0\.q\)"
    with pytest.raises(SamError, match=cut) as raised:
        unmerge(merge(recipe, experts).adapter, recipe, experts[0])
    assert "Run the recipe again" in raised.value.hint
    copies = [experts[0], dataclasses.replace(experts[0], name="b")]
    lossless = unmerge(merge(recipe, copies).adapter, recipe, copies[0])  # rank 3 needs no cut
    wanted = 0.5 * dense(experts[0].modules["layers.0.q"])
    assert relative_error(dense(lossless.adapter.modules["layers.0.q"]), wanted) < 1e-5


def test_what_does_not_fit_is_refused() -> None:
    experts = experts_of("a", "b")
    recipe = recipe_for({"a": 0.5, "b": 0.5})
    merged = merge(recipe, experts).adapter
    with pytest.raises(SamError, match="does not contain the expert 'c'") as raised:
        unmerge(merged, recipe, random_adapter("c", 3))
    assert "a, b" in raised.value.hint
    with pytest.raises(SamError, match="only expert"):
        unmerge(merged, recipe_for({"a": 1.0}), experts[0])
    with pytest.raises(SamError, match="base model"):
        unmerge(merged, recipe, random_adapter("a", 1, base="another/base"))
    with pytest.raises(SamError, match=r"changes layers\.5\.z"):
        unmerge(merged, recipe, random_adapter("a", 1, shapes={"layers.5.z": (3, 4)}))
    hashed = Recipe(
        experts=[
            RecipeExpert(name="a", weight=0.5, hash=content_hash(experts[0])),
            RecipeExpert(name="b", weight=0.5),
        ],
        base_model=BASE,
    )
    assert unmerge(merged, hashed, experts[0]).recipe.experts[0].name == "b"
    with pytest.raises(SamError, match="has changed since it was merged"):
        unmerge(merged, hashed, random_adapter("a", 7))
    balanced = recipe_for({"a": 1.0, "b": 0.5, "c": -0.5})
    with pytest.raises(SamError, match="add up to zero"):
        without(balanced, "a", renormalise=True)
    with pytest.raises(Cancelled):
        unmerge(merged, recipe, experts[0], cancelled=lambda: True)


def test_any_recipe_can_be_run_again_without_an_expert() -> None:
    experts = experts_of("a", "b", "c")
    recipe = recipe_for({"a": 0.5, "b": 0.3, "c": 0.2}, method="ties", rank=8)
    reduced, result = rerun(recipe, "a", experts, renormalise=True)
    assert [(e.name, e.weight) for e in reduced.experts] == [
        ("b", pytest.approx(0.6)),
        ("c", pytest.approx(0.4)),
    ]
    assert reduced.rank is None  # two experts of rank 3 have no eighth direction
    wanted = merge(recipe_for({"b": 0.6, "c": 0.4}, method="ties"), experts)
    for module in SHAPES:
        assert (
            relative_error(
                dense(result.adapter.modules[module]), dense(wanted.adapter.modules[module])
            )
            < 1e-6
        )
