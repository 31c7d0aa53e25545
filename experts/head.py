"""The output layer, computed for the tokens that can come next and no others.

A sentence offers a few dozen tokens; a vocabulary has hundreds of thousands. Two thirds of the time
of a small model goes into the output layer, and nearly all of it is for tokens that grounded
decoding forbids.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from experts.errors import SamError

__all__ = ["CandidateHead", "decoder_of"]


def decoder_of(model: nn.Module) -> nn.Module:
    """The transformer below the output layer: what returns hidden states."""
    inner = getattr(model, "get_decoder", lambda: None)()
    if inner is None or inner is model:
        inner = getattr(model, getattr(model, "base_model_prefix", ""), None)
    if inner is None:
        raise SamError(
            f"{type(model).__name__} does not expose its decoder.",
            "Choose a causal language model that transformers supports in the usual way.",
        )
    return inner  # type: ignore[no-any-return]


class CandidateHead:
    """Rows of the output embedding, gathered for a set of candidate tokens.

    Args:
        model: a causal LM; its scaling and soft-capping of logits (Gemma 2, Cohere, Granite) are
            applied as the model itself does.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        head: Any = model.get_output_embeddings()
        if head is None:
            raise SamError(
                f"{type(model).__name__} has no output layer.", "Choose a causal language model."
            )
        self._weight: torch.Tensor = head.weight
        self._bias: torch.Tensor | None = getattr(head, "bias", None)
        config = model.config.get_text_config()
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        self._multiply = float(getattr(config, "logit_scale", None) or 1.0)
        self._divide = float(getattr(config, "logits_scaling", None) or 1.0)

    @property
    def vocabulary(self) -> int:
        return int(self._weight.shape[0])

    def logits(self, hidden: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Logits of the candidates only.

        Args:
            hidden: shape (n, d), the model's dtype.
            candidates: int64, shape (c,), token ids.

        Returns:
            float32, shape (n, c): column j belongs to ``candidates[j]``.
        """
        rows = self._weight[candidates]
        logits = (hidden.to(rows.dtype) @ rows.T).float()
        if self._bias is not None:
            logits = logits + self._bias[candidates].float()
        logits = logits * self._multiply / self._divide
        if self._cap:
            logits = self._cap * torch.tanh(logits / self._cap)
        return logits
