"""Extraction: texts and types in, spans with offsets and probabilities out.

Every type is a question of its own, read behind the same text (type-parallel); where several types
claim a mention, the model is asked which it is (`experts.verdict`). How texts, types and adapters
share passes: `experts.run`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from experts.base import BaseModel
from experts.engines.protocol import each_in_turn
from experts.head import CandidateHead
from experts.merging.adapters import Adapter, products_of
from experts.prompt import Prompter
from experts.reading import PackedReader, reader_of
from experts.run import Found, Run
from experts.spans import Span, likeliest
from experts.stack import AdapterStack, acting
from experts.support import can_read_packed
from experts.verdict import settle

__all__ = ["DECODER_VERSION", "Extractor"]

DECODER_VERSION = 3

_PASS_TOKENS = {"cpu": 512, "mps": 2048}  # wide enough for the matrix units; else:
_PASS_TOKENS_GPU = 8192


class Extractor:
    """Runs a base model, with or without an adapter, as a named-entity model.

    Args:
        base: the base model; changed only while `extract` runs.
        none_bias: added to the logit of "no (further) mention", in nats: positive values trade
            recall for precision.

    Attributes:
        packed: whether the model can be read many branches at a time.
        head: scores of single tokens.
        pass_tokens: how many tokens a pass reads.

    Raises:
        SamError: if the base model cannot be read at all.
    """

    def __init__(self, base: BaseModel, *, none_bias: float = 0.0) -> None:
        self.base = base
        self.none_bias = none_bias
        self.prompter = Prompter(base.tokenizer)
        self.packed = can_read_packed(base, self.prompter)
        self.head = CandidateHead(base.model)
        self.pass_tokens = _PASS_TOKENS.get(base.device.type, _PASS_TOKENS_GPU)

    def extract(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        adapter: Path | Adapter | None = None,
        threshold: float | Mapping[str, float] = 0.0,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[Span]]:
        """Find the mentions of the asked types.

        Args:
            texts: any texts; long ones are read in overlapping windows.
            types: names of the entity types; the labels of the spans.
            adapter: PEFT folder or loaded adapter; ``None`` for the bare base model.
            threshold: spans with a lower probability are left out, after overlaps are settled; one
                for all types, or one for each (0 where a type is not named).
            none_bias: in place of the extractor's own.
            overlapping: keep spans of different types that overlap, each with the chance of being
                in its type's list; otherwise `experts.verdict.settle` chooses.
            progress: called with (texts done, all texts).
            cancelled: asked between passes.

        Returns:
            For each text its spans, sorted by position.

        Raises:
            SamError: for an adapter that does not fit the base model, no types, a type too long for
            the base model, or scores that are not finite.
            Cancelled: if `cancelled` said so.
        """
        return self.extract_within(
            acting(self.base, products_of(adapter)), texts, types, threshold=threshold,
            none_bias=none_bias, overlapping=overlapping, progress=progress, cancelled=cancelled,
        )  # fmt: skip

    def extract_within(
        self,
        adapted: contextlib.AbstractContextManager[None],
        texts: Sequence[str],
        types: Sequence[str],
        *,
        threshold: float | Mapping[str, float] = 0.0,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[Span]]:
        """As `extract`, with the base model changed by whatever `adapted` does to it."""
        reader = reader_of(self.base, packed=self.packed)
        run = Run(self, list(types), none_bias, cancelled, judge=not overlapping)
        with torch.inference_mode(), adapted:
            found = run.find(texts, 1, reader, progress)[0]
        return [_tidy(each, threshold, overlapping) for each in found]

    def extract_each(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path | Adapter],
        *,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[list[Span]]]:
        """Answers of several adapters to the same texts, read side by side in shared passes.

        Args:
            adapters: PEFT folders or loaded adapters of this base model.
            progress: called with (answers done, all answers), one for each adapter and text.

        Other arguments and errors as of `extract`.

        Returns:
            For each adapter, for each text, its spans.
        """
        if not adapters:
            return []
        if not self.packed:
            return each_in_turn(
                self,
                texts,
                types,
                adapters,
                none_bias=none_bias,
                overlapping=overlapping,
                progress=progress,
                cancelled=cancelled,
            )
        stack = AdapterStack(self.base, [products_of(adapter) for adapter in adapters])
        reader = PackedReader(self.base, before=stack.select)
        run = Run(self, list(types), none_bias, cancelled, judge=not overlapping)
        with torch.inference_mode(), stack.attached():
            found = run.find(texts, len(adapters), reader, progress)
        return [[_tidy(each, 0.0, overlapping) for each in answers] for answers in found]


def _tidy(found: Found, threshold: float | Mapping[str, float], overlapping: bool) -> list[Span]:
    """Windows that overlap find a span twice: the likelier reading stays."""
    spans = sorted(likeliest(found.spans))
    if not overlapping:
        spans = settle(spans, found.verdicts)

    def least(label: str) -> float:
        return threshold if isinstance(threshold, float | int) else threshold.get(label, 0.0)

    return [span for span in spans if (span.score or 0.0) >= least(span.label)]
