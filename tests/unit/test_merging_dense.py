"""What the entrywise merge methods are built of."""

from __future__ import annotations

import pytest
import torch

from experts.merging.dare import uniform
from experts.merging.della import drop_probabilities
from experts.merging.dense import in_threads, keep_from, positive, weighted_updates
from experts.merging.lowrank import randomized_svd
from experts.merging.registry import ModuleInputs
from tests.unit.merging_support import random_adapter

CPU = torch.device("cpu")


def test_updates_carry_scaling_and_weight() -> None:
    factors = random_adapter("a", 1, scaling=1.5).modules["layers.0.q"]
    module = ModuleInputs("m", ("a", "b"), (0.5, -2.0), (factors, factors))
    first, second = weighted_updates(module)
    assert torch.allclose(first, 0.5 * factors.delta())
    assert torch.allclose(second, -2.0 * factors.delta(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_entry_as_large_as_the_threshold_stays(dtype: torch.dtype) -> None:
    values = torch.tensor([0.1, -0.3, 0.3, -0.7, 0.0], dtype=dtype)
    kept = keep_from(values, values[2])
    assert kept.tolist() == [0.0, *values[1:4].tolist(), 0.0]
    assert torch.equal(keep_from(values, values[4]), values)
    tiny = torch.tensor([5e-324, 0.0], dtype=torch.float64)
    assert keep_from(values.double(), tiny[0]).tolist() == values.double().tolist()


def test_positive_marks_what_is_above_zero() -> None:
    assert positive(torch.tensor([-2.0, 0.0, 1e-30])).tolist() == [0.0, 0.0, 1.0]


def test_threads_do_all_the_work_and_pass_errors_on() -> None:
    done: list[int] = []
    in_threads(done.append, [(i,) for i in range(20)])
    assert sorted(done) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: done.append(1 // x), [(0,)])


def test_draws_are_uniform_over_more_than_one_block() -> None:
    draws = uniform(torch.Size((1100, 1024)), 0, "a", "m", CPU)
    assert 0 < float(draws.min()) < 1e-5
    assert 1 - 1e-5 < float(draws.max()) < 1
    counts = torch.histc(draws, 16, 0.0, 1.0)
    assert float((counts / counts.mean() - 1).abs().max()) < 0.02
    flat = draws.flatten()
    assert abs(float(torch.corrcoef(torch.stack([flat[:-1], flat[1:]]))[0, 1])) < 0.005
    # Blocks, of which each has a generator of its own, must not repeat each other.
    assert flat[2**20 :].unique().numel() > 0.95 * len(flat[2**20 :])
    assert not torch.equal(flat[2**20 : 2**20 + 1000], flat[:1000])


@pytest.mark.parametrize("columns", [640, 2048, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ranks_of_long_rows_are_those_of_the_magnitudes(columns: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(columns)
    delta = torch.randn(12, columns, generator=generator, dtype=dtype)
    delta[3] = 0.0
    got = drop_probabilities(delta, 0.5, 0.4)
    order = delta.abs().argsort(dim=1, descending=True, stable=True)
    ladder = (0.3 + 0.4 * torch.arange(columns, dtype=dtype) / columns).expand_as(delta)
    wanted = torch.empty_like(delta).scatter_(1, order, ladder.contiguous())
    # Entries of float32 that differ by a millionth of the largest may have changed places.
    steps = (got - wanted).abs() / (0.4 / columns)
    assert float(steps.max()) < (2.5 if dtype == torch.float32 else 0.5)
    assert float((steps > 0.5).double().mean()) < 0.01


@pytest.mark.parametrize("warm", [False, True])
def test_the_leading_directions_of_a_matrix_with_a_flat_tail(warm: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    b, a = torch.randn(150, 6, generator=generator), torch.randn(6, 220, generator=generator)
    matrix = b @ a + 3 * torch.randn(150, 220, generator=generator)
    _, s, _ = randomized_svd(matrix, 10, near=a.T if warm else None)
    exact = torch.linalg.svdvals(matrix.double())
    total = float(exact.square().sum())
    error = (total - float(s.double().square().sum())) ** 0.5
    assert error <= 1.002 * float(exact[10:].square().sum()) ** 0.5


def test_a_matrix_of_low_rank_has_no_directions_made_of_noise() -> None:
    generator = torch.Generator().manual_seed(3)
    b, a = torch.randn(90, 4, generator=generator), torch.randn(4, 80, generator=generator)
    u, s, vh = randomized_svd(b @ a, 6, near=a.T)
    assert float((u * s @ vh - b @ a).norm() / (b @ a).norm()) < 1e-5
    assert s[:4].tolist() == pytest.approx(torch.linalg.svdvals(b @ a)[:4].tolist(), rel=1e-4)
    assert float(s[4] / s[0]) < 1e-5
    assert float((u.T @ u - torch.eye(6)).abs().max()) < 1e-4
    zero = randomized_svd(torch.zeros(90, 80), 3)
    assert not zero[1].any()
