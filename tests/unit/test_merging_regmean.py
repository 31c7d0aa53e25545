"""RegMean against dense solutions in float64 of the regression that it stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from experts.base import BaseModel
from experts.errors import Cancelled, SamError
from experts.merging import regmean
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.merge import merge
from experts.merging.moments import Moments
from tests.unit import tiny
from tests.unit.merging_data_support import (
    data_for,
    delta_of,
    experts_of,
    inputs_of,
    linear_layers,
    passes_of,
    run,
)
from tests.unit.merging_support import dense, recipe_for, relative_error

PARTS = ("layers.0.self_attn.q_proj", "layers.0.self_attn.v_proj", "layers.1.mlp.down_proj")
WEIGHTS = {"a": 0.5, "b": 0.2, "c": 0.3}
BOTH = ["regmean", "regmean_core"]


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return tiny.gemma()


@pytest.fixture(scope="module")
def experts(base: BaseModel) -> list[Adapter]:
    a, b, c = experts_of(base, PARTS)
    del b.modules[next(name for name in b.modules if "v_proj" in name)]
    return [a, b, c]


def penalties(
    base: BaseModel,
    experts: list[Adapter],
    weights: Mapping[str, float],
    module: str,
    alpha: float,
    ridge: float,
) -> list[Tensor]:
    """G̃ᵢ + λI of each expert, (in, in), by the definition."""
    passes = passes_of("regmean", weights, experts, data_for(base))
    grams = []
    for expert in experts:
        rows = inputs_of(base, expert, passes.targets[expert.name])[module]
        gram = rows.T @ rows / len(rows)
        grams.append(alpha * gram + (1 - alpha) * torch.diag(gram.diagonal()))
    sizes = [abs(w) for w in weights.values()]
    mean = sum(w * g.diagonal().mean() for w, g in zip(sizes, grams, strict=True)) / sum(sizes)
    eye = torch.eye(len(grams[0]), dtype=torch.float64)
    return [gram + ridge * mean * eye for gram in grams]


@pytest.mark.parametrize(
    ("alpha", "ridge", "weights"),
    [
        (0.9, 0.01, WEIGHTS),
        (1.0, 0.1, WEIGHTS),
        (0.0, 1e-6, WEIGHTS),
        (0.5, 0.01, {"a": 1.0, "b": -0.4, "c": 0.4}),
    ],
)
def test_regmean_is_the_papers_closed_form(
    base: BaseModel, experts: list[Adapter], alpha: float, ridge: float, weights: dict[str, float]
) -> None:
    result = run("regmean", weights, experts, data_for(base),
                 parameters={"alpha": alpha, "ridge": ridge})  # fmt: skip
    assert result.retained_energy == pytest.approx(1.0)
    for module, shape in linear_layers(base, *PARTS).items():
        over = torch.zeros(shape, dtype=torch.float64)
        under = torch.zeros(shape[1], shape[1], dtype=torch.float64)
        every = penalties(base, experts, weights, module, alpha, ridge)
        for expert, penalty, w in zip(experts, every, weights.values(), strict=True):
            over += w * delta_of(expert, module, shape) @ penalty
            under += abs(w) * penalty
        wanted = over @ torch.linalg.inv(under)
        assert relative_error(dense(result.adapter.modules[module]), wanted) < 2e-4, module


@pytest.mark.parametrize(("alpha", "ridge"), [(0.9, 0.01), (1.0, 0.1), (0.0, 0.01)])
def test_the_core_solves_the_same_problem_in_the_experts_subspace(
    base: BaseModel, experts: list[Adapter], alpha: float, ridge: float
) -> None:
    result = run("regmean_core", WEIGHTS, experts, data_for(base),
                 parameters={"alpha": alpha, "ridge": ridge})  # fmt: skip
    for module, shape in linear_layers(base, *PARTS).items():
        deltas = [delta_of(expert, module, shape) for expert in experts]
        _, s, vh = torch.linalg.svd(torch.cat(deltas), full_matrices=False)
        basis = vh[s > 1e-9 * s[0]]
        roots = [
            w**0.5 * torch.linalg.cholesky(penalty)
            for penalty, w in zip(
                penalties(base, experts, WEIGHTS, module, alpha, ridge),
                WEIGHTS.values(),
                strict=True,
            )
        ]
        # Least squares in M: Σ wᵢ‖(M·basis - ΔWᵢ)·rootᵢ‖².
        design = torch.cat([(basis @ root).T for root in roots])
        target = torch.cat([(delta @ root).T for delta, root in zip(deltas, roots, strict=True)])
        wanted = torch.linalg.lstsq(design, target).solution.T @ basis
        assert relative_error(dense(result.adapter.modules[module]), wanted) < 2e-4, module


def test_core_and_full_agree_where_the_experts_read_everything(base: BaseModel) -> None:
    experts = experts_of(base, PARTS, rank=20)
    full = run("regmean", WEIGHTS, experts, data_for(base))
    core = run("regmean_core", WEIGHTS, experts, data_for(base))
    for module, factors in full.adapter.modules.items():
        assert relative_error(dense(core.adapter.modules[module]), dense(factors)) < 1e-4


@pytest.mark.parametrize("method", BOTH)
def test_one_expert_and_its_copies_come_back(
    base: BaseModel, experts: list[Adapter], method: str
) -> None:
    alone = run(method, {"a": 0.7}, experts, data_for(base))
    copies = [dataclasses.replace(experts[0], name=name) for name in "abc"]
    thrice = run(method, dict.fromkeys("abc", 1 / 3), copies, data_for(base))
    for module, factors in experts[0].modules.items():
        for result in (alone, thrice):
            assert relative_error(dense(result.adapter.modules[module]), dense(factors)) < 1e-5


@pytest.mark.parametrize("method", BOTH)
def test_only_the_ratio_of_weights_and_no_factorisation_counts(
    base: BaseModel, experts: list[Adapter], method: str
) -> None:
    once = run(method, WEIGHTS, experts, data_for(base))
    gauged = []
    for expert in experts:
        turned = {}
        for module, f in expert.modules.items():
            turn = torch.tensor([[2.0, 0.5], [0.0, -1.0]])
            a = torch.linalg.inv(turn) @ f.a
            turned[module] = LoraFactors(a=a, b=f.b @ turn, scaling=f.scaling)
        gauged.append(dataclasses.replace(expert, modules=turned))
    twice = run(method, {name: 2 * w for name, w in WEIGHTS.items()}, gauged[::-1], data_for(base))
    for module, factors in once.adapter.modules.items():
        assert relative_error(dense(twice.adapter.modules[module]), dense(factors)) < 1e-4


@pytest.mark.parametrize("method", BOTH)
def test_the_model_stays_as_it_was_and_bytes_repeat(
    base: BaseModel, experts: list[Adapter], method: str
) -> None:
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    told: list[tuple[int, int]] = []
    results = [
        merge(recipe_for(WEIGHTS, method=method, rank=2), order, data=data_for(base),
              progress=lambda done, total, _: told.append((done, total)))
        for order in (experts, experts[::-1])
    ]  # fmt: skip
    for name, value in base.model.state_dict().items():
        assert torch.equal(value, before[name])
    for module, factors in results[0].adapter.modules.items():
        assert torch.equal(factors.a, results[1].adapter.modules[module].a)
        assert torch.equal(factors.b, results[1].adapter.modules[module].b)
        assert factors.rank == 2
    first = told[: len(told) // 2]
    assert [done / total for done, total in first] == sorted(d / t for d, t in first)
    assert first[-1][0] == first[-1][1]
    assert results[0].weights is None
    with pytest.raises(Cancelled):
        merge(recipe_for(WEIGHTS, method=method), experts, data=data_for(base),
              cancelled=lambda: True)  # fmt: skip


@pytest.mark.parametrize("method", BOTH)
def test_reading_in_parts_or_padded_changes_nothing(
    base: BaseModel, experts: list[Adapter], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = run(method, WEIGHTS, experts, data_for(base))
    monkeypatch.setattr(regmean, "_MOST_NUMBERS", 1)
    parts = run(method, WEIGHTS, experts, data_for(base))
    monkeypatch.setattr("experts.extract.can_read_packed", lambda *_: False)
    plain = run(method, WEIGHTS, experts, data_for(base))
    for module, factors in once.adapter.modules.items():
        for other in (parts, plain):
            assert relative_error(dense(other.adapter.modules[module]), dense(factors)) < 1e-4


@pytest.mark.parametrize("method", BOTH)
def test_transposed_weights_and_layers_that_no_text_reaches(method: str) -> None:
    base = tiny.gpt2()
    experts = experts_of(base, ("h.0.attn.c_attn", "h.1.mlp.c_fc", "lm_head"), names="ab")
    weights = {"a": 0.5, "b": 0.5}
    result = run(method, weights, experts, data_for(base))
    wanted = (dense(experts[0].modules["lm_head"]) + dense(experts[1].modules["lm_head"])) / 2
    assert relative_error(dense(result.adapter.modules["lm_head"]), wanted) < 1e-5
    if method == "regmean":
        name = "transformer.h.1.mlp.c_fc"
        every = penalties(base, experts, weights, name, 0.9, 0.01)
        over = sum(
            dense(expert.modules[name]) @ penalty
            for expert, penalty in zip(experts, every, strict=True)
        )
        wanted = over @ torch.linalg.inv(every[0] + every[1])
        assert relative_error(dense(result.adapter.modules[name]), wanted) < 2e-4


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("count", [3, 17, 60])
def test_few_rows_and_many_rows_solve_the_same_equation(alpha: float, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    rows = torch.randn(count, 24, generator=generator) * torch.logspace(-2, 2, 24)
    right = torch.randn(4, 24, generator=generator, dtype=torch.float64)
    moments = Moments(24, alpha)
    for part in rows.split(7):
        moments.add(part, 0.25)
    gram = 0.25 * rows.double().T @ rows.double()
    ridge = 0.01 * float(gram.diagonal().mean())
    full = alpha * gram + torch.diag((1 - alpha) * gram.diagonal() + ridge)
    wanted = right @ torch.linalg.inv(full)
    assert relative_error(moments.solve(right, ridge), wanted) < 1e-4
    assert moments.energy == pytest.approx(float(gram.diagonal().mean()), rel=1e-6)


def test_what_does_not_fit_or_is_missing_is_said_before_any_work(
    base: BaseModel, experts: list[Adapter]
) -> None:
    cases: list[tuple[Any, str]] = [
        (None, "'regmean' needs texts.*missing: texts"),
        (data_for(base, texts=[]), "missing: texts"),
        (data_for(base, types=[]), "missing: types"),
    ]
    for data, message in cases:
        with pytest.raises(SamError, match=message):
            run("regmean", WEIGHTS, experts, data)
    other = dataclasses.replace(experts[0], modules={"model.nowhere": LoraFactors(
        a=torch.ones(1, 3), b=torch.ones(2, 1), scaling=1.0)})  # fmt: skip
    with pytest.raises(SamError, match=r"The expert 'a': .*model\.nowhere"):
        run("regmean", {"a": 1.0}, [other], data_for(base))
    with pytest.raises(SamError, match="too long"):
        run("regmean", {"a": 1.0}, experts, data_for(base, expert_texts={"a": ["word " * 900]}))
