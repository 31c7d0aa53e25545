"""Which ways of reading a base model allows.

Most causal language models send their attention through transformers' interface and take positions
of our own: they are read packed. Others (recurrent ones, ALiBi, which counts columns instead of
positions) would not always fail but answer nonsense, so it is tried on a short sentence.
"""

from __future__ import annotations

from itertools import chain

import torch

from experts.base import BaseModel
from experts.errors import SamError
from experts.head import CandidateHead, decoder_of
from experts.prompt import Prompter
from experts.reading import PackedReader, PlainReader, Prefix, Reader, Row

__all__ = ["can_read_packed", "context_length", "not_finite"]

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


def can_read_packed(base: BaseModel, prompter: Prompter) -> bool:
    """Whether a `PackedReader` reads the model as it reads itself; a `PlainReader` does.

    Raises:
        SamError: naming the architecture, if no reader does; if the scores are not finite.
    """
    with torch.inference_mode():
        try:
            alone, logits, expected = _plainly(base, prompter)
        except SamError:
            raise
        except Exception as error:  # whatever a model that is built otherwise trips over
            raise _unsupported(base) from error
        if not bool(torch.isfinite(alone).all() and torch.isfinite(expected).all()):
            raise not_finite()
        if not _alike(logits, expected, base):
            raise _unsupported(base)
        for reader in (PackedReader(base), PlainReader(base)):
            try:
                if _alike(_read(reader, prompter), alone, base):
                    return isinstance(reader, PackedReader)
            except Exception:
                continue  # the next reader asks less of the model
    raise _unsupported(base)


def _alike(mine: torch.Tensor, theirs: torch.Tensor, base: BaseModel) -> bool:
    tolerance = _TOLERANCE.get(base.dtype, 0.1)
    if base.quantization:  # a rounding that falls the other way is a whole step
        tolerance = 0.4
    return float((mine - theirs).norm()) <= tolerance * float(theirs.norm())


def _unsupported(base: BaseModel) -> SamError:
    return SamError(
        f"{type(base.model).__name__} cannot be read as SaM reads: a text, then types, with the "
        "scores of single tokens.",
        "Set SAM_BASE_MODEL to a causal language model, such as Gemma, Llama, Qwen or Mistral.",
    )


def _sequences(prompter: Prompter) -> tuple[list[int], list[list[int]], int]:
    """A prefix, type queries, and the first token of an answer."""
    text = prompter.text(_TEXT)
    return prompter.prefix(text), [prompter.query(name) for name in _TYPES], text.tokens[0]


def _read(reader: Reader, prompter: Prompter) -> torch.Tensor:
    """Hidden states (2, d), float32: the last two branches, one token after their types."""
    tokens, queries, answer = _sequences(prompter)
    prefix = Prefix(tokens)
    rows = [Row(prefix, list(query)) for query in queries]
    with reader.reading():
        reader.read(rows)
        for row in rows[:-2]:
            reader.release(row)
        for row in rows[-2:]:
            row.pending = [answer]
        return reader.read(rows[-2:])[0].float()


def _plainly(
    base: BaseModel, prompter: Prompter
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same as the model itself reads it.

    Returns:
        Hidden states (2, d); logits (2, c) by our head and by the model; all in float32.
    """
    decoder, head = decoder_of(base.model), CandidateHead(base.model)
    prefix, queries, answer = _sequences(prompter)
    alone: list[torch.Tensor] = []
    expected: list[torch.Tensor] = []
    candidates = torch.tensor(sorted({*prefix, *chain.from_iterable(queries)}), device=base.device)
    for query in queries[-2:]:
        ids = torch.tensor([[*prefix, *query, answer]], device=base.device)
        alone.append(decoder(input_ids=ids, use_cache=False).last_hidden_state[0, -1])
        expected.append(base.model(input_ids=ids, use_cache=False).logits[0, -1, candidates])
    last = torch.stack(alone)
    return last.float(), head.logits(last, candidates), torch.stack(expected).float()
