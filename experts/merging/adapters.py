"""LoRA adapters as plain tensors: read PEFT's folders with every check, write them again."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from experts.errors import SamError
from experts.merging.peft_config import (
    CONFIG_NAME,
    LoraSettings,
    config_to_write,
    read_config,
)

__all__ = ["Adapter", "LoraFactors", "content_hash", "load_adapter", "products_of", "save_adapter"]

WEIGHTS_NAME = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FLOATS = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True)
class LoraFactors:
    """The update of one linear layer: ΔW = scaling · b @ a, of shape (out, in).

    Attributes:
        a: (r, in), float32 or float64.
        b: (out, r), as `a`.
        scaling: lora_alpha / r, or lora_alpha / √r for rsLoRA.
    """

    a: Tensor
    b: Tensor
    scaling: float

    @property
    def rank(self) -> int:
        """The number of rows of `a`, r."""
        return int(self.a.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return int(self.b.shape[0]), int(self.a.shape[1])

    def delta(self) -> Tensor:
        """ΔW, dense, (out, in)."""
        return (self.b @ self.a) * self.scaling

    def to(self, device: torch.device | str) -> LoraFactors:
        """The same factors on a device."""
        return replace(self, a=self.a.to(device), b=self.b.to(device))


@dataclass
class Adapter:
    """A LoRA adapter.

    Attributes:
        name: the expert's.
        base_model: hub id of the base model, "" if unknown.
        modules: module path in the base model ("model.layers.0.self_attn.q_proj") → factors.
            A linear layer that is not listed is left as it is.
        targets: module names that stand for exactly the adapted modules among all of the base
            model's ("q_proj" if it is adapted in every layer); empty if that is not known.
        fan_in_fan_out: the base stores its weights as (in, out), as GPT-2 does.
        revision: of the base model, None if none is stated.
    """

    name: str
    base_model: str
    modules: dict[str, LoraFactors] = field(default_factory=dict)
    targets: frozenset[str] = frozenset()
    fan_in_fan_out: bool = False
    revision: str | None = None

    @property
    def rank(self) -> int:
        """Highest rank of any module, 0 without modules."""
        return max((factors.rank for factors in self.modules.values()), default=0)

    def products(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Module path → (A, B) with the scaling folded into B, so that ΔW = B·A."""
        return {name: (f.a, f.b * f.scaling) for name, f in self.modules.items()}


def products_of(adapter: Path | Adapter | None) -> dict[str, tuple[Tensor, Tensor]]:
    """`Adapter.products` of a PEFT folder or a loaded adapter; nothing for ``None``.

    Raises:
        SamError: as `load_adapter`.
    """
    if adapter is None:
        return {}
    return (load_adapter(adapter) if isinstance(adapter, Path) else adapter).products()


def content_hash(adapter: Adapter) -> str:
    """SHA-256 (hex) of what an adapter does: module names, shapes, scalings and fp32 factors.

    Names of files, folders and the base model do not enter, nor does the way in which rank and
    alpha are written down.
    """
    digest = hashlib.sha256()
    for module in sorted(adapter.modules):
        factors = adapter.modules[module]
        out_features, in_features = factors.shape
        head = f"{module}\0{out_features}\0{in_features}\0{factors.rank}\0"
        digest.update(head.encode() + struct.pack("<d", factors.scaling))
        for tensor in (factors.a, factors.b):
            flat = tensor.detach().to("cpu", torch.float32).contiguous()
            digest.update(flat.view(torch.uint8).flatten().numpy().data)
    return digest.hexdigest()


