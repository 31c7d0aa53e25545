"""Where extraction spends its time, beside the least that this machine's arithmetic allows.

    python -m benchmarks.extraction_budget CORPUS.jsonl --adapter DIR [--sentences 100]

The limit: every token goes once through every linear layer (2 operations a weight) at the rate that
this machine's own matrix products reach. A narrow pass is bounded by reading the weights instead.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experts import reading, run
from experts.arena import Arena
from experts.base import BaseModel, load_base
from experts.corpus import read_examples
from experts.evaluate import micro_f1
from experts.extract import Extractor
from experts.head import decoder_of
from experts.merging.adapters import load_adapter
from sam_ui.settings import Settings

_ROWS = 480  # tokens of a usual pass


def best_of(run: Callable[[], Any], repeats: int = 7) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def linear_layers(base: BaseModel) -> list[nn.Linear]:
    return [m for m in decoder_of(base.model).modules() if isinstance(m, nn.Linear)]


def machine(base: BaseModel) -> dict[str, float]:
    """Rate of the model's own products (GFLOP/s) and of copying (GB/s, read and written)."""
    layers = linear_layers(base)[:7]
    inputs = [torch.randn(_ROWS, layer.in_features).to(base.dtype) for layer in layers]

    def products() -> None:
        for layer, x in zip(layers, inputs, strict=True):
            nn.functional.linear(x, layer.weight)

    operations = sum(2 * _ROWS * layer.weight.numel() for layer in layers)
    source = torch.ones(1 << 28, dtype=torch.uint8)
    target = torch.empty_like(source)
    with torch.inference_mode():
        rate = operations / best_of(products) / 1e9
        copy = 2 * len(source) / best_of(lambda: target.copy_(source), 3) / 1e9
    return {"gflops": round(rate, 1), "copy_gb_s": round(copy, 1)}


class Clock:
    """Adds up the time of functions, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def wrap(self, owner: Any, name: str, label: str) -> None:
        inner = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*args, **options)
            finally:
                self.seconds[label] += time.perf_counter() - began

        setattr(owner, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=100)
    options = parser.parse_args()
    settings = Settings()
    base = load_base(settings.base_model, data_dir=settings.data_dir, dtype=settings.dtype)
    examples = read_examples(options.corpus)
    types = sorted({s.label for e in examples for s in e.spans})
    examples = examples[: options.sentences]
    texts = [e.text for e in examples]
    adapter, extractor = load_adapter(options.adapter), Extractor(base)
    began = time.perf_counter()
    with base.adapted(adapter.products()):
        pass
    swap = time.perf_counter() - began
    extractor.extract(texts[:2], types, adapter=adapter)

    began = time.perf_counter()
    found = extractor.extract(texts, types, adapter=adapter)
    whole = time.perf_counter() - began
    facts = machine(base)

    clock, passes = Clock(), []
    for layer in linear_layers(base):
        clock.wrap(layer, "forward", "linear layers")
    clock.wrap(Arena, "attend", "attention")
    clock.wrap(decoder_of(base.model), "forward", "model")
    clock.wrap(run.Run, "_decide", "decisions")
    clock.wrap(run.Run, "_windows", "tokenising")
    clock.wrap(reading._Layout, "add", "layout")
    clock.wrap(reading._Layout, "groups", "layout")
    inner = reading.PackedReader._pass

    def count(self: Any, layout: Any, slots: Any) -> Any:
        passes.append(len(layout.tokens))
        return inner(self, layout, slots)

    reading.PackedReader._pass = count  # type: ignore[method-assign]
    extractor.extract(texts, types, adapter=adapter)
    seconds = clock.seconds
    seconds["other layers"] = seconds["model"] - seconds["linear layers"] - seconds["attention"]
    del seconds["model"]

    prompter, tokens = extractor.prompter, sum(passes)
    prefix = sum(len(prompter.prefix(prompter.text(text))) for text in texts)
    asked = len(texts) * sum(len(prompter.query(name)) for name in types)
    weights = sum(layer.weight.numel() for layer in linear_layers(base))
    limit = 2 * weights * tokens / facts["gflops"] / 1e9
    gold = [list(e.spans) for e in examples]
    report = {
        "sentences": len(texts),
        "types": len(types),
        "seconds": round(whole, 2),
        "per_second": round(len(texts) / whole, 2),
        "f1": round(micro_f1(gold, found), 4),
        "machine": facts,
        "adapter_swap_seconds": round(swap, 3),
        "tokens": {"texts": prefix, "types": asked, "answers": tokens - prefix - asked},
        "passes": {"all": len(passes), "narrower than 128": sum(n < 128 for n in passes)},
        "million_operations_a_token": round(2 * weights / 1e6, 1),
        "limit_seconds": round(limit, 2),
        "share_of_limit": round(limit / whole, 3),
        "seconds_by_part": {name: round(value, 2) for name, value in sorted(seconds.items())},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
