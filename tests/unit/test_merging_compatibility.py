"""The comparison of experts against dense float64 matrices."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.compatibility import Compatibility, compare
from experts.merging.compatibility_words import conflict_words, cosine_words, rank_words
from experts.merging.merge import merge
from tests.unit.merging_support import SHAPES, dense, dense_sum, random_adapter, recipe_for


def deltas(adapter: Adapter) -> dict[str, Tensor]:
    return {name: dense(factors) for name, factors in adapter.modules.items()}


def dense_cosine(first: Adapter, second: Adapter) -> float:
    one, two = deltas(first), deltas(second)
    inner = sum(float((one[m] * two[m]).sum()) for m in one.keys() & two.keys())
    sizes = [math.sqrt(sum(float(d.square().sum()) for d in x.values())) for x in (one, two)]
    return inner / (sizes[0] * sizes[1])


def dense_overlap(first: Tensor, second: Tensor) -> float:
    """From full SVDs: mean of columns and rows, both ways, each direction by its energy."""
    total = 0.0
    for one, two in ((first, second), (second, first)):
        for mine, other in ((one, two), (one.T, two.T)):
            u, s, _ = torch.linalg.svd(mine, full_matrices=False)
            v, t, _ = torch.linalg.svd(other, full_matrices=False)
            basis = v[:, t > 1e-9 * t[0]]
            share = s.square() / s.square().sum()
            total += float((share * (basis.T @ u).square().sum(0)).sum()) / 4
    return total


def dense_conflict(pairs: list[tuple[Tensor, Tensor]]) -> float:
    both = against = 0
    for one, two in pairs:
        there = (one.abs() >= one.square().mean().sqrt()) & (
            two.abs() >= two.square().mean().sqrt()
        )
        both += int(there.sum())
        against += int((there & (one.sign() != two.sign())).sum())
    return against / both


def related(name: str, other: Adapter, seed: int, share: float) -> Adapter:
    """An adapter that keeps `share` of another's B and shares its A."""
    fresh = random_adapter(
        name,
        seed,
        shapes={m: f.shape for m, f in other.modules.items()},
        rank=next(iter(other.modules.values())).rank,
    )
    for module, factors in fresh.modules.items():
        theirs = other.modules[module]
        fresh.modules[module] = dataclasses.replace(
            factors, a=theirs.a, b=share * theirs.b + (1 - share) * factors.b
        )
    return fresh


def test_all_numbers_agree_with_dense_matrices() -> None:
    first = random_adapter("a", 1, scaling=2.0)
    experts = [first, related("b", first, 2, 0.6), random_adapter("c", 3, rank=2)]
    result = compare(experts, ranks=(1, 2, 4))
    for i, one in enumerate(experts):
        size = math.sqrt(sum(float(d.square().sum()) for d in deltas(one).values()))
        assert result.norms[i] == pytest.approx(size)
        for j, two in enumerate(experts):
            assert result.cosine[i][j] == pytest.approx(dense_cosine(one, two), abs=1e-9)
            both = list(zip(deltas(one).values(), deltas(two).values(), strict=True))
            # So small a layer is counted out.
            assert result.conflict[i][j] == pytest.approx(dense_conflict(both))
            assert result.conflict_error[i][j] == 0
            weights = [float(x.norm() * y.norm()) for x, y in both]
            overlaps = [dense_overlap(x, y) for x, y in both]
            mean = sum(w * o for w, o in zip(weights, overlaps, strict=True)) / sum(weights)
            assert result.overlap[i][j] == pytest.approx(mean, abs=1e-7)
    for module in SHAPES:
        part = result.per_module[module]
        x, y = (deltas(experts[k])[module] for k in (0, 1))
        assert part.cosine[0][1] == pytest.approx(float((x * y).sum() / (x.norm() * y.norm())))
        assert part.conflict[0][1] == pytest.approx(dense_conflict([(x, y)]))
        assert part.overlap[0][1] == pytest.approx(dense_overlap(x, y), abs=1e-7)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_predicted_loss_is_that_of_the_merge(rank: int) -> None:
    experts = [random_adapter("a", 1), random_adapter("b", 2, rank=2)]
    weights = {"a": 0.7, "b": -0.4}
    predicted = compare(experts, weights=list(weights.values()), ranks=(rank,))
    merged = merge(recipe_for(weights, rank=rank), experts)
    assert predicted.retained[rank] == pytest.approx(merged.retained_energy, abs=1e-6)
    for module, share in merged.per_module.items():
        assert predicted.per_module[module].retained[rank] == pytest.approx(share, abs=1e-6)
        s = torch.linalg.svdvals(dense_sum(experts, [0.7, -0.4], module)).square()
        wanted = float(s[:rank].sum() / s.sum())
        assert predicted.per_module[module].retained[rank] == pytest.approx(wanted, abs=1e-9)