def load_adapter(
    path: Path,
    *,
    name: str | None = None,
    expected_base: str | None = None,
    expected_shapes: Mapping[str, tuple[int, int]] | None = None,
) -> Adapter:
    """Read an adapter folder as PEFT's ``save_pretrained`` writes it (safetensors only).

    Config, names, shapes and types are checked before any weight is read.

    Args:
        path: folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        name: for messages and as the adapter's name; the folder's name by default.
        expected_base: refuse adapters of another base model.
        expected_shapes: module path → (out, in) of the base model's linear layers; refuse adapters
            that name another module or have another shape.

    Returns:
        The adapter, factors in float32 on the CPU.

    Raises:
        SamError: naming the expert and the module or feature that is not supported.
    """
    name = path.name if name is None else name
    settings = read_config(path, name)
    if expected_base is not None and settings.base_model != expected_base:
        raise SamError(
            f"The expert '{name}' was trained on the base model "
            f"'{settings.base_model or 'unknown'}', not on '{expected_base}'.",
            f"Choose an expert of {expected_base}; if it is the same model under another name, "
            f"correct base_model_name_or_path in {CONFIG_NAME}.",
        )
    weights = path / WEIGHTS_NAME
    if not weights.is_file():
        hint = "Choose the folder that PEFT's save_pretrained wrote."
        if (path / "adapter_model.bin").exists():
            hint = "Pickle files can run code and are not read: save it with safe_serialization."
        raise SamError(f"The expert '{name}' has no {WEIGHTS_NAME} in {path}.", hint)
    try:
        with safe_open(weights, framework="pt") as tensors:
            shapes: dict[str, tuple[int, ...]] = {}
            for key in sorted(tensors.keys()):
                entry = tensors.get_slice(key)
                shapes[key] = tuple(entry.get_shape())
                _check_dtype(name, key, entry.get_dtype())
            modules = _check_layout(name, shapes, settings, expected_shapes)
            read = {key: tensors.get_tensor(key).to(torch.float32, copy=True) for key in shapes}
    except (SafetensorError, OSError) as error:
        raise SamError(
            f"{WEIGHTS_NAME} of the expert '{name}' cannot be read ({error}).",
            "The file is damaged or incomplete: copy or download it again.",
        ) from None
    for key, tensor in read.items():
        if not bool(torch.isfinite(tensor).all()):
            raise SamError(
                f"The expert '{name}' has numbers that are not finite in {_module_of(key)}.",
                "Its training has diverged: train it again with a lower learning rate.",
            )
    return Adapter(
        name=name,
        base_model=settings.base_model,
        modules={
            module: LoraFactors(
                a=read[f"{_PREFIX}{module}.lora_A.weight"],
                b=read[f"{_PREFIX}{module}.lora_B.weight"],
                scaling=settings.scaling_of(module),
            )
            for module in modules
        },
        targets=settings.targets,
        fan_in_fan_out=settings.fan_in_fan_out,
        revision=settings.revision,
    )


def _module_of(key: str) -> str:
    return key.removeprefix(_PREFIX).split(".lora_")[0].removesuffix(".weight")


def _check_dtype(name: str, key: str, dtype: str) -> None:
    if dtype not in _FLOATS:
        raise SamError(
            f"The expert '{name}' stores {_module_of(key)} as {dtype}.",
            "Save it in float32, float16 or bfloat16.",
        )


def _check_layout(
    name: str,
    shapes: Mapping[str, tuple[int, ...]],
    settings: LoraSettings,
    expected_shapes: Mapping[str, tuple[int, int]] | None,
) -> list[str]:
    """Names of the adapted modules, after checking that all is complete, known and of one rank."""
    modules = set()
    for key in shapes:
        stem, suffix = key.rsplit(".lora_", 1) if ".lora_" in key else (key, "")
        if not key.startswith(_PREFIX) or suffix not in ("A.weight", "B.weight"):
            raise _unknown_weights(name, key)
        modules.add(stem.removeprefix(_PREFIX))
    if not modules:
        raise SamError(f"The expert '{name}' contains no LoRA weights.", "Export it again.")
    for module in sorted(modules):
        a = shapes.get(f"{_PREFIX}{module}.lora_A.weight")
        b = shapes.get(f"{_PREFIX}{module}.lora_B.weight")
        if a is None or b is None:
            missing = "A" if a is None else "B"
            raise SamError(
                f"The expert '{name}' lacks LoRA's {missing} for {module}.",
                "The file is incomplete: export the adapter again.",
            )
        _check_shapes(name, module, a, b, settings)
        if expected_shapes is not None:
            wanted = expected_shapes.get(module)
            if wanted != (b[0], a[1]):
                there = f"{wanted[0]}×{wanted[1]}" if wanted else "no such layer"
                raise SamError(
                    f"The expert '{name}' adapts {module} with {b[0]}×{a[1]} numbers; "
                    f"the base model has {there}.",
                    "It belongs to another base model.",
                )
    return sorted(modules)


def _check_shapes(
    name: str, module: str, a: tuple[int, ...], b: tuple[int, ...], settings: LoraSettings
) -> None:
    if len(a) != 2 or len(b) != 2:
        raise SamError(
            f"The expert '{name}' adapts {module}, which is not a linear layer.",
            "Train it on linear layers only.",
        )
    rank = settings.rank_of(module)
    if a[0] != rank or b[1] != rank or 0 in a or 0 in b:
        raise SamError(
            f"The expert '{name}' has LoRA factors of shapes {b[0]}×{b[1]} and {a[0]}×{a[1]} in "
            f"{module}; {CONFIG_NAME} says rank {rank}.",
            "Config and weights do not belong together: export the adapter again.",
        )


