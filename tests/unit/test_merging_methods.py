"""What every data-free merge method must satisfy, whatever its formula."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.merge import MergeResult, merge
from experts.merging.registry import get_method, methods
from tests.unit.merging_support import BASE, SHAPES, dense, in_float64, random_adapter, recipe_for

DATA_FREE = [method.key for method in methods() if method.needs == "none"]

# Settings at which a single expert of weight 1 comes back unchanged, where there are such.
IDENTITY: dict[str, dict[str, Any]] = {
    "linear": {},
    "ties": {"density": 1.0},
    "dare_linear": {"drop": 0.0},
    "dare_ties": {"drop": 0.0},
    "della": {"drop": 0.0},
    "breadcrumbs": {"small": 0.0, "large": 0.0},
    "knots_ties": {"density": 1.0},
    "core_ties": {"density": 1.0},
    "tsv": {},
    "star": {"keep": 1.0},
    "wudi": {},
}
AVERAGING = {"ties", "dare_ties", "della", "knots_ties", "core_ties"}
RATIO_ONLY = AVERAGING | {"pcb"}  # the former while they average

WEIGHTS = {"a": 0.5, "b": 0.2, "c": 0.3}


def three() -> list[Adapter]:
    return [random_adapter(name, seed, rank=2 + seed) for seed, name in enumerate("abc")]


def run(method: str, weights: dict[str, float], experts: list[Adapter], **fields: Any) -> Any:
    return merge(recipe_for(weights, method=method, **fields), experts)


def assert_same(one: MergeResult, two: MergeResult, factor: float = 1.0) -> None:
    assert set(one.adapter.modules) == set(two.adapter.modules)
    for module, factors in one.adapter.modules.items():
        wanted = factor * dense(two.adapter.modules[module])
        scale = max(float(wanted.norm()), 1e-30)
        assert float((dense(factors) - wanted).norm()) / scale < 2e-5, module


@pytest.mark.parametrize("method", DATA_FREE)
@pytest.mark.parametrize("rank", [None, 2])
def test_order_and_repetition_change_no_byte(method: str, rank: int | None) -> None:
    one = run(method, WEIGHTS, three(), rank=rank)
    two = run(method, dict(reversed(WEIGHTS.items())), three()[::-1], rank=rank)
    for module in SHAPES:
        first, second = one.adapter.modules[module], two.adapter.modules[module]
        assert torch.equal(first.a, second.a)
        assert torch.equal(first.b, second.b)
        assert first.scaling == 1.0
        assert first.a.dtype == torch.float32
        assert rank is None or first.rank == 2
    assert 0 < one.retained_energy <= 1


@pytest.mark.parametrize("method", DATA_FREE)
def test_a_layer_merges_alone_as_among_others(method: str) -> None:
    module = "layers.1.q"
    alone = [dataclasses.replace(e, modules={module: e.modules[module]}) for e in three()]
    one, two = run(method, WEIGHTS, alone), run(method, WEIGHTS, three())
    two.adapter.modules = {module: two.adapter.modules[module]}
    assert_same(one, two)


@pytest.mark.parametrize("method", DATA_FREE)
def test_the_factorisation_of_an_expert_does_not_matter(method: str) -> None:
    experts = [in_float64(expert) for expert in three()]
    generator = torch.Generator().manual_seed(5)
    gauged = []
    for expert in experts:
        other = dataclasses.replace(expert, modules={})
        for module, f in expert.modules.items():
            turn = torch.randn(f.rank, f.rank, generator=generator, dtype=torch.float64)
            a = torch.linalg.inv(turn) @ f.a / 4
            other.modules[module] = LoraFactors(a=a, b=f.b @ turn, scaling=4 * f.scaling)
        gauged.append(other)
    assert_same(run(method, WEIGHTS, gauged), run(method, WEIGHTS, experts))


@pytest.mark.parametrize("method", DATA_FREE)
def test_a_missing_layer_is_a_zero_update(method: str) -> None:
    a, b, c = three()
    zero = {k: v for k, v in b.modules.items() if k != "layers.0.down"}
    lacking = dataclasses.replace(b, modules=dict(zero))
    zero["layers.0.down"] = LoraFactors(a=torch.ones(3, 20), b=torch.zeros(10, 3), scaling=1.0)
    b = dataclasses.replace(b, modules=zero)
    assert_same(
        run(method, WEIGHTS, [a, lacking, c], rank=6), run(method, WEIGHTS, [a, b, c], rank=6)
    )


@pytest.mark.parametrize("method", DATA_FREE)
def test_nothing_merges_to_nothing(method: str) -> None:
    zeros = []
    for expert in three():
        empty = {k: dataclasses.replace(f, b=f.b * 0) for k, f in expert.modules.items()}
        zeros.append(dataclasses.replace(expert, modules=empty))
    for rank in (None, 2):
        result = run(method, WEIGHTS, zeros, rank=rank)
        assert all(not dense(f).any() for f in result.adapter.modules.values())
        assert result.retained_energy == 1.0


@pytest.mark.parametrize("method", IDENTITY)
def test_a_single_expert_comes_back_where_the_formula_says_so(method: str) -> None:
    expert = random_adapter("a", 1, scaling=2.0)
    unchanged = MergeResult(expert, 1.0, {}, 0.0)
    assert_same(run(method, {"a": 1.0}, [expert], parameters=IDENTITY[method]), unchanged)


def test_only_these_change_a_single_expert() -> None:
    # The isotropic ones flatten its spectrum; PCB drops at least its smallest change.
    assert set(DATA_FREE) - set(IDENTITY) == {"iso_c", "iso_cts", "pcb"}


@pytest.mark.parametrize("method", DATA_FREE)
def test_doubled_and_turned_weights(method: str) -> None:
    once = run(method, WEIGHTS, three())
    twice = run(method, {name: 2 * w for name, w in WEIGHTS.items()}, three())
    assert_same(twice, once, 1.0 if method in RATIO_ONLY else 2.0)
    if method in AVERAGING:
        added = [run(method, {n: f * w for n, w in WEIGHTS.items()}, three(),
                     parameters={"average": False}) for f in (2, 1)]  # fmt: skip
        assert_same(added[0], added[1], 2.0)
    turned = run(method, {name: -w for name, w in WEIGHTS.items()}, three())
    assert_same(turned, once, -1.0)


@pytest.mark.parametrize("method", DATA_FREE)
def test_a_negative_weight_among_positive_ones_is_no_obstacle(method: str) -> None:
    result = run(method, {"a": 1.0, "b": -0.4, "c": 0.4}, three())
    for factors in result.adapter.modules.values():
        assert bool(torch.isfinite(dense(factors)).all())
        assert dense(factors).any()


@pytest.mark.parametrize("method", [m for m in DATA_FREE if m not in ("linear", "star")])
def test_strength_scales_the_result(method: str) -> None:
    if "strength" not in {parameter.name for parameter in get_method(method).parameters}:
        assert method in {"dare_linear", "breadcrumbs"}
        return
    half = run(method, WEIGHTS, three(), parameters={"strength": 0.5})
    assert_same(half, run(method, WEIGHTS, three()), 0.5)


@pytest.mark.parametrize("method", DATA_FREE)
def test_copies_keep_a_sane_size(method: str) -> None:
    expert = random_adapter("a", 1)
    copies = [dataclasses.replace(expert, name=name) for name in "abc"]
    result = run(method, dict.fromkeys("abc", 1 / 3), copies)
    for module in SHAPES:
        size = float(dense(result.adapter.modules[module]).norm())
        full = float(dense(expert.modules[module]).norm())
        # DARE and DELLA double what survives and average survivors only; STAR keeps the nuclear
        # norm in one direction, at most √3 times the size.
        assert 0.1 * full < size < 2 * full


@pytest.mark.parametrize("method", [m for m in DATA_FREE if get_method(m).exact])
def test_exact_methods_lose_nothing_and_truncate_best(method: str) -> None:
    experts = [in_float64(expert) for expert in three()]
    full = run(method, WEIGHTS, experts)
    assert full.retained_energy == pytest.approx(1.0, abs=1e-12)
    thin = run(method, WEIGHTS, experts, rank=2)
    kept = total = 0.0
    for module in SHAPES:
        wanted = dense(full.adapter.modules[module])
        s = torch.linalg.svdvals(wanted)
        error = float((dense(thin.adapter.modules[module]) - wanted).norm())
        assert error == pytest.approx(float(s[2:].square().sum().sqrt()), rel=1e-6)
        kept, total = kept + float(s[:2].square().sum()), total + float(s.square().sum())
    assert thin.retained_energy == pytest.approx(kept / total, rel=1e-9)


def test_base_of_the_merge_is_named() -> None:
    for method in DATA_FREE:
        assert run(method, WEIGHTS, three(), rank=1).adapter.base_model == BASE
        assert "arXiv:" in get_method(method).paper
