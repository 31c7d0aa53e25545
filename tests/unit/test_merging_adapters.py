"""Adapters in PEFT's format, in and out, with PEFT itself as the judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from experts.errors import SamError
from experts.merging.adapters import Adapter, LoraFactors, content_hash, load_adapter, save_adapter
from experts.merging.merge import merge
from tests.unit.merging_support import (
    BASE,
    dense,
    dense_sum,
    edit_config,
    logits,
    random_adapter,
    recipe_for,
    relative_error,
    tiny_expert,
    tiny_model,
)

PREFIX = "base_model.model."


def peft_deltas(model: PeftModel) -> dict[str, torch.Tensor]:
    return {
        name: module.get_delta_weight("default").detach()
        for name, module in model.base_model.model.named_modules()
        if hasattr(module, "get_delta_weight")
    }


@pytest.mark.filterwarnings("ignore:The following rank_pattern keys did not match")
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"lora_alpha": 3},
        {"use_rslora": True},
        {"init_lora_weights": "gaussian"},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 5}},
        {"rank_pattern": {r"layers\.1\.self_attn\.(q|v)_proj": 1, "down_proj": 3}},
        {"rank_pattern": {"^model.layers.0.self_attn.q_proj": 6}, "use_rslora": True},
        {"alpha_pattern": {".*down_proj": 1, "layers.0.mlp.down_proj": 100}, "use_rslora": True},
        {"rank_pattern": {"proj": 2}},
        {"target_modules": "all-linear"},
        {"layers_to_transform": [1]},
    ],
)
def test_deltas_are_those_of_peft(tmp_path: Path, config: dict[str, Any]) -> None:
    wanted = peft_deltas(tiny_expert(tmp_path / "x", seed=1, **config))
    adapter = load_adapter(tmp_path / "x", expected_base=BASE)
    assert set(adapter.modules) == set(wanted)
    assert adapter.name == "x"
    for module, delta in wanted.items():
        assert relative_error(adapter.modules[module].delta(), delta) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_into_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    tiny_expert(tmp_path, seed=1)
    weights = {k: v.to(dtype) for k, v in load_file(tmp_path / "adapter_model.safetensors").items()}
    save_file(weights, tmp_path / "adapter_model.safetensors")
    adapter = load_adapter(tmp_path)
    key = "model.layers.0.self_attn.q_proj"
    assert adapter.modules[key].a.dtype == torch.float32
    assert torch.equal(adapter.modules[key].a, weights[f"{PREFIX}{key}.lora_A.weight"].float())


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize(("method", "rank"), [("linear", None), ("linear", 3), ("ties", 5)])
def test_a_saved_merge_gives_the_logits_of_the_dense_update(
    tmp_path: Path, kind: str, method: str, rank: int | None
) -> None:
    tiny_expert(tmp_path / "a", seed=1, kind=kind, use_rslora=True)
    tiny_expert(tmp_path / "b", seed=2, kind=kind, r=2, target_modules=["q_proj", "o_proj"])
    experts = [load_adapter(tmp_path / name) for name in "ab"]
    result = merge(recipe_for({"a": 0.8, "b": -0.4}, method=method, rank=rank), experts)
    save_adapter(result.adapter, tmp_path / "out", dtype=torch.float32)

    loaded = PeftModel.from_pretrained(tiny_model(kind), str(tmp_path / "out")).eval()
    reference = tiny_model(kind)
    for module, factors in result.adapter.modules.items():
        delta = dense(factors)
        if (method, rank) == ("linear", None):
            assert relative_error(delta, dense_sum(experts, [0.8, -0.4], module)) < 1e-6
        reference.get_submodule(module).weight.data += delta.float()
    assert list(loaded.peft_config) == ["default"]
    assert torch.allclose(logits(loaded), logits(reference), atol=2e-5)
    assert not torch.allclose(logits(loaded), logits(tiny_model(kind)), atol=1e-2)


def test_what_is_written(tmp_path: Path) -> None:
    adapter = Adapter(
        "x",
        BASE,
        {
            "model.layers.0.q": LoraFactors(torch.ones(2, 5), torch.ones(4, 2), 2.0),
            "model.layers.1.q": LoraFactors(torch.ones(1, 5), torch.ones(4, 1), 0.5),
        },
    )
    save_adapter(adapter, tmp_path / "out", base_model="hub/model", revision="abc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "hub/model"
    assert config["revision"] == "abc"
    assert config["r"] == config["lora_alpha"] == 2
    assert config["use_rslora"] is False
    assert config["target_modules"] == ["model.layers.0.q", "model.layers.1.q"]
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    again = load_adapter(tmp_path / "out")
    for module, factors in adapter.modules.items():
        assert again.modules[module].rank == 2
        assert torch.equal(again.modules[module].delta(), factors.delta())


def test_short_target_names_where_they_are_known_to_fit(tmp_path: Path) -> None:
    tiny_expert(tmp_path / "a", seed=1)
    tiny_expert(tmp_path / "b", seed=2, target_modules=["q_proj", "o_proj"])
    tiny_expert(tmp_path / "c", seed=3, layers_to_transform=[1])
    a, b, c = (load_adapter(tmp_path / name) for name in "abc")

    def targets(recipe: Any, adapters: list[Adapter], out: str) -> list[str]:
        save_adapter(merge(recipe, adapters).adapter, tmp_path / out)
        names = json.loads((tmp_path / out / "adapter_config.json").read_text())["target_modules"]
        assert isinstance(names, list)
        return names

    assert targets(recipe_for({"a": 1, "b": 1}), [a, b], "ab") == [
        "down_proj", "o_proj", "q_proj", "v_proj",
    ]  # fmt: skip
    assert targets(recipe_for({"a": 0, "b": 1}), [a, b], "b only") == ["o_proj", "q_proj"]
    only_layer_1 = targets(recipe_for({"c": 1}), [c], "c only")
    assert only_layer_1 == sorted(c.modules)
    assert all("layers.1." in name for name in only_layer_1)
    model = PeftModel.from_pretrained(tiny_model(), str(tmp_path / "c only"))
    assert set(peft_deltas(model)) == set(c.modules)


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        tiny_expert(tmp_path / name, seed=seed)
    for out in ("one", "two"):
        experts = [load_adapter(tmp_path / name) for name in "ab"]
        result = merge(recipe_for({"a": 0.5, "b": 0.5}, method="ties"), experts)
        save_adapter(result.adapter, tmp_path / out)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_saving_never_destroys_what_is_there(tmp_path: Path) -> None:
    adapter = random_adapter("a", 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(SamError, match="exists already"):
            save_adapter(adapter, tmp_path / "mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"

    (tmp_path / "empty").mkdir()
    save_adapter(adapter, tmp_path / "empty")
    with pytest.raises(SamError, match="exists already"):
        save_adapter(adapter, tmp_path / "empty")
    save_adapter(random_adapter("b", 2), tmp_path / "empty", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "mine"]
    (tmp_path / "file").write_text("")
    with pytest.raises(SamError, match=r"exists already|cannot be written"):
        save_adapter(adapter, tmp_path / "file" / "inside")


def test_saving_refuses_nothing_and_infinity(tmp_path: Path) -> None:
    with pytest.raises(SamError, match="adapts no layer"):
        save_adapter(Adapter("a", BASE), tmp_path / "out")
    with pytest.raises(SamError, match="float16 cannot hold"):
        save_adapter(random_adapter("a", 1, scaling=1e6), tmp_path / "out", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    tiny_expert(tmp_path / "a", seed=1)
    first = content_hash(load_adapter(tmp_path / "a"))
    assert len(first) == 64
    assert content_hash(load_adapter(tmp_path / "a", name="other")) == first
    edit_config(tmp_path / "a", lora_alpha=9)
    assert content_hash(load_adapter(tmp_path / "a")) != first
    tiny_expert(tmp_path / "b", seed=2)
    assert content_hash(load_adapter(tmp_path / "b")) != first


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases \\(bias=all\\)"),
        ({"bias": "lora_only"}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "fully trained modules"),
        ({"target_parameters": ["experts.w"]}, "single parameters"),
        ({"trainable_token_indices": [1]}, "trainable tokens"),
        ({"layer_replication": [[0, 1]]}, "layer replication"),
        ({"lora_bias": True}, "a bias in LoRA's B"),
        ({"alora_invocation_tokens": [1]}, "activated LoRA"),
        ({"use_qalora": True}, "QALoRA"),
        ({"use_bdlora": {"nblocks": 2}}, "block-diagonal"),
        ({"arrow_config": {"top_k": 2}}, "Arrow"),
        ({"kasa_config": {"beta": 1}}, "KaSA"),
        ({"megatron_config": {"x": 1}}, "Megatron"),
        ({"ensure_weight_tying": True}, "tied"),
        ({"some_new_feature": True}, "unknown here \\(some_new_feature\\)"),
        ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4', which changes the base"),
        ({"init_lora_weights": "olora"}, "'olora'"),
        ({"peft_type": "IA3"}, "not LoRA but IA3"),
        ({"peft_type": None}, "not LoRA but unknown"),
        ({"r": 0}, "r is '0'"),
        ({"r": "many"}, "r is 'many'"),
        ({"lora_alpha": None}, "lora_alpha is 'None'"),
        ({"lora_alpha": float("nan")}, "lora_alpha is 'nan'"),
        ({"rank_pattern": {"q_proj": 0}}, "rank_pattern"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern"),
        ({"alpha_pattern": {"(": 1}}, "alpha_pattern is '\\('"),
        ({"base_model_name_or_path": 5}, "base_model_name_or_path"),
        ({"r": 5}, "says rank 5"),
        ({"rank_pattern": {"q_proj": 2}}, "q_proj; adapter_config.json says rank 2"),
    ],
)
def test_unsupported_configs_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], feature: str
) -> None:
    tiny_expert(tmp_path / "law", seed=1)
    edit_config(tmp_path / "law", **change)
    with pytest.raises(SamError, match=feature) as caught:
        load_adapter(tmp_path / "law")
    assert "'law'" in caught.value.what
    assert caught.value.hint


Q = f"{PREFIX}model.layers.0.self_attn.q_proj"


def _rename(old: str, new: str) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda weights: weights.update({new: weights.pop(old)})


def _add(key: str, *shape: int) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda weights: weights.update({key: torch.ones(*shape)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(f"{Q}.lora_B.weight"), "lacks LoRA's B for model.layers.0.self_attn.q"),
        (lambda w: w.pop(f"{Q}.lora_A.weight"), "lacks LoRA's A for model.layers.0.self_attn.q"),
        (_add(f"{Q}.lora_A.weight", 3, 16), "q_proj; adapter_config.json says rank 4"),
        (_add(f"{Q}.lora_B.weight", 16, 5), "q_proj; adapter_config.json says rank 4"),
        (_add(f"{Q}.lora_A.weight", 4, 16, 1, 1), "not a linear layer"),
        (_add(f"{Q}.lora_A.weight", 4, 0), "q_proj"),
        (_add(f"{Q}.lora_magnitude_vector", 16), "DoRA in model.layers.0.self_attn.q_proj"),
        (_add(f"{Q}.lora_B.bias", 16), "a bias in LoRA's B in model.layers.0.self_attn.q_proj"),
        (_add(f"{PREFIX}model.embed_tokens.lora_embedding_A", 4, 48), "LoRA on an embedding"),
        (_add(f"{PREFIX}lm_head.weight", 48, 16), "weights beside LoRA's in lm_head"),
        (_rename(f"{Q}.lora_A.weight", f"{Q}.lora_A.other.weight"), "q_proj.lora_A.other.weight"),
        (_rename(f"{Q}.lora_A.weight", "elsewhere.lora_A.weight"), "elsewhere"),
        (lambda w: w[f"{Q}.lora_A.weight"].fill_(torch.nan), "not finite in model.layers.0.self"),
        (lambda w: w[f"{Q}.lora_B.weight"].fill_(torch.inf), "not finite in model.layers.0.self"),
        (
            lambda w: w.update({f"{Q}.lora_A.weight": torch.ones(4, 16, dtype=torch.int8)}),
            "stores model.layers.0.self_attn.q_proj as I8",
        ),
        (lambda w: w.clear(), "contains no LoRA weights"),
    ],
)
def test_bad_weights_are_refused_naming_the_module(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    tiny_expert(tmp_path / "law", seed=1)
    file = tmp_path / "law" / "adapter_model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file)
    with pytest.raises(SamError, match=message) as caught:
        load_adapter(tmp_path / "law")
    assert "'law'" in caught.value.what


def test_what_peft_itself_saves_with_such_features_is_refused(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "fully trained modules"),
        ({"lora_bias": True}, "bias in LoRA"),
        ({"trainable_token_indices": [1, 2]}, "trainable tokens"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "embedding|beside LoRA"),
    ]
    for number, (config, message) in enumerate(cases):
        tiny_expert(tmp_path / str(number), seed=1, **config)
        with pytest.raises(SamError, match=message):
            load_adapter(tmp_path / str(number))


def test_folders_that_are_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(SamError, match=r"'none' has no adapter_config\.json"):
        load_adapter(tmp_path / "none")
    folder = tmp_path / "law"
    tiny_expert(folder, seed=1)
    weights = folder / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(SamError, match=r"cannot be read.*copy or download"):
        load_adapter(folder)
    weights.unlink()
    with pytest.raises(SamError, match=r"no adapter_model\.safetensors.*save_pretrained"):
        load_adapter(folder)
    (folder / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(SamError, match="Pickle files can run code"):
        load_adapter(folder)
    for text in ("{", "[]", "\udcff", "[" * 100_000):
        (folder / "adapter_config.json").write_text(text, errors="surrogateescape")
        with pytest.raises(SamError, match="not a JSON object"):
            load_adapter(folder)


def test_another_base_model_is_refused(tmp_path: Path) -> None:
    tiny_expert(tmp_path / "law", seed=1)
    with pytest.raises(SamError, match="'law' was trained on the base model 'example/base'"):
        load_adapter(tmp_path / "law", expected_base="google/gemma-3-270m")
    shapes = {
        name: (module.out_features, module.in_features)
        for name, module in tiny_model().named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    load_adapter(tmp_path / "law", expected_shapes=shapes)
    shapes["model.layers.1.mlp.down_proj"] = (16, 99)
    with pytest.raises(SamError, match=r"down_proj with 16×24 numbers; the base model has 16×99"):
        load_adapter(tmp_path / "law", expected_shapes=shapes)
    del shapes["model.layers.1.mlp.down_proj"]
    with pytest.raises(SamError, match="no such layer"):
        load_adapter(tmp_path / "law", expected_shapes=shapes)
