"""Running out of memory: how it is recognised, what is tried, and what the person can do."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam_ui.services.engine import Engine

__all__ = ["KILLED", "advice", "free_memory", "out_of_memory", "read_less_at_once"]

LEAST_PASS_TOKENS = 128
"""Passes are not made shorter than this: below it the passes are no longer what fills memory."""

WHAT = "There was not enough memory for this."
HINTS = {
    "match": "Try fewer sentences per expert",
    "merge": "Use fewer experts, or one model instead of two",
    "merge_and_predict": "Use fewer experts, or one model instead of two",
    "predict": "Split very long texts, or use one model instead of two",
    "preview": "Use fewer experts, or one model instead of two",
}
ANYWAY = (
    "close other programs, and press Try again. If a graphics card ran full, start SaM with "
    "SAM_DEVICE=cpu."
)

KILLED = (
    "SaM's worker was ended twice during this, most likely because memory ran out.",
    "Use fewer experts or shorter texts, close other programs, and press Try again. The rest of "
    "SaM works on.",
)
"""What is said of a job whose worker was killed twice from outside."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    # torch's errors by their names and words: the worker does not import torch for them
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in said
        or "not enough memory" in said
    )


def advice(kind: str) -> tuple[str, str]:
    """What happened to a job of this kind, and what to do."""
    return WHAT, f"{HINTS.get(kind, 'Use fewer or shorter texts')}, {ANYWAY}"


def free_memory() -> None:
    """Give back what a failed job has left behind, so that the next one finds room."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def read_less_at_once(engine: Engine) -> bool:
    """Halve the passes of the extractor; False where there is none or they are short already."""
    extractor = vars(engine).get("extractor")  # one that is not loaded has filled nothing
    tokens = getattr(extractor, "pass_tokens", 0)
    if tokens < 2 * LEAST_PASS_TOKENS:
        return False
    extractor.pass_tokens = tokens // 2  # type: ignore[union-attr]
    free_memory()
    return True