def test_sampled_conflicts_are_near_the_true_ones_and_say_how_near() -> None:
    shapes = {"x": (300, 260), "y": (180, 320)}
    first = random_adapter("a", 1, shapes=shapes, rank=4)
    experts = [first, related("b", first, 2, 0.5), random_adapter("c", 3, shapes=shapes, rank=4)]
    inside = 0
    for seed in range(8):
        result = compare(experts, seed=seed)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            both = [(dense(experts[i].modules[m]), dense(experts[j].modules[m])) for m in shapes]
            error = result.conflict_error[i][j]
            assert 0 < error < 0.03
            off = abs(result.conflict[i][j] - dense_conflict(both))
            assert off < 4.5 * error
            inside += off < 1.96 * error
    assert inside >= 0.75 * 24  # nominally 95 %, but the 24 are not independent
    assert result.conflict[0][1] < 0.3 < result.conflict[0][2]


def test_the_same_seed_draws_the_same_sample() -> None:
    shapes = {"x": (200, 200)}
    experts = [random_adapter(name, seed, shapes=shapes) for seed, name in enumerate("ab")]
    assert compare(experts, seed=3) == compare(experts, seed=3)
    assert compare(experts, seed=3).conflict != compare(experts, seed=4).conflict


def test_nothing_of_the_size_of_a_layer_is_formed() -> None:
    wide = 40_000  # dense: 12.8 GB an expert
    experts = []
    for number, name in enumerate("ab"):
        generator = torch.Generator().manual_seed(number)
        factors = LoraFactors(
            a=torch.randn(2, wide, generator=generator),
            b=torch.randn(wide, 2, generator=generator),
            scaling=1.0,
        )
        experts.append(Adapter(name, "base", {"m": factors}))
    result = compare(experts)
    assert abs(result.cosine[0][1]) < 0.05
    assert abs(result.conflict[0][1] - 0.5) < 5 * result.conflict_error[0][1] + 0.02


def test_copies_opposites_and_strangers() -> None:
    expert = random_adapter("a", 1)
    copy = dataclasses.replace(expert, name="b")
    opposite = Adapter(
        "c", expert.base_model, {m: dataclasses.replace(f, scaling=-3.0)
                                 for m, f in expert.modules.items()},
    )  # fmt: skip
    elsewhere = random_adapter("d", 4, shapes={"layers.9.o": (5, 7)})
    result = compare([expert, copy, opposite, elsewhere])
    assert result.cosine[0] == pytest.approx((1, 1, -1, 0))
    assert result.overlap[0][1:3] == pytest.approx((1, 1))
    assert result.conflict[0][:3] == pytest.approx((0, 0, 1))
    assert result.overlap[0][3] == 0
    assert math.isnan(result.conflict[0][3])
    said = result.pair_sentences({"a": "Astronomy", "b": "Biology"})
    assert said[0, 1].startswith("Astronomy and Biology: They are the same expert.")
    assert "undo each other" in said[0, 2]
    assert "opposite directions in 100 % of the places they both change" in said[0, 2]
    assert "no place that both of them change" in said[0, 3]


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ranks=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    seed=st.integers(0, 10_000),
)
def test_any_shapes_and_ranks(shape: tuple[int, int], ranks: list[int], seed: int) -> None:
    experts = [
        random_adapter(f"e{i}", seed + i, shapes={"m": shape}, rank=rank, scaling=0.5 + i)
        for i, rank in enumerate(ranks)
    ]
    result = compare(experts)
    for i, one in enumerate(experts):
        for j, two in enumerate(experts):
            assert result.cosine[i][j] == pytest.approx(dense_cosine(one, two), abs=1e-5)
            assert result.cosine[i][j] == result.cosine[j][i]
            assert 0 <= result.overlap[i][j] <= 1
            assert math.isnan(result.conflict[i][j]) or 0 <= result.conflict[i][j] <= 1
    shares = list(result.retained.values())
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_the_factorisation_does_not_matter() -> None:
    first, second = random_adapter("a", 1), random_adapter("b", 2)
    turn = torch.randn(3, 3, generator=torch.Generator().manual_seed(3)).double()
    gauged = Adapter("a", first.base_model, {})
    for module, factors in first.modules.items():
        a = torch.linalg.inv(turn) @ factors.a.double()
        gauged.modules[module] = LoraFactors(a=a, b=factors.b.double() @ turn, scaling=1.0)
    plain, other = compare([first, second]), compare([gauged, second])
    assert other.cosine[0] == pytest.approx(plain.cosine[0], abs=1e-6)
    assert other.overlap[0] == pytest.approx(plain.overlap[0], abs=1e-6)
    assert other.conflict[0] == pytest.approx(plain.conflict[0], abs=1e-6)