def _unknown_weights(name: str, key: str) -> SamError:
    kinds = {
        "lora_magnitude_vector": "DoRA",
        "lora_embedding": "LoRA on an embedding",
        ".lora_B.bias": "a bias in LoRA's B",
        "modules_to_save": "fully trained modules",
        "token_adapter": "trainable tokens",
    }
    kind = next((kind for part, kind in kinds.items() if part in key), "weights beside LoRA's")
    return SamError(
        f"The expert '{name}' has {kind} in {_module_of(key)} ({key.removeprefix(_PREFIX)}).",
        "Train or export it as plain LoRA on linear layers.",
    )


def save_adapter(
    adapter: Adapter,
    path: Path,
    *,
    dtype: torch.dtype = torch.bfloat16,
    base_model: str | None = None,
    revision: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write an adapter folder that PEFT loads with ``PeftModel.from_pretrained``.

    The factors carry their scale (lora_alpha == r, no rsLoRA). Modules of lower rank are padded
    with zeros to the common one, which changes nothing. The folder appears complete or not at all.

    Args:
        adapter: its factors on any device.
        path: the folder to make.
        dtype: of the stored factors; bfloat16 halves the size at an error of 2⁻⁹ per number.
        base_model: hub id to name as base; the adapter's own by default.
        revision: of the base model; the adapter's own by default, unless `base_model` is another.
        overwrite: replace an adapter folder that is already there, with all its files.

    Raises:
        SamError: nothing to save, numbers too large for `dtype`, or the folder cannot be written.
    """
    if not adapter.modules:
        raise SamError(f"The adapter '{adapter.name}' adapts no layer.", "Merge experts that do.")
    base_model = adapter.base_model if base_model is None else base_model
    if revision is None and base_model == adapter.base_model:
        revision = adapter.revision
    config = config_to_write(
        base_model=base_model,
        revision=revision,
        rank=adapter.rank,
        targets=_target_modules(adapter),
        fan_in_fan_out=adapter.fan_in_fan_out,
    )
    content = safetensors_bytes(_tensors_to_write(adapter, dtype), metadata={"format": "pt"})
    _check_free(path, overwrite)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        (temporary / CONFIG_NAME).write_text(config, encoding="utf-8")
        (temporary / WEIGHTS_NAME).write_bytes(content)
        _put_in_place(temporary, path)
    except OSError as error:
        raise SamError(
            f"The adapter cannot be written to {path} ({error.strerror}).",
            "Choose a folder that you may write to, on a disk with free space.",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _target_modules(adapter: Adapter) -> set[str]:
    """Short names where they are known to mean just these modules, else all module paths."""
    short = {
        target
        for target in adapter.targets
        if any(module == target or module.endswith(f".{target}") for module in adapter.modules)
    }
    covered = all(
        any(module == target or module.endswith(f".{target}") for target in short)
        for module in adapter.modules
    )
    return short if covered else set(adapter.modules)


def _tensors_to_write(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    rank = adapter.rank
    tensors = {}
    for module, factors in adapter.modules.items():
        missing = rank - factors.rank
        # The scale goes into b alone: exact where it is a power of two, as alpha = r or 2r give.
        a = torch.nn.functional.pad(factors.a, (0, 0, 0, missing))
        b = torch.nn.functional.pad(factors.b * factors.scaling, (0, missing))
        for letter, tensor in (("A", a), ("B", b)):
            stored = tensor.detach().to("cpu", dtype).contiguous()
            if not bool(torch.isfinite(stored).all()):
                raise SamError(
                    f"The adapter '{adapter.name}' has numbers in {module} that {dtype} cannot "
                    "hold.",
                    "Save it in float32.",
                )
            tensors[f"{_PREFIX}{module}.lora_{letter}.weight"] = stored
    return tensors


def _check_free(path: Path, overwrite: bool) -> None:
    """Refuse to replace what is not an adapter, or what nobody asked to replace."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() and not (overwrite and (path / CONFIG_NAME).is_file()):
        raise SamError(f"{path} exists already.", "Choose another folder, or remove this one.")


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename `temporary` to `path`; an old folder is moved away first and removed last."""
    if not path.exists():
        os.rename(temporary, path)
        return
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    os.rename(path, old)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
