"""PCB-Merging against its formula, entry by entry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.merging.adapters import LoraFactors
from experts.merging.dense import Updates
from experts.merging.merge import merge
from experts.merging.pcb import clip_bounds, scores_to_scale
from experts.merging.registry import ModuleInputs
from tests.unit.merging_support import (
    dense,
    in_float64,
    random_adapter,
    recipe_for,
    relative_error,
)


def reference(deltas: list[np.ndarray], weights: list[float], density: float) -> np.ndarray:
    """Du et al. 2024 with plain loops; layers of less than 10,000 entries have no outliers."""
    n, even = len(deltas), len(deltas) / sum(map(abs, weights))
    shape = deltas[0].shape
    over, under = np.zeros(shape), np.zeros(shape)
    for delta, weight in zip(deltas, weights, strict=True):
        low, high = np.abs(delta).min(), np.abs(delta).max()
        scores = np.zeros(shape)
        for at in np.ndindex(shape):
            inter = weight * even * delta[at]
            inter *= sum(w * even * d[at] for w, d in zip(weights, deltas, strict=True))
            size = (abs(delta[at]) - low) / (high - low) if high > low else 0.0
            scores[at] = math.exp(n * size**2) * math.tanh(inter)
        keep = max(1, round(density * delta.size))
        threshold = sorted(scores.ravel(), reverse=True)[keep - 1]
        for at in np.ndindex(shape):
            if scores[at] > threshold:
                scale = (scores[at] - threshold) / (scores.max() - threshold)
            else:
                scale = 1.0 if scores[at] == threshold == scores.max() > 0 else 0.0
            over[at] += scale * weight * even * delta[at]
            under[at] += scale * abs(weight) * even
    return np.divide(over, under, out=np.zeros(shape), where=under > 0)


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    count=st.integers(1, 4),
    density=st.sampled_from([0.05, 0.2, 0.5, 1.0]),
    size=st.sampled_from([1e-4, 0.3, 3.0]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_same_as_the_reference_on_any_shape(
    shape: tuple[int, int], count: int, density: float, size: float, seed: int, data: st.DataObject
) -> None:
    experts = [
        in_float64(random_adapter(f"e{i}", seed * 7 + i, shapes={"m": shape}, scaling=size))
        for i in range(count)
    ]
    weights = [data.draw(st.sampled_from([-1.0, -0.3, 0.25, 0.5, 2.0])) for _ in experts]
    named = {e.name: w for e, w in zip(experts, weights, strict=True)}
    rank = min(min(shape), 3 * count)
    recipe = recipe_for(named, method="pcb", parameters={"density": density}, rank=rank)
    result = merge(recipe, experts)
    wanted = reference([dense(e.modules["m"]).numpy() for e in experts], weights, density)
    if min(shape) <= 3 * count:  # at the full rank of the shape nothing is lost afterwards
        assert relative_error(dense(result.adapter.modules["m"]), torch.from_numpy(wanted)) < 1e-6


def test_a_single_expert_loses_its_smallest_change_only() -> None:
    expert = in_float64(random_adapter("a", 3, shapes={"m": (6, 5)}, rank=5))
    recipe = recipe_for({"a": 0.4}, method="pcb", parameters={"density": 1.0})
    result = dense(merge(recipe, [expert]).adapter.modules["m"])
    wanted = dense(expert.modules["m"])
    wanted[wanted.abs() == wanted.abs().min()] = 0.0
    assert relative_error(result, wanted) < 1e-12


@pytest.mark.parametrize(("size", "bounds"), [(20_000, (3.0, 19_998.0)), (5000, (1.0, 5000.0))])
def test_outliers_are_clipped_where_there_are_enough_entries(
    size: int, bounds: tuple[float, float]
) -> None:
    """The numbers from 1 to `size`, with changing signs, as a row of 5 for each."""
    first = torch.arange(1.0, size, 5)[:, None]
    b = torch.cat([first, torch.ones_like(first)], dim=1)
    a = torch.stack([torch.ones(5), torch.arange(5.0)])
    b[::2] *= -1
    module = ModuleInputs("m", ("x",), (1.0,), (LoraFactors(a=a, b=b, scaling=1.0),))
    assert clip_bounds(Updates(module)) == [bounds]


@pytest.mark.parametrize(
    ("score", "threshold", "scale"),
    [
        ([4.0, 1.0, 3.0, 2.0], 2.0, [1.0, 0.0, 0.5, 0.0]),
        ([4.0, 1.0, 3.0, 2.0], 4.0, [1.0, 0.0, 0.0, 0.0]),
        ([2.0, 2.0, 1.0, -1.0], 2.0, [1.0, 1.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], 0.0, [0.0, 0.0, 0.0, 0.0]),
        ([-1.0, -2.0, -3.0, -4.0], -1.0, [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_scores_are_rescaled(score: list[float], threshold: float, scale: list[float]) -> None:
    assert scores_to_scale(torch.tensor(score), threshold, max(score)).tolist() == scale
