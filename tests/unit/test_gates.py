"""Weights by module and row: what they do, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch

from experts.base import BaseModel
from experts.gates import batches, group_modules
from experts.stack import AdapterStack, row_runs
from tests.unit import tiny
from tests.unit.merging_learned_support import three
from tests.unit.merging_support import dense


@pytest.mark.parametrize("model", [tiny.gemma, tiny.gpt2])
def test_weights_by_module_and_row_are_the_dense_sum(model: Callable[[], BaseModel]) -> None:
    base = model()
    base.model.double()
    adapters = three(base)
    stack = AdapterStack(base, [adapter.products() for adapter in adapters])
    generator = torch.Generator().manual_seed(3)
    modules = dict(base.model.named_modules())
    weights, merged = {}, {}
    for number, name in enumerate(adapters[0].modules):
        weights[name] = torch.randn(3, 1 + number % 4, generator=generator)
        rows = row_runs(adapters[0].modules[name].shape[0], 1 + number % 4)
        merged[name] = sum(
            weights[name][k].double()[rows, None] * dense(adapter.modules[name])
            for k, adapter in enumerate(adapters)
            if name in adapter.modules
        )
    ids = torch.arange(3, 30)[None]
    with torch.inference_mode():
        with stack.attached():
            stack.weigh_modules(weights)
            mine = base.model(ids).logits
            stack.weigh([0.0, 0.0, 0.0])
            bare = base.model(ids).logits
        torch.testing.assert_close(bare, base.model(ids).logits)
        for name, delta in merged.items():
            turned = delta.T if type(modules[name]).__name__ == "Conv1D" else delta
            modules[name].weight += turned
        torch.testing.assert_close(mine, base.model(ids).logits, rtol=1e-3, atol=1e-4)


def test_gradients_of_the_weights_are_those_of_finite_differences() -> None:
    exact = tiny.gemma()
    exact.model.double()
    adapters = three(exact)
    stack = AdapterStack(exact, [adapter.products() for adapter in adapters])
    start = {
        name: torch.full((3, 2), 0.3, dtype=torch.float64, requires_grad=True)
        for name in adapters[0].modules
    }
    ids = torch.arange(3, 30)[None]

    def loss(weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        stack.weigh_modules(weights)
        return exact.model(ids).logits.log_softmax(-1)[..., 7].sum()

    with stack.attached():
        loss(start).backward()
        name = list(start)[3]
        moved = {n: w.detach().clone() for n, w in start.items()}
        moved[name][2, 1] += 1e-3
        with torch.no_grad():
            slope = float(loss(moved) - loss(start)) / 1e-3
    assert math.isclose(slope, float(start[name].grad[2, 1]), rel_tol=0.02)


def test_rows_are_cut_evenly() -> None:
    for rows, runs in [(1, 1), (5, 2), (7, 7), (640, 11), (48, 5)]:
        sizes = torch.bincount(row_runs(rows, runs), minlength=runs)
        assert int(sizes.sum()) == rows
        assert int(sizes.max() - sizes.min()) <= 1
        assert row_runs(rows, runs).tolist() == sorted(row_runs(rows, runs).tolist())


def test_groups_and_batches() -> None:
    names = ["model.layers.0.q", "model.layers.0.mlp.up", "model.layers.10.q", "lm_head"]
    assert group_modules(names, "module") == {name: name for name in names}
    assert set(group_modules(names, "expert").values()) == {"all"}
    assert list(group_modules(names, "layer").values()) == ["0", "0", "10", "lm_head"]
    assert batches([400, 100, 100, 900, 5]) == [[0, 1], [2], [3], [4]]
    assert batches([]) == []