def test_json_has_no_nan_and_layers_on_request() -> None:
    result = compare([random_adapter("a", 1), random_adapter("b", 2, shapes={"z": (3, 4)})])
    document = json.loads(json.dumps(result.to_dict(modules=True), allow_nan=False))
    assert document["experts"] == ["a", "b"]
    assert document["conflict"][0][1] is None
    assert set(document["modules"]) == {*SHAPES, "z"}
    assert [entry["rank"] for entry in document["ranks"]] == list(result.retained)
    assert document["pairs"][0]["experts"] == ["a", "b"]
    assert "modules" not in result.to_dict()


def test_zero_updates_are_compared_without_a_fuss() -> None:
    first, second = random_adapter("a", 1), random_adapter("b", 2)
    for module, factors in second.modules.items():
        second.modules[module] = dataclasses.replace(factors, b=torch.zeros_like(factors.b))
    result = compare([first, second])
    assert result.cosine[0][1] == result.overlap[0][1] == 0
    both_zero = compare([second, dataclasses.replace(second, name="c")])
    assert set(both_zero.retained.values()) == {1.0}


def test_what_cannot_be_compared_is_refused() -> None:
    expert, other = random_adapter("a", 1), random_adapter("b", 2)
    cases = [
        ([expert], "nothing to compare"),
        ([expert, expert], "named twice"),
        ([expert, random_adapter("b", 2, base="another/base")], "different base models"),
        ([expert, random_adapter("b", 2, shapes={"layers.0.q": (3, 4)})], "shape of layers.0.q"),
        ([Adapter("a", "x"), Adapter("b", "x")], "no layer at all"),
    ]
    for adapters, said in cases:
        with pytest.raises(SamError, match=said):
            compare(adapters)
    with pytest.raises(Cancelled):
        compare([expert, other], cancelled=lambda: True)


def test_progress_counts_layers() -> None:
    seen: list[tuple[int, int, str]] = []
    compare(
        [random_adapter("a", 1), random_adapter("b", 2)],
        progress=lambda done, total, name: seen.append((done, total, name)),
    )
    assert [done for done, _, _ in seen] == [1, 2, 3]
    assert {name for _, _, name in seen} == set(SHAPES)


def test_words() -> None:
    assert "31 % (± 4) of the places they both change, less than chance" in conflict_words(
        0.31, 0.02
    )
    assert "as by chance" in conflict_words(0.5, 0.0)
    assert "more than chance" in conflict_words(0.8, 0.0)
    assert "different things" in cosine_words(0.0)
    assert rank_words(16, 0.942) == "Merged at rank 16 they keep 94 % of their knowledge."
    assert rank_words(64, 1.0) == "Merged at rank 64 they keep everything."
    assert isinstance(compare([random_adapter("a", 1), random_adapter("b", 2)]), Compatibility)
