"""Extraction by free generation: for comparison only.

The same prompt and the same adapter, but the model may write whatever it likes and its mentions are
searched for in the text. What it costs, and what it invents, is what grounded decoding saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experts.base import BaseModel
from experts.merging.adapters import products_of
from experts.prompt import Prompter
from experts.spans import Span, drop_overlaps

__all__ = ["extract_freely", "generate_jointly"]


def extract_freely(
    base: BaseModel,
    texts: Sequence[str],
    types: Sequence[str],
    *,
    adapter: Path | None = None,
    batch: int = 16,
    max_new_tokens: int = 64,
) -> tuple[list[list[Span]], int]:
    """Ask for one type of one text a prompt, with ``generate``.

    Returns:
        For each text its spans, and the number of mentions that do not occur in their text.
    """
    prompter = Prompter(base.tokenizer)
    prompts = [
        (i, label, [*prompter.prefix(prompter.text(text)), *prompter.query(label)])
        for i, text in enumerate(texts)
        for label in types
    ]
    prompts.sort(key=lambda prompt: len(prompt[2]))
    found: list[list[Span]] = [[] for _ in texts]
    invented = 0
    with torch.inference_mode(), base.adapted(products_of(adapter)):
        for begin in range(0, len(prompts), batch):
            part = prompts[begin : begin + batch]
            answers = _generate(base, prompter, [ids for _, _, ids in part], max_new_tokens)
            for (i, label, _), answer in zip(part, answers, strict=True):
                for mention in filter(None, (line.strip() for line in answer.split("\n"))):
                    start = texts[i].find(mention)
                    if start < 0:
                        invented += 1
                    else:
                        found[i].append(Span(start, start + len(mention), label, 1.0))
    return [drop_overlaps(spans) for spans in found], invented


def generate_jointly(
    base: BaseModel,
    texts: Sequence[str],
    types: Sequence[str],
    *,
    adapter: Path | None = None,
    batch: int = 16,
    max_new_tokens: int = 96,
) -> list[str]:
    """One prompt a text that names all types at once, as instruction-tuned extractors are asked.

    SaM's experts were not trained for it: what it tells is how long such an answer takes.
    """
    prompter = Prompter(base.tokenizer)
    asked = prompter.query(", ".join(types))
    prompts = [[*prompter.prefix(prompter.text(text)), *asked] for text in texts]
    order = sorted(range(len(texts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(texts)
    with torch.inference_mode(), base.adapted(products_of(adapter)):
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            found = _generate(base, prompter, [prompts[i] for i in part], max_new_tokens)
            for i, answer in zip(part, found, strict=True):
                answers[i] = answer
    return answers


def _generate(
    base: BaseModel, prompter: Prompter, prompts: list[list[int]], max_new_tokens: int
) -> list[str]:
    pad = base.tokenizer.pad_token_id or 0
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=base.device)
    mask = torch.tensor(
        [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=base.device
    )
    model: Any = base.model
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=prompter.list_end,
        pad_token_id=pad,
    )
    answers = (base.tokenizer.decode(row[longest:], skip_special_tokens=True) for row in output)
    return [str(answer) for answer in answers]
