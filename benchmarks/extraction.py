"""Sentences a second and F1 of grounded, type-parallel extraction beside what else one would do.

    python -m benchmarks.extraction --data FOLDER --adapter DIR [--sentences 200] [--only ours]

(a) free ``generate``, one prompt for each type, batch 1 and 16; (b) ``generate`` whose logits are
masked to the same valid answers by a LogitsProcessor; (c) `experts.extract.Extractor`. The same
adapter and sentences, one after the other in one run. (a) and (b) are slow, so that they read only
the first of the sentences; (c) is timed on all, and its F1 is also given on the same first ones.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from benchmarks.targets import invalid
from experts.base import BaseModel, load_base
from experts.corpus import read_examples
from experts.decoding import CopyState
from experts.evaluate import micro_f1
from experts.extract import Extractor
from experts.free import extract_freely, generate_jointly
from experts.merging.adapters import load_adapter
from experts.prompt import Prompter
from experts.spans import Span, drop_overlaps
from sam_ui.settings import Settings

SHAPES = {
    "short queries": ("queryner/dev.jsonl", 12),
    "encyclopedia news": ("wikigold/dev.jsonl", 4),
    "long science": ("targets/crossner_science/dev.jsonl", 17),
}


class Grounding(LogitsProcessor):
    """Masks everything but valid continuations, row by row."""

    def __init__(self, states: list[CopyState], prompt: int) -> None:
        self.states, self.read = states, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for token in range(self.read, input_ids.shape[1]):
            for row, state in enumerate(self.states):
                if not state.finished:
                    state.push(int(input_ids[row, token]), 0.0)
        self.read = input_ids.shape[1]
        masked = torch.full_like(scores, -torch.inf)
        for row, state in enumerate(self.states):
            allowed = [state.list_end] if state.finished else state.allowed()
            masked[row, allowed] = scores[row, allowed]
        return masked


def extract_masked(
    base: BaseModel, texts: list[str], types: list[str], adapter: Path, batch: int
) -> list[list[Span]]:
    prompter = Prompter(base.tokenizer)
    jobs = [(i, label) for i in range(len(texts)) for label in types]
    tokens = [prompter.text(text) for text in texts]
    prompts = [[*prompter.prefix(tokens[i]), *prompter.query(label)] for i, label in jobs]
    order = sorted(range(len(jobs)), key=lambda j: len(prompts[j]))
    found: list[list[Span]] = [[] for _ in texts]
    deltas = load_adapter(adapter).products()
    with torch.inference_mode(), base.adapted(deltas):
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            longest = max(len(prompts[j]) for j in part)
            ids = torch.tensor([[0] * (longest - len(prompts[j])) + prompts[j] for j in part])
            mask = torch.tensor(
                [[0] * (longest - len(prompts[j])) + [1] * len(prompts[j]) for j in part]
            )
            states = [
                CopyState(tokens[jobs[j][0]], prompter.mention_end, prompter.list_end) for j in part
            ]
            grounding = Grounding(states, longest)
            out = base.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=64,
                eos_token_id=prompter.list_end,
                pad_token_id=prompter.list_end,
                logits_processor=LogitsProcessorList([grounding]),
            )
            grounding(out, torch.zeros(len(part), 1).expand(-1, base.model.config.vocab_size))
            for j, state in zip(part, states, strict=True):
                i, label = jobs[j]
                found[i].extend(tokens[i].span(m.begin, m.end, label, 1.0) for m in state.mentions)
    return [drop_overlaps(spans) for spans in found]


def _jointly(
    base: BaseModel, texts: list[str], types: list[str], adapter: Path
) -> list[list[Span]]:
    """For its time only: the adapter does not know this question."""
    return [[] for _ in generate_jointly(base, texts, types, adapter=adapter)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--free-1", type=int, default=4, help="sentences for batch 1")
    parser.add_argument("--free-16", type=int, default=8, help="sentences for batch 16")
    parser.add_argument("--joint", type=int, default=16, help="sentences for one joint prompt")
    parser.add_argument("--masked", type=int, default=24, help="sentences for (b)")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/extraction.json"))
    options = parser.parse_args()
    settings = Settings()
    base = load_base(
        settings.base_model,
        data_dir=settings.data_dir,
        device=settings.device,
        dtype=settings.dtype,
    )
    adapter: Path = options.adapter
    extractor = Extractor(base)
    ways: dict[str, tuple[int, Callable[[list[str], list[str]], list[list[Span]]]]] = {
        "ours": (options.sentences, lambda x, t: extractor.extract(x, t, adapter=adapter)),
        "free, batch 1": (
            options.free_1,
            lambda x, t: extract_freely(base, x, t, adapter=adapter, batch=1)[0],
        ),
        "free, batch 16": (
            options.free_16,
            lambda x, t: extract_freely(base, x, t, adapter=adapter, batch=16)[0],
        ),
        "free, all types in one prompt, batch 16": (
            options.joint,
            lambda x, t: _jointly(base, x, t, adapter),
        ),
        "masked, batch 16": (
            options.masked,
            lambda x, t: extract_masked(base, x, t, adapter, 16),
        ),
    }
    results = []
    for shape in options.shapes:
        file, most_types = SHAPES[shape]
        examples = read_examples(options.data / file)
        random.Random(0).shuffle(examples)
        examples = examples[: options.sentences]
        types = sorted({s.label for e in examples for s in e.spans})[:most_types]
        gold = [[s for s in e.spans if s.label in types] for e in examples]
        texts = [e.text for e in examples]
        extractor.extract(texts[:2], types, adapter=adapter)  # the first call of a process is slow
        ours: list[list[Span]] = []
        for way, (count, run) in ways.items():
            if options.only and way not in options.only:
                continue
            began = time.perf_counter()
            found = run(texts[:count], types)
            seconds = time.perf_counter() - began
            ours = ours or found
            row = {
                "shape": shape,
                "types": len(types),
                "way": way,
                "sentences": len(found),
                "per_second": round(len(found) / seconds, 2),
                "f1": round(micro_f1(gold[: len(found)], found), 4),
                "f1_of_first_way_there": round(micro_f1(gold[: len(found)], ours[: len(found)]), 4),
                "invalid": invalid(texts[: len(found)], types, found),
            }
            results.append(row)
            print(json.dumps(row), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
