"""Base models with fewer bits a weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from experts.base import load_base
from experts.errors import SamError
from experts.extract import Extractor
from experts.quantized import Int8Linear, four_bit_config, to_int8
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.training import train_adapter
from tests.unit import tiny
from tests.unit.test_extract import TYPES, random_adapter


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_int8_layer_is_close_to_the_layer(bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 48, bias=bias).to(dtype).requires_grad_(False)
    x = torch.randn(2, 5, 64).to(dtype) * torch.tensor([0.01, 100.0]).view(2, 1, 1).to(dtype)
    expected, mine = layer(x), Int8Linear(layer)(x)
    assert mine.dtype == dtype
    assert mine.shape == expected.shape
    for a, b in zip(mine.float(), expected.float(), strict=True):  # of any size
        assert float((a - b).norm() / b.norm()) < 0.02


def test_zeros_and_single_tokens() -> None:
    layer = Int8Linear(nn.Linear(8, 3))
    assert torch.allclose(layer(torch.zeros(1, 1, 8)), layer.bias)
    zero = nn.Linear(8, 3, bias=False)
    nn.init.zeros_(zero.weight)
    assert not Int8Linear(zero)(torch.randn(4, 8)).any()


def test_an_int8_base_extracts_with_adapters_beside_it() -> None:
    base = tiny.llama()
    head = base.model.get_output_embeddings()
    replaced = to_int8(base.model, keep=head)
    assert replaced == 2 * 7
    assert type(base.model.get_output_embeddings()) is nn.Linear
    base.quantization = "int8"
    extractor = Extractor(base)
    assert extractor.packed
    before = {n: b.clone() for n, b in base.model.named_buffers()}
    plain = extractor.extract(tiny.TEXTS, TYPES)
    adapter = random_adapter(base, 1)
    adapted = extractor.extract(tiny.TEXTS, TYPES, adapter=adapter)
    assert adapted != plain
    assert extractor.extract_each(tiny.TEXTS, TYPES, [adapter]) == [adapted]
    assert extractor.extract(tiny.TEXTS, TYPES) == plain
    assert all(torch.equal(before[n], b) for n, b in base.model.named_buffers())
    with pytest.raises(ValueError, match="quantized"), base.adapted(adapter.products()):
        pass


def test_a_quantized_base_is_not_trained(tmp_path: Path) -> None:
    base = tiny.llama()
    base.quantization = "int8"
    recipe = TrainingRecipe(
        name="x", title="", description="", data=[CorpusRecipe(corpus="c", licence="", source="")]
    )
    with pytest.raises(SamError, match="int8 cannot be trained"):
        train_adapter(base, recipe, None, tmp_path)  # type: ignore[arg-type]


def test_formats_that_a_device_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(SamError, match="needs an NVIDIA GPU; the device is cpu"):
        four_bit_config(torch.bfloat16, torch.device("cpu"))
    with pytest.raises(SamError, match="needs an NVIDIA GPU"):
        load_base("", data_dir=tmp_path, device="cpu", dtype="nf4")
    with pytest.raises(SamError, match="int8 is for the CPU; the device is meta"):
        load_base("", data_dir=tmp_path, device="meta", dtype="int8")
    with pytest.raises(SamError, match="'int3' is not known"):
        load_base("", data_dir=tmp_path, device="cpu", dtype="int3")


def test_four_bits_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SamError, match="needs the package bitsandbytes"):
        four_bit_config(torch.bfloat16, torch.device("cuda"))
