"""What the tests of `experts.merging` share: random adapters, a dense reference, tiny models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.recipe import Recipe, RecipeExpert

BASE = "example/base"
SHAPES = {"layers.0.q": (12, 10), "layers.0.down": (10, 20), "layers.1.q": (12, 10)}


def random_adapter(
    name: str,
    seed: int,
    *,
    shapes: Mapping[str, tuple[int, int]] = SHAPES,
    rank: int = 3,
    scaling: float = 1.0,
    base: str = BASE,
) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    return Adapter(
        name,
        base,
        {
            module: LoraFactors(
                a=torch.randn(rank, shape[1], generator=generator),
                b=torch.randn(shape[0], rank, generator=generator),
                scaling=scaling,
            )
            for module, shape in shapes.items()
        },
    )


def recipe_for(weights: Mapping[str, float], **fields: Any) -> Recipe:
    experts = [RecipeExpert(name=name, weight=weight) for name, weight in weights.items()]
    return Recipe(experts=experts, base_model=BASE, **fields)


def in_float64(adapter: Adapter) -> Adapter:
    modules = {
        name: LoraFactors(a=f.a.double(), b=f.b.double(), scaling=f.scaling)
        for name, f in adapter.modules.items()
    }
    return dataclasses.replace(adapter, modules=modules)


def dense(factors: LoraFactors) -> Tensor:
    """ΔW in float64."""
    return factors.scaling * (factors.b.double() @ factors.a.double())


def dense_sum(adapters: Sequence[Adapter], weights: Sequence[float], module: str) -> Tensor:
    """Σ wᵢΔWᵢ in float64; a module that an adapter lacks counts as zero."""
    present = [(w, a.modules[module]) for w, a in zip(weights, adapters, strict=True)
               if module in a.modules]  # fmt: skip
    out_features, in_features = present[0][1].shape
    total = torch.zeros(out_features, in_features, dtype=torch.float64)
    for weight, factors in present:
        total += weight * dense(factors)
    return total


def relative_error(got: Tensor, wanted: Tensor) -> float:
    scale = float(wanted.double().norm())
    return float((got.double() - wanted.double()).norm()) / (scale if scale > 0 else 1.0)


def tiny_model(kind: str = "llama") -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 48, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    if kind == "gemma3":
        model: Any = Gemma3ForCausalLM(Gemma3TextConfig(**sizes, sliding_window=8))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    model.name_or_path = model.config._name_or_path = BASE
    return model.eval()


def tiny_expert(folder: Path, *, seed: int, kind: str = "llama", **config: Any) -> PeftModel:
    """Save a randomly filled PEFT adapter of the tiny model; return the model that has it."""
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
    settings |= {"target_modules": ["q_proj", "v_proj", "down_proj"]} | config
    model = get_peft_model(tiny_model(kind), LoraConfig(**settings))
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.normal_(std=0.2)
    # Otherwise PEFT asks the model hub whether the base's vocabulary has grown.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return model


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(torch.arange(12).view(2, 6)).logits
    return result
