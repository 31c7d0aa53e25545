"""DARE, DELLA and Breadcrumbs against their formulas on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.breadcrumbs import keep_middle
from experts.merging.dare import drop_and_rescale, uniform
from experts.merging.della import drop_probabilities
from experts.merging.merge import merge
from tests.unit.merging_support import dense, random_adapter, recipe_for, relative_error
from tests.unit.test_merging_ties import reference

CPU = torch.device("cpu")
WEIGHTS = [0.6, -0.3, 0.7]
SHAPE = (9, 7)


def draw(expert: str, seed: int = 0, module: str = "m") -> np.ndarray:
    return uniform(torch.Size(SHAPE), seed, expert, module, CPU).numpy()


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
        probability = np.zeros(SHAPE)
        for row in range(SHAPE[0]):
            by_size = sorted(range(SHAPE[1]), key=lambda c: -abs(delta[row, c]))
            for position, column in enumerate(by_size):
                probability[row, column] = drop - window / 2 + window * position / SHAPE[1]
        kept = draw(name) >= probability
        pruned.append(np.where(kept, delta / (1 - probability), 0.0))
    wanted = torch.from_numpy(reference(pruned, WEIGHTS, 1.0, True))
    assert relative_error(merged("della", drop=drop, epsilon=epsilon), wanted) < 1e-5


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 12)),
    drop=st.floats(0, 0.95),
    epsilon=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_della_drops_small_changes_more_often(
    shape: tuple[int, int], drop: float, epsilon: float, seed: int
) -> None:
    delta = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    probability = drop_probabilities(delta, drop, epsilon)
    assert bool(((probability >= 0) & (probability <= 0.991)).all())
    assert float(probability.mean()) <= drop + 1e-5
    order = delta.abs().argsort(dim=1, descending=True)
    assert bool((probability.gather(1, order).diff(dim=1) >= 0).all())


def test_equal_changes_rank_by_position() -> None:
    probability = drop_probabilities(torch.ones(2, 4), 0.5, 0.4)
    assert probability[0].tolist() == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert torch.equal(probability[0], probability[1])


def test_the_draw_depends_on_seed_expert_and_layer_only() -> None:
    assert np.array_equal(draw("a"), draw("a"))
    for other in (draw("b"), draw("a", seed=1), draw("a", module="n")):
        assert not np.array_equal(draw("a"), other)
    assert not torch.equal(merged("dare_linear"), merged("dare_linear", seed=1))


def test_dropping_keeps_the_mean_and_the_asked_share() -> None:
    ones = drop_and_rescale(torch.ones(400, 500), 0.8, uniform(
        torch.Size((400, 500)), 0, "a", "m", CPU))  # fmt: skip
    assert ones.unique().tolist() == pytest.approx([0.0, 5.0])
    assert float(ones.mean()) == pytest.approx(1.0, abs=0.02)


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
    assert torch.equal(keep_middle(delta, small, large), wanted)


def test_breadcrumbs_is_its_formula() -> None:
    parts = [keep_middle(torch.from_numpy(d), 0.5, 0.1) for d in deltas()]
    wanted = sum(w * part for w, part in zip(WEIGHTS, parts, strict=True))
    assert isinstance(wanted, torch.Tensor)
    assert relative_error(merged("breadcrumbs", small=0.5, large=0.1), wanted) < 1e-5
