"""Notices that base models ask to be passed on with what is made from them."""

from __future__ import annotations

__all__ = ["GEMMA_NOTICE", "base_notice"]

GEMMA_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms"
)


def base_notice(base_model: str) -> str:
    """The notice for a base model by its hub id or folder; "" when none is needed."""
    return GEMMA_NOTICE if "gemma" in base_model.lower() else ""
