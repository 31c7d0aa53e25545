"""The merged adapter written into the base model's weights: a model that needs no PEFT."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from experts.base import BaseModel
from experts.errors import SamError
from experts.export.notices import base_notice
from experts.merging.adapters import Adapter

__all__ = ["check_space", "full_model_bytes", "save_full_model"]

SHARD = "4GB"
_SPARE = 64 * 2**20  # tokenizer, configuration, the file system's own


def full_model_bytes(base: BaseModel) -> int:
    """Size of the model's weights on disk; tensors that share memory are stored once."""
    seen: dict[int, int] = {}
    for tensor in base.model.state_dict().values():
        seen[tensor.untyped_storage().data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(seen.values())


def check_space(base: BaseModel, path: Path) -> None:
    """Refuse a folder on a disk without room for the full model.

    Raises:
        SamError: says how much is needed and how much is free.
    """
    needed = full_model_bytes(base) + _SPARE
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise SamError(
            f"The full model needs {_size(needed)} and the disk of {path} has {_size(free)} free.",
            "Free some space, choose a folder on another disk, or keep the adapter alone.",
        )


def save_full_model(
    base: BaseModel, adapter: Adapter, path: Path, *, recipe_json: str | None = None
) -> None:
    """Save base + ΔW in the base's precision: safetensors in shards, configuration, tokenizer.

    ``AutoModelForCausalLM.from_pretrained(path)`` loads it. The folder appears complete or not at
    all; the base model in memory is as before afterwards.

    Args:
        base: not quantized, because the stored weights are the full ones.
        adapter: of this base model.
        path: folder to make; must not exist, or be empty.
        recipe_json: kept beside the weights as recipe.json.

    Raises:
        SamError: the folder is taken, a quantized base, an adapter that does not fit, weights that
            the precision cannot hold, or a disk that is full or cannot be written to.
    """
    if base.quantization:
        raise SamError(
            f"The base model is loaded as {base.quantization}, which has no full weights to save.",
            "Set SAM_DTYPE to auto, bfloat16 or float32.",
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SamError(f"{path} exists already and is not empty.", "Choose another folder.")
    base.check_fits(adapter.products())
    check_space(base, path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        with base.adapted(adapter.products()):
            _check_finite(base, adapter)
            _write(base, temporary)
        if recipe_json is not None:
            (temporary / "recipe.json").write_text(recipe_json, encoding="utf-8")
        (temporary / "README.md").write_text(_card(base.name), encoding="utf-8")
        if path.exists():
            path.rmdir()
        os.rename(temporary, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SamError(
            f"The full model cannot be written to {path} ({reason}).",
            "Choose a folder that you may write to, on a disk with free space.",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(base: BaseModel, folder: Path) -> None:
    model: Any = base.model
    was = model.config._name_or_path
    # The hub id, never a folder of this computer.
    model.config._name_or_path = "" if Path(base.name).is_dir() else base.name
    try:
        model.save_pretrained(folder, max_shard_size=SHARD)
    finally:
        model.config._name_or_path = was
    base.tokenizer.save_pretrained(folder)


def _check_finite(base: BaseModel, adapter: Adapter) -> None:
    modules = dict(base.model.named_modules())
    for name in adapter.modules:
        weight = _weight(modules[name])
        if not bool(torch.isfinite(weight).all()):
            raise SamError(
                f"The merge makes numbers in {name} that {weight.dtype} cannot hold.",
                "Choose smaller weights, or set SAM_DTYPE to float32.",
            )


def _weight(module: nn.Module) -> torch.Tensor:
    return module.weight  # type: ignore[return-value]


def _card(base_model: str) -> str:
    notice = base_notice(base_model)
    front = ["---", f"base_model: {json.dumps(base_model)}", "library_name: transformers"]
    front += ["license: gemma"] if notice else []
    front += ["tags:", "- token-classification", "- merge", "---"]
    parts = [
        "\n".join(front),
        "# Merged model",
        f"{base_model} with LoRA experts merged into its weights by SaM (Select and Merge). "
        "It answers SaM's own prompt with grounded decoding: set SAM_BASE_MODEL to this folder.",
    ]
    if notice:
        parts.append(f"{notice}. The weights have been modified.")
    return "\n\n".join(parts) + "\n"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
