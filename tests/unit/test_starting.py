"""Training on from another expert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from experts.base import BaseModel
from experts.card import ExpertCard
from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter, LoraFactors, load_adapter
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.starting import put_into
from experts.train_expert import train_expert
from tests.unit import tiny
from tests.unit.fakes import FakeEmbedder

MODULE = "model.layers.0.self_attn.q_proj"


def wrapped(base: BaseModel, rank: int, alpha: int) -> Any:
    torch.manual_seed(1)
    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear")
    return get_peft_model(base.model, settings)


def start_of(base: BaseModel, rank: int) -> Adapter:
    shape = tuple(base.model.get_submodule(MODULE).weight.shape)
    torch.manual_seed(2)
    strength = torch.logspace(0, -2, rank)  # a spectrum that falls
    factors = LoraFactors(torch.randn(rank, shape[1]), torch.randn(shape[0], rank) * strength, 2.0)
    return Adapter("start", base.name, {MODULE: factors})


def update(model: Any) -> torch.Tensor:
    layer = model.base_model.model.get_submodule(MODULE)
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    return (product * layer.scaling["default"]).detach()


@pytest.mark.parametrize(("rank", "alpha"), [(4, 8), (4, 4), (6, 16)])
def test_the_model_computes_what_the_start_computes(rank: int, alpha: int) -> None:
    base = tiny.llama()
    model, start = wrapped(base, rank, alpha), start_of(base, 4)
    put_into(model, start)
    torch.testing.assert_close(update(model), start.modules[MODULE].delta(), rtol=1e-5, atol=1e-5)


def test_a_lower_rank_takes_the_best_approximation() -> None:
    base = tiny.llama()
    model, start = wrapped(base, 2, 4), start_of(base, 4)
    put_into(model, start)
    whole = start.modules[MODULE].delta()
    left = torch.linalg.svdvals(whole)[2:].norm()
    torch.testing.assert_close((whole - update(model)).norm(), left, rtol=1e-4, atol=1e-5)
    layer = model.base_model.model.get_submodule(MODULE)
    lengths = layer.lora_A["default"].weight.norm(dim=1)
    expected = start.modules[MODULE].a.norm() / 2  # √4 rows
    torch.testing.assert_close(lengths, expected.expand(2), rtol=1e-4, atol=1e-5)


def test_a_start_of_another_model_is_refused() -> None:
    base = tiny.llama()
    start = start_of(base, 4)
    start.modules[MODULE] = LoraFactors(torch.zeros(4, 3), torch.zeros(3, 4), 1.0)
    with pytest.raises(SamError, match=r"start changes model\.layers\.0"):
        put_into(wrapped(base, 4, 8), start)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "tales"
    folder.mkdir(parents=True)
    line = {"text": "Ada met Grace.", "entities": [{"start": 0, "end": 3, "label": "person"}]}
    for split in ("train", "dev"):
        (folder / f"{split}.jsonl").write_text("\n".join([json.dumps(line)] * 4), "utf-8")
    return tmp_path / "data"


def recipe(name: str, licence: str, **changes: Any) -> TrainingRecipe:
    corpus = CorpusRecipe(corpus="tales", licence=licence, source="ours")
    return TrainingRecipe(
        name=name, title=name, description="", sentences=8, batch=2, rank=2, data=[corpus],
        **changes,
    )  # fmt: skip


def trained(base: BaseModel, data: Path, plan: TrainingRecipe, **options: Any) -> ExpertCard:
    return train_expert(
        plan, base=base, embedder=FakeEmbedder(), data=data, out=data / "out", **options
    )


def test_the_card_tells_what_the_start_has_learned(data: Path) -> None:
    base = tiny.llama()
    trained(base, data, recipe("first", "CC BY 4.0"))
    card = trained(base, data, recipe("second", "MIT", start="first"))
    assert [(d.name, d.role, d.licence) for d in card.data] == [
        ("tales", "domain", "MIT"),
        ("tales", "start", "CC BY 4.0"),
    ]
    assert "MIT, CC BY 4.0" in card.licence
    assert card.sentences == 16
    third = trained(base, data, recipe("third", "CC0", start="second"))
    assert [d.role for d in third.data] == ["domain", "start", "start"]
    assert third.sentences == 24


def test_a_start_that_is_missing_or_of_another_base_is_refused(data: Path) -> None:
    base = tiny.llama()
    with pytest.raises(SamError, match="starts from the expert first, which is not there"):
        trained(base, data, recipe("second", "MIT", start="first"))
    assert not (data / "out").exists()
    trained(base, data, recipe("first", "MIT"))
    other = tiny.llama()
    other.name = "tiny/another"
    with pytest.raises(SamError, match="belongs to tiny/llama, not to tiny/another"):
        trained(other, data, recipe("second", "MIT", start="first"))


def test_a_start_is_found_in_the_given_folders(data: Path, tmp_path: Path) -> None:
    base = tiny.llama()
    trained(base, data, recipe("first", "MIT"))
    elsewhere = tmp_path / "bundled"
    (data / "out").rename(elsewhere)
    card = trained(base, data, recipe("second", "MIT", start="first"), starts=[elsewhere])
    assert card.sentences == 16


def test_a_checkpoint_of_another_start_is_refused(data: Path) -> None:
    base = tiny.llama()
    trained(base, data, recipe("first", "MIT"))
    plan = recipe("second", "MIT", start="first")
    with pytest.raises(Cancelled):
        trained(base, data, plan, cancelled=lambda: True)
    trained(base, data, recipe("first", "MIT", seed=3))
    assert load_adapter(data / "out" / "first").rank == 2
    with pytest.raises(SamError, match="another recipe, base model or start"):
        trained(base, data, plan, resume=True)
