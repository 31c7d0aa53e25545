"""Base models with fewer bits a weight: int8 on the CPU, 4 bits on a GPU.

int8: weights by output row, activations by token (dynamically), products in int8 with int32 sums, as
LLM.int8() does without its outlier path (arXiv 2208.07339, section 2.1). Embeddings, norms and the
output layer stay as they are, and adapters run beside the layers in full precision.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from experts.errors import SamError

__all__ = ["Int8Linear", "four_bit_config", "to_int8"]

_LEVELS = 127
_TINY = 1e-8  # of a token that is all zeros


class Int8Linear(nn.Module):
    """A linear layer with int8 weights.

    Attributes:
        weight: int8, shape (out, in).
        scale: float32, shape (out,); row i of the layer is ``weight[i] * scale[i]``.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        rows = linear.weight.detach().float()
        scale = rows.abs().amax(1).clamp(min=_TINY) / _LEVELS
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("weight", (rows / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (…, in) → (…, out), in the dtype of `x`."""
        flat = x.reshape(-1, self.in_features)
        steps = flat.abs().amax(1, keepdim=True).float().clamp_(min=_TINY) / _LEVELS
        tokens = (flat / steps).round_().to(torch.int8)
        product = torch._int_mm(tokens, self.weight.t()).float()
        product.mul_(steps).mul_(self.scale)
        if self.bias is not None:
            product.add_(self.bias)
        return product.to(x.dtype).view(*x.shape[:-1], self.out_features)


def to_int8(model: nn.Module, keep: nn.Module | None) -> int:
    """Replace a model's linear layers by int8 ones, in place.

    Args:
        keep: a layer to leave alone: the output layer.

    Returns:
        How many layers were replaced.
    """
    replaced = 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child is not keep:
                setattr(module, name, Int8Linear(child))
                replaced += 1
    return replaced


def four_bit_config(dtype: torch.dtype, device: torch.device) -> Any:
    """Configuration of transformers for 4-bit NormalFloat weights (QLoRA, arXiv 2305.14314).

    Raises:
        SamError: if bitsandbytes is not installed, or the device is no NVIDIA GPU.
    """
    if device.type != "cuda":
        raise SamError(
            f"SAM_DTYPE=nf4 needs an NVIDIA GPU; the device is {device.type}.",
            "Set SAM_DTYPE to int8, or to auto.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SamError(
            "SAM_DTYPE=nf4 needs the package bitsandbytes, which is not installed.",
            "Run: pip install 'sam-ui[4bit]'. Or set SAM_DTYPE=auto.",
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
