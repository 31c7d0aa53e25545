"""The base model: one causal language model with its tokenizer, on its device.

The default is the embedded Gemma 3 270M (`experts.embedded`); any other causal LM of the hub, or in
a folder, works as well.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from experts.embedded import EMBEDDED_BASE, prepare_base
from experts.errors import SamError
from experts.quantized import four_bit_config, to_int8

__all__ = ["BaseModel", "choose_device", "choose_dtype", "linear_shapes", "load_base"]

_QUANTIZED = ("int8", "nf4")

log = logging.getLogger(__name__)


@dataclass
class BaseModel:
    """A loaded base model.

    Attributes:
        name: hub id (or folder) that adapters name as their base.
        path: what `from_pretrained` was given: a folder or a hub id.
        model: the causal LM, in eval mode, on `device`.
        tokenizer: its tokenizer.
        quantization: ``int8``, ``nf4`` or empty. The weights of a quantized model are never
            written to: adapters run beside its layers (`experts.stack`), and it is not trained.
    """

    name: str
    path: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    quantization: str = ""
    _pristine: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @contextlib.contextmanager
    def adapted(self, deltas: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
        """Add ΔW = B·A to the named linear layers for the duration of the block.

        The weights before are kept and put back bit by bit, so that nothing accumulates. Adding into
        the weights costs one small product per layer and nothing per token.

        Args:
            deltas: module path → (A of shape (r, in), B of shape (out, r)), scaling folded in,
                any float dtype.

        Raises:
            SamError: for a module that the base model lacks or whose shape differs.
            ValueError: if the base model is quantized.
        """
        self.check_fits(deltas)
        if deltas and self.quantization:
            raise ValueError("the weights of a quantized model cannot be adapted")
        modules = dict(self.model.named_modules())
        changed: list[str] = []
        try:
            with torch.no_grad():
                for name, (a, b) in deltas.items():
                    weight = _weight(modules[name])
                    if name not in self._pristine:
                        self._pristine[name] = weight.detach().clone()
                    changed.append(name)
                    delta = b.to(weight.device, torch.float32) @ a.to(weight.device, torch.float32)
                    if _transposed(modules[name]):
                        delta = delta.T
                    weight.copy_(self._pristine[name].float() + delta)
            yield
        finally:
            with torch.no_grad():
                for name in changed:
                    _weight(modules[name]).copy_(self._pristine[name])

    def check_fits(self, deltas: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Check that an adapter belongs to this model.

        Raises:
            SamError: for a module that the base model lacks or whose shape differs.
        """
        modules = dict(self.model.named_modules())
        for name, (a, b) in deltas.items():
            _check_fits(modules.get(name), name, a, b)


def _weight(module: nn.Module) -> torch.Tensor:
    return module.weight  # type: ignore[return-value]


def _transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D"  # GPT-2 keeps its weights as (in, out)


def _check_fits(module: nn.Module | None, name: str, a: torch.Tensor, b: torch.Tensor) -> None:
    if module is None or not isinstance(getattr(module, "weight", None), torch.Tensor):
        raise SamError(
            f"The adapter changes the layer {name}, which the base model does not have.",
            "Use an adapter that was trained on this base model.",
        )
    shape = tuple(_weight(module).shape)
    shape = shape[::-1] if _transposed(module) else shape
    out, into = getattr(module, "out_features", None), getattr(module, "in_features", None)
    if isinstance(out, int) and isinstance(into, int):  # 4-bit weights are packed in another shape
        shape = (out, into)
    if shape != (b.shape[0], a.shape[1]):
        raise SamError(
            f"The adapter's layer {name} has the shape {b.shape[0]}×{a.shape[1]}, the base model's "
            f"has {shape[0]}×{shape[1]}.",
            "Use an adapter that was trained on this base model.",
        )


def choose_device(device: str = "auto") -> torch.device:
    """CUDA, then MPS, then CPU for ``auto``; otherwise the device asked for."""
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise SamError(
                f"The device {device!r} cannot be used: {str(error).splitlines()[0]}",
                "Set SAM_DEVICE to auto, cpu, cuda or mps.",
            ) from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, float32 elsewhere (fp16 on MPS).

    Args:
        dtype: as of `load_base`; for ``int8`` and ``nf4``, what is not quantized has the type that
            ``auto`` would choose.
    """
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype in named:
        return named[dtype]
    if dtype not in ("auto", *_QUANTIZED):
        raise SamError(
            f"The dtype {dtype!r} is not known.",
            f"Set SAM_DTYPE to auto, {', '.join([*named, *_QUANTIZED])}.",
        )
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())


def linear_shapes(base_model: str = "", *, data_dir: Path) -> dict[str, tuple[int, int]]:
    """The linear layers of a base model, path → (out, in), from its configuration alone.

    Raises:
        SamError: if the configuration cannot be read.
    """
    path = base_model or str(prepare_base(data_dir))
    try:
        config = AutoConfig.from_pretrained(path)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:
        raise _cannot_load(path, error) from error
    shapes: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or _transposed(module):
            rows, columns = _weight(module).shape
            shapes[name] = (columns, rows) if _transposed(module) else (rows, columns)
    return shapes


def _cannot_load(path: str, error: Exception) -> SamError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return SamError(
        f"The base model {path!r} cannot be loaded: {reason}",
        "Check SAM_BASE_MODEL: a hub id such as google/gemma-3-270m, or a folder with "
        "config.json, safetensors and a tokenizer.",
    )


def load_base(
    base_model: str = "",
    *,
    data_dir: Path,
    device: str = "auto",
    dtype: str = "auto",
) -> BaseModel:
    """Load the embedded base model, or any causal LM by hub id or folder.

    Args:
        base_model: hub id or folder; empty for the embedded Gemma 3 270M.
        data_dir: where the converted embedded model is kept.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16``, ``float16``; ``int8`` (CPU); ``nf4`` (NVIDIA).

    Raises:
        SamError: if the model cannot be found or loaded, saying which and why.
    """
    transformers.utils.logging.disable_progress_bar()  # it would stand among a person's messages
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    quantization = dtype if dtype in _QUANTIZED else ""
    if quantization == "int8" and chosen_device.type != "cpu":
        raise SamError(
            f"SAM_DTYPE=int8 is for the CPU; the device is {chosen_device.type}.",
            "Set SAM_DTYPE to auto, or SAM_DEVICE to cpu.",
        )
    extra: dict[str, Any] = {}
    if quantization == "nf4":
        extra["quantization_config"] = four_bit_config(chosen_dtype, chosen_device)
        extra["device_map"] = {"": chosen_device}
    path = base_model or str(prepare_base(data_dir))
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=chosen_dtype, **extra)
    except Exception as error:  # each architecture and file format fails in its own way
        raise _cannot_load(path, error) from error
    model.requires_grad_(False)
    if quantization == "int8":
        to_int8(model, keep=model.get_output_embeddings())
    if quantization != "nf4":
        model.to(chosen_device)
    model.eval()
    log.info("base model %s on %s in %s %s", path, chosen_device, chosen_dtype, quantization)
    return BaseModel(
        name=base_model or EMBEDDED_BASE,
        path=path,
        model=model,
        tokenizer=tokenizer,
        quantization=quantization,
    )
