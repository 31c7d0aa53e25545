"""DARE, DELLA and Breadcrumbs against their formulas on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.adapters import LoraFactors
from experts.merging.breadcrumbs import keep_middle
from experts.merging.dare import Draws, dropping
from experts.merging.della import by_magnitude, drop_probabilities
from experts.merging.dense import Updates
from experts.merging.merge import merge
from experts.merging.registry import ModuleInputs
from tests.unit.merging_support import dense, random_adapter, recipe_for, relative_error
from tests.unit.test_merging_ties import reference

CPU = torch.device("cpu")
WEIGHTS = [0.6, -0.3, 0.7]
SHAPE = (9, 7)


def draw(expert: str, seed: int = 0, module: str = "m") -> np.ndarray:
    """Numbers in (0, 1), as a matrix of a single tile gets them."""
    bits = Draws(seed, expert, module, CPU).next(torch.Size(SHAPE))
    return (bits.double().numpy() + 2**15 + 0.5) / 2**16


def merged(method: str, **parameters: float) -> torch.Tensor:
    """At the full rank of the shape, so that only the formula is seen."""
    experts = [random_adapter(n, s, shapes={"m": SHAPE}) for s, n in enumerate("abc")]
    weights = dict(zip("abc", WEIGHTS, strict=True))
    recipe = recipe_for(weights, method=method, parameters=parameters, rank=min(SHAPE))
    return dense(merge(recipe, experts).adapter.modules["m"])


def deltas() -> list[np.ndarray]:
    return [random_adapter(n, s, shapes={"m": SHAPE}).modules["m"].delta().double().numpy()
            for s, n in enumerate("abc")]  # fmt: skip


@pytest.mark.parametrize("drop", [0.0, 0.3, 0.9])
def test_dare_linear_is_its_formula(drop: float) -> None:
    wanted = sum(
        weight * np.where(draw(name) >= drop, delta, 0.0) / (1 - drop)
        for name, weight, delta in zip("abc", WEIGHTS, deltas(), strict=True)
    )
    assert relative_error(merged("dare_linear", drop=drop), torch.from_numpy(wanted)) < 1e-5


@pytest.mark.parametrize(("drop", "density"), [(0.5, 1.0), (0.3, 0.4), (0.0, 0.2)])
def test_dare_ties_is_ties_of_what_dare_leaves(drop: float, density: float) -> None:
    thinned = [np.where(draw(n) >= drop, d, 0.0) / (1 - drop)
               for n, d in zip("abc", deltas(), strict=True)]  # fmt: skip
    wanted = torch.from_numpy(reference(thinned, WEIGHTS, density, True))
    assert relative_error(merged("dare_ties", drop=drop, density=density), wanted) < 1e-5


@pytest.mark.parametrize(("drop", "epsilon"), [(0.5, 0.2), (0.4, 0.8), (0.7, 0.0), (0.1, 1.0)])
def test_della_is_its_formula(drop: float, epsilon: float) -> None:
    window = min(epsilon, 2 * drop, 2 * (0.99 - drop))
    pruned = []
    for name, delta in zip("abc", deltas(), strict=True):
        result, drawn = np.zeros(SHAPE), draw(name)
        for row in range(SHAPE[0]):
            by_size = sorted(range(SHAPE[1]), key=lambda c: -abs(delta[row, c]))
            for position, column in enumerate(by_size):
                probability = drop - window / 2 + window * position / SHAPE[1]
                if drawn[row, position] >= probability:
                    result[row, column] = delta[row, column] / (1 - probability)
        pruned.append(result)
    wanted = torch.from_numpy(reference(pruned, WEIGHTS, 1.0, True))
    assert relative_error(merged("della", drop=drop, epsilon=epsilon), wanted) < 1e-5


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 300), drop=st.floats(0, 0.95), epsilon=st.floats(0, 1))
def test_della_drops_small_changes_more_often(n: int, drop: float, epsilon: float) -> None:
    probability = drop_probabilities(n, drop, epsilon)
    assert bool(((probability >= 0) & (probability <= 0.99)).all())
    assert float(probability.mean()) <= drop + 1e-9
    assert bool((probability.diff() >= 0).all())


def test_equal_changes_rank_by_position() -> None:
    assert by_magnitude(torch.ones(2, 4)).tolist() == [[0, 1, 2, 3]] * 2
    assert by_magnitude(torch.tensor([[0.0, -3.0, 2.0]])).tolist() == [[1, 2, 0]]
    assert drop_probabilities(4, 0.5, 0.4).tolist() == pytest.approx([0.3, 0.4, 0.5, 0.6])


def test_the_draw_depends_on_seed_expert_and_layer_only() -> None:
    assert np.array_equal(draw("a"), draw("a"))
    for other in (draw("b"), draw("a", seed=1), draw("a", module="n")):
        assert not np.array_equal(draw("a"), other)
    assert not torch.equal(merged("dare_linear"), merged("dare_linear", seed=1))


def test_dropping_leaves_the_asked_share() -> None:
    change = dropping(0.8, [Draws(0, name, "m", CPU) for name in "ab"])
    ones = torch.stack([change(torch.ones(2, 400, 500)) for _ in range(2)])
    assert ones.unique().tolist() == [0.0, 1.0]
    for kept in ones.flatten(0, 1):
        assert float(kept.mean()) == pytest.approx(0.2, abs=0.005)
    assert not torch.equal(ones[0, 0], ones[0, 1])  # another expert
    assert not torch.equal(ones[0, 0], ones[1, 0])  # the next tile


@settings(deadline=None, max_examples=30)
@given(
    size=st.integers(1, 40),
    small=st.sampled_from([0.0, 0.1, 0.5, 0.85, 0.98]),
    large=st.sampled_from([0.0, 0.01, 0.1, 0.2]),
    seed=st.integers(0, 99),
)
def test_breadcrumbs_keep_the_middle(size: int, small: float, large: float, seed: int) -> None:
    delta = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    top = min(round(large * size), size - 1)
    keep = max(1, size - round(small * size) - top)
    by_size = sorted(range(size), key=lambda i: -abs(float(delta[i])))
    wanted = torch.zeros(size)
    for index in by_size[top : top + keep]:
        wanted[index] = delta[index]
    assert torch.equal(middle(delta[None], small, large)[0], wanted)


def middle(delta: torch.Tensor, small: float, large: float) -> torch.Tensor:
    factors = LoraFactors(a=delta, b=torch.eye(len(delta), dtype=delta.dtype), scaling=1.0)
    updates = keep_middle(Updates(ModuleInputs("m", ("x",), (1.0,), (factors,))), small, large)
    return torch.cat([tile[0].clone() for _, tile in updates])


def test_breadcrumbs_is_its_formula() -> None:
    parts = [middle(torch.from_numpy(d), 0.5, 0.1) for d in deltas()]
    wanted = sum(w * part for w, part in zip(WEIGHTS, parts, strict=True))
    assert isinstance(wanted, torch.Tensor)
    assert relative_error(merged("breadcrumbs", small=0.5, large=0.1), wanted) < 1e-5
