"""Training that starts from another expert's adapter instead of from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from experts.card import CardData, ExpertCard
from experts.errors import SamError
from experts.merging.adapters import Adapter, LoraFactors, load_adapter
from experts.merging.lowrank import svd_of_product

__all__ = ["StartingPoint", "put_into"]


class StartingPoint:
    """An expert to go on from.

    Attributes:
        card: its card.
        adapter: its weights.
    """

    def __init__(self, name: str, folders: list[Path], base: str) -> None:
        """Find and read the expert.

        Args:
            name: the expert's.
            folders: where to look for ``<name>/``, first come first served.
            base: name of the base model to train on.

        Raises:
            SamError: it is not there, damaged, or made for another base model.
        """
        folder = next((f / name for f in folders if (f / name / "card.json").is_file()), None)
        if folder is None:
            raise SamError(
                f"The recipe starts from the expert {name}, which is not there.",
                f"Train {name} first, into the same folder.",
            )
        self.card = ExpertCard.load(folder / "card.json")
        if self.card.base_model != base:
            raise SamError(
                f"The expert {name}, where the recipe starts, belongs to {self.card.base_model}, "
                f"not to {base}.",
                f"Train {name} on {base} first, into the same folder.",
            )
        self.adapter = load_adapter(folder, name=name)

    @property
    def data(self) -> list[CardData]:
        """What it has learned from, as a card of its successor tells it."""
        return [corpus.model_copy(update={"role": "start"}) for corpus in self.card.data]


def put_into(model: Any, adapter: Adapter) -> None:
    """Make a PEFT model compute what `adapter` computes, as near as its rank allows.

    Where the rank and the scaling are the adapter's, the factors are copied. Otherwise the leading
    singular directions are taken, rows of A as long on average as in the adapter, so that the
    learning rates of A and B mean the same; further rows of A stay as PEFT drew them, B's columns 0.

    Args:
        model: with one LoRA adapter, "default", freshly made.

    Raises:
        SamError: a layer that the adapter changes has no LoRA matrices in the model, or other shapes.
    """
    layers = {
        path.removeprefix("base_model.model."): module
        for path, module in model.named_modules()
        if hasattr(module, "lora_A") and "default" in module.lora_A
    }
    for path, factors in adapter.modules.items():
        layer = layers.get(path)
        if layer is None or (layer.out_features, layer.in_features) != factors.shape:
            raise SamError(
                f"The expert {adapter.name} changes {path}, which the base model does not have so.",
                "Start from an expert of this base model.",
            )
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        with torch.no_grad():
            _put(a, b, factors, layer.scaling["default"])


def _put(a: torch.Tensor, b: torch.Tensor, factors: LoraFactors, scaling: float) -> None:
    rank = a.shape[0]
    new_a, new_b = factors.a, factors.b * (factors.scaling / scaling)
    if factors.rank > rank:
        u, s, vh = svd_of_product(new_b, new_a)
        length = new_a.norm() / factors.rank**0.5
        new_a, new_b = vh[:rank] * length, u[:, :rank] * (s[:rank] / length)
    b.zero_()
    a[: new_a.shape[0]] = new_a.to(a)
    b[:, : new_b.shape[1]] = new_b.to(b)
