"""What the entrywise merge methods are built of."""

from __future__ import annotations

import pytest
import torch

from experts.merging.adapters import LoraFactors
from experts.merging.dare import Draws
from experts.merging.della import by_magnitude
from experts.merging.dense import Updates, just_below, shrink_, tile_rows
from experts.merging.lowrank import randomized_svd
from experts.merging.registry import ModuleInputs
from tests.unit.merging_support import random_adapter

CPU = torch.device("cpu")


def module_of(shape: tuple[int, int], weights: tuple[float, ...] = (0.5, -2.0)) -> ModuleInputs:
    experts = [random_adapter(f"e{i}", i, shapes={"m": shape}, rank=3 + i, scaling=1.5)
               for i in range(len(weights))]  # fmt: skip
    names, factors = zip(*((e.name, e.modules["m"]) for e in experts), strict=True)
    return ModuleInputs("m", names, weights, factors)


def whole(updates: Updates) -> torch.Tensor:
    return torch.cat([tile.clone() for _, tile in updates], dim=1)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (700, 390), (3, 200_000)])
def test_tiles_make_up_the_updates_with_scaling_and_weight(shape: tuple[int, int]) -> None:
    module = module_of(shape)
    updates = Updates(module, factor=3.0).then(torch.Tensor.neg_).then(lambda tile: tile.add_(1.0))
    wanted = [1 - 3 * w * f.delta() for w, f in zip(module.weights, module.factors, strict=True)]
    for _ in range(2):  # they can be made again
        assert torch.allclose(whole(updates), torch.stack(wanted), atol=1e-4)
    rows = tile_rows(torch.Size(shape), CPU)
    assert [r for tile in rows for r in range(tile.start, tile.stop)] == list(range(shape[0]))


def test_a_sample_treats_all_rows_and_columns_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.rand(600, 1, generator=generator), torch.rand(1, 500, generator=generator)
    factors = LoraFactors(a=sizes[1], b=sizes[0], scaling=1.0)
    updates = Updates(ModuleInputs("m", ("x",), (1.0,), (factors,)))
    sample, everything = updates.sample()[0], whole(updates)
    assert 5000 < len(sample) < 20_000
    for share in (0.1, 0.5, 0.9):
        found = float(sample.quantile(share))
        assert float((everything < found).double().mean()) == pytest.approx(share, abs=0.02)
    assert updates.then(torch.Tensor.neg_).sample().max() <= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_entry_as_large_as_the_threshold_stays(dtype: torch.dtype) -> None:
    values = torch.tensor([0.1, -0.3, 0.3, -0.7, 0.0], dtype=dtype)
    kept = shrink_(values.clone(), just_below(float(values[2]), dtype))
    assert kept.tolist() == [0.0, *values[1:4].tolist(), 0.0]
    assert torch.equal(shrink_(values.clone(), just_below(0.0, dtype)), values)
    tiny = torch.tensor([5e-324, 0.0], dtype=torch.float64)
    smallest = just_below(float(tiny[0]), torch.float64)
    assert shrink_(tiny.clone(), smallest).tolist() == tiny.tolist()


def test_draws_are_uniform_and_do_not_repeat() -> None:
    stream = Draws(0, "a", "m", CPU)
    draws = torch.cat([stream.next(torch.Size((300, 1001))).flatten() for _ in range(4)])
    assert (draws.dtype, int(draws.min()), int(draws.max())) == (torch.int16, -(2**15), 2**15 - 1)
    counts = torch.histc(draws.float(), 16, -(2.0**15), 2.0**15)
    assert float((counts / counts.mean() - 1).abs().max()) < 0.02
    numbers = draws.double()
    for distance in (1, 4, 1001, 300 * 1001):
        pair = torch.stack([numbers[:-distance], numbers[distance:]])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.005


@pytest.mark.parametrize("columns", [640, 2048, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ranks_of_long_rows_are_those_of_the_magnitudes(columns: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(columns)
    delta = torch.randn(12, columns, generator=generator, dtype=dtype)
    delta[3] = 0.0
    got = by_magnitude(delta)
    order = delta.abs().argsort(dim=1, descending=True, stable=True)
    ranks, wanted = got.argsort(dim=1), order.argsort(dim=1)
    # Entries of float32 that differ by a millionth of the largest may have changed places.
    off = (ranks - wanted).abs()
    assert int(off.max()) <= (2 if dtype == torch.float32 else 0)
    assert float((off > 0).double().mean()) < 0.01


@pytest.mark.parametrize("warm", [False, True])
def test_the_leading_directions_of_a_matrix_with_a_flat_tail(warm: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    b, a = torch.randn(150, 6, generator=generator), torch.randn(6, 220, generator=generator)
    matrix = b @ a + 3 * torch.randn(150, 220, generator=generator)
    _, s, _ = randomized_svd(matrix, 10, near=a if warm else None)
    exact = torch.linalg.svdvals(matrix.double())
    total = float(exact.square().sum())
    error = (total - float(s.double().square().sum())) ** 0.5
    assert error <= 1.002 * float(exact[10:].square().sum()) ** 0.5


def test_a_matrix_of_low_rank_has_no_directions_made_of_noise() -> None:
    generator = torch.Generator().manual_seed(3)
    b, a = torch.randn(90, 4, generator=generator), torch.randn(4, 80, generator=generator)
    u, s, vh = randomized_svd(b @ a, 6, near=a)
    assert float((u * s @ vh - b @ a).norm() / (b @ a).norm()) < 1e-5
    assert s.tolist() == pytest.approx(torch.linalg.svdvals(b @ a)[:4].tolist(), rel=1e-4)
    assert float((u.T @ u - torch.eye(4)).abs().max()) < 1e-4
    zero = randomized_svd(torch.zeros(90, 80), 3)
    assert not zero[1].any()


def test_a_rank_wider_than_a_block_is_reached() -> None:
    generator = torch.Generator().manual_seed(4)
    b, a = torch.randn(200, 60, generator=generator), torch.randn(60, 150, generator=generator)
    u, s, vh = randomized_svd(b @ a, 70, near=a)
    assert float((u * s @ vh - b @ a).norm() / (b @ a).norm()) < 1e-5
    assert float((u.T @ u - torch.eye(60)).abs().max()) < 1e-4
