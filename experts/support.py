"""Whether a base model can be read the way SaM reads: several types in one sequence.

Most causal language models take a mask and positions of our own. Those that cannot (recurrent ones,
ALiBi, which counts columns instead of positions) would not fail but answer nonsense, so it is tried
once on a short sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import DynamicCache

from experts.base import BaseModel
from experts.branches import BranchCache
from experts.errors import SamError
from experts.head import CandidateHead, decoder_of
from experts.packing import attention_argument, join, pack
from experts.prompt import Prompter

__all__ = ["check_supported", "context_length", "not_finite"]

_TEXT = "Ada met Grace in Paris."
_KINDS = ("person", "place", "work", "event", "law", "plant", "tool", "name")
# Many, so that the last ones lie columns away from the text, where ALiBi and local attention err.
_TYPES = tuple(f"{a} of {b} {c}" for a in ("sort", "name") for b in _KINDS for c in _KINDS)
_TOLERANCE = {torch.float32: 0.005, torch.float64: 0.005}  # of the hidden states' norm; else 0.1


def not_finite() -> SamError:
    """The error for scores that are no numbers."""
    return SamError(
        "The model's scores are not finite numbers.",
        "Set SAM_DTYPE=float32. If it goes on, the base model's files or the adapter are damaged.",
    )


def context_length(base: BaseModel) -> int | None:
    """How many positions the base model knows; None where its configuration does not say."""
    length = getattr(base.model.config.get_text_config(), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def check_supported(base: BaseModel, prompter: Prompter) -> None:
    """Read a sentence with many types packed, and two of them plainly, and compare.

    Raises:
        SamError: naming the architecture, if the two differ; if the scores are not finite.
    """
    kind = type(base.model).__name__
    try:
        with torch.inference_mode():
            packed, alone, logits, expected = _both_ways(base, prompter)
    except SamError:
        raise
    except Exception as error:  # whatever a model that is built otherwise trips over
        raise _unsupported(kind) from error
    if not bool(torch.isfinite(alone).all() and torch.isfinite(expected).all()):
        raise not_finite()
    tolerance = _TOLERANCE.get(base.dtype, 0.1)
    for mine, theirs in ((packed, alone), (logits, expected)):
        if not float((mine - theirs).norm()) <= tolerance * float(theirs.norm()):
            raise _unsupported(kind)


def _unsupported(kind: str) -> SamError:
    return SamError(
        f"{kind} cannot be read with several types in one sequence, as SaM does.",
        "Set SAM_BASE_MODEL to a model with rotary or learned positions, such as Gemma, Llama, "
        "Qwen, Mistral, Phi or GPT-2.",
    )


@dataclass(slots=True)
class _Row:
    pending: list[int]
    finished: bool = False


def _both_ways(
    base: BaseModel, prompter: Prompter
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The last two branches, one token after their types, as the extractor reads them and plainly.

    Returns:
        Hidden states (2, d), packed and through the cache, and plainly; logits (2, c) by our head
        and by the model; all in float32.
    """
    decoder, head = decoder_of(base.model), CandidateHead(base.model)
    prefix = prompter.prefix(prompter.text(_TEXT))
    queries = [prompter.query(name) for name in _TYPES]
    row = pack(prefix, queries)
    batch = join([row], device=base.device)
    mask = attention_argument(
        base.model.config,
        batch.visible,
        base.dtype,
        query_positions=batch.positions,
        key_positions=batch.positions,
    )
    cache = decoder(
        input_ids=batch.tokens,
        attention_mask=mask,
        position_ids=batch.positions,
        past_key_values=DynamicCache(),
        use_cache=True,
    ).past_key_values
    sources = [[*range(row.prefix), *range(*bounds)] for bounds in row.bounds[-2:]]
    answer = prompter.text(_TEXT).tokens[0]
    branches = BranchCache.gather([_Row([answer]) for _ in sources], sources, cache)
    packed = branches.read_pending(decoder, base.model.config, base.dtype)
    alone, expected = [], []
    candidates = torch.tensor(sorted(set(row.tokens)), device=base.device)
    for query in queries[-2:]:
        ids = torch.tensor([[*prefix, *query, answer]], device=base.device)
        alone.append(decoder(input_ids=ids, use_cache=False).last_hidden_state[0, -1])
        expected.append(base.model(input_ids=ids, use_cache=False).logits[0, -1, candidates])
    last = torch.stack(alone)
    return (
        packed.float(),
        last.float(),
        head.logits(last, candidates),
        torch.stack(expected).float(),
    )
