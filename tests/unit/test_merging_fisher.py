"""Fisher merging against gradients that the model itself gives, sentence by sentence."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from experts.base import BaseModel
from experts.errors import Cancelled, SamError
from experts.head import CandidateHead
from experts.merging import fisher
from experts.merging.adapters import Adapter
from experts.merging.merge import merge
from experts.merging.registry import MergeContext
from experts.training import _SAMPLED_VOCABULARY
from tests.unit import tiny
from tests.unit.merging_data_support import (
    data_for,
    delta_of,
    densely,
    experts_of,
    linear_layers,
    passes_of,
    run,
)
from tests.unit.merging_support import dense, recipe_for, relative_error

PARTS = ("layers.0.self_attn.v_proj", "layers.1.mlp.down_proj")
WEIGHTS = {"a": 0.7, "b": 0.3}


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return tiny.gemma()


@pytest.fixture(scope="module")
def experts(base: BaseModel) -> list[Adapter]:
    a, b = experts_of(base, PARTS, names="ab", rank=16)
    del b.modules[next(name for name in b.modules if "v_proj" in name)]
    return [a, b]


def likelihood(base: BaseModel, target: Any) -> Tensor:
    """log p of a sentence's answers, every branch read alone behind the text."""
    row = target.row
    tokens = torch.tensor(row.tokens)
    generator = torch.Generator().manual_seed(0)
    vocabulary = base.model.get_output_embeddings().weight.shape[0]
    sample = torch.randint(vocabulary, (_SAMPLED_VOCABULARY,), generator=generator)
    candidates = torch.unique(torch.cat([tokens, sample]))
    total = torch.zeros(())
    for (begin, end), branch in zip(row.bounds, row.branches, strict=True):
        ids = torch.tensor([[*row.prefix, *branch]])
        logits = base.model(input_ids=ids, use_cache=False).logits[0][:, candidates]
        scores = logits.log_softmax(-1)
        for index in target.predict:
            if begin <= index < end:
                column = int(torch.searchsorted(candidates, tokens[index + 1]))
                total = total + scores[len(row.prefix) + index - begin, column]
    return total


def fisher_of(base: BaseModel, expert: Adapter, targets: list[Any], name: str) -> Tensor:
    """Mean of the squared gradients with respect to a layer's dense weight, (out, in) float64."""
    module = dict(base.model.named_modules())[name]
    squares = []
    with densely(base, expert):
        for target in targets:
            (gradient,) = torch.autograd.grad(likelihood(base, target), [module.weight])
            conv = type(module).__name__ == "Conv1D"
            squares.append((gradient.T if conv else gradient).double().square())
    return torch.stack(squares).mean(0)


@pytest.mark.parametrize(
    ("weights", "parameters"),
    [
        (WEIGHTS, {"floor": 0.1, "balance": True}),
        ({"a": 0.7, "b": -0.3}, {"floor": 1e-3, "balance": False}),
    ],
)
def test_fisher_is_the_weighted_average_of_the_paper(
    base: BaseModel, experts: list[Adapter], weights: dict[str, float], parameters: dict[str, Any]
) -> None:
    data = data_for(base)
    result = run("fisher", weights, experts, data, rank=32, parameters=parameters)
    assert result.retained_energy == pytest.approx(1.0)
    passes = passes_of("fisher", weights, experts, data)
    for module, shape in linear_layers(base, *PARTS).items():
        over = torch.zeros(shape, dtype=torch.float64)
        under = torch.zeros(shape, dtype=torch.float64)
        for expert, weight in zip(experts, weights.values(), strict=True):
            information = fisher_of(base, expert, passes.targets[expert.name], module)
            assert float(information.mean()) > 0
            information = information + parameters["floor"] * information.mean()
            if parameters["balance"]:
                information = information / (information.mean() / (1 + parameters["floor"]))
            over += weight * information * delta_of(expert, module, shape)
            under += abs(weight) * information
        assert relative_error(dense(result.adapter.modules[module]), over / under) < 1e-3, module


def test_transposed_weights_padding_and_layers_without_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = tiny.gpt2()
    experts = experts_of(base, ("h.1.mlp.c_fc", "lm_head"), names="ab")
    name = "transformer.h.1.mlp.c_fc"
    wanted = passes_of("fisher", WEIGHTS, experts, data_for(base))
    direct = fisher_of(base, experts[0], wanted.targets["a"], name)
    for packed in (True, False):
        monkeypatch.setattr("experts.extract.can_read_packed", lambda *_, packed=packed: packed)
        passes = passes_of("fisher", WEIGHTS, experts, data_for(base))
        assert passes.plain is not packed
        head = CandidateHead(base.model)
        context = MergeContext((), (), {}, None, torch.device("cpu"), data_for(base))
        found = fisher.squared_gradients(passes, head, experts[0], [name], context)[name]
        assert relative_error(found, direct) < 1e-3
    result = run("fisher", WEIGHTS, experts, data_for(base))
    mean = 0.7 * dense(experts[0].modules["lm_head"]) + 0.3 * dense(experts[1].modules["lm_head"])
    assert relative_error(dense(result.adapter.modules["lm_head"]), mean) < 1e-4


def test_the_model_stays_as_it_was_bytes_repeat_and_parts_change_nothing(
    base: BaseModel, experts: list[Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    told: list[float] = []
    once = merge(recipe_for(WEIGHTS, method="fisher"), experts, data=data_for(base),
                 progress=lambda done, total, _: told.append(done / total))  # fmt: skip
    monkeypatch.setattr(fisher, "_MOST_NUMBERS", 1)
    doubled = {name: 2 * weight for name, weight in WEIGHTS.items()}
    again = run("fisher", doubled, experts[::-1], data_for(base))
    assert told == sorted(told)
    assert told[-1] == 1
    for name, value in base.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in base.model.parameters())
    for module, factors in once.adapter.modules.items():
        assert relative_error(dense(again.adapter.modules[module]), dense(factors)) < 1e-5
        assert factors.rank == sum(e.modules[module].rank for e in experts if module in e.modules)
    assert once.weights is None
    with pytest.raises(Cancelled):
        merge(recipe_for(WEIGHTS, method="fisher"), experts, data=data_for(base),
              cancelled=lambda: True)  # fmt: skip


def test_one_expert_and_its_copies_come_back(base: BaseModel, experts: list[Adapter]) -> None:
    copies = [dataclasses.replace(experts[0], name=name) for name in "ab"]
    alone = run("fisher", {"a": 0.7}, experts, data_for(base))
    twice = run("fisher", {"a": 0.5, "b": 0.5}, copies, data_for(base))
    for module, factors in experts[0].modules.items():
        for result in (alone, twice):
            assert relative_error(dense(result.adapter.modules[module]), dense(factors)) < 1e-4


def test_a_quantized_base_is_refused(base: BaseModel, experts: list[Adapter]) -> None:
    quantized = dataclasses.replace(base, quantization="int8")
    with pytest.raises(SamError, match="cannot look inside a base model in int8"):
        run("fisher", WEIGHTS, experts, data_for(quantized))
