"""F1 on unseen sentences after learning from 0, 10, 20, 50 and 100 corrected ones.

    python -m benchmarks.learning TARGET ... [--generalist DIR] [--quick]

TARGET is a folder with train.jsonl, of which the first sentences of a shuffled order are the corrected
ones, and test.jsonl, of which the first 300 are scored. What learns: the merge that SaM recommends for
the test sentences without their labels; the bare base model, with an empty adapter; the generalist,
where one is given; and the merge once more with LoRA in place of LoRA+, in as many steps, at LoRA+'s
rate of A, of B (16 times as high), and at the geometric mean of both. Three seeds choose the sentences
and their order; the table gives mean and range. Everything that is finished is kept in ``--out`` and
not done again. Prints Markdown; ``--docs`` rewrites the page's table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.pages import rewrite
from experts.base import BaseModel
from experts.corpus import read_examples
from experts.evaluate import evaluate
from experts.extract import Extractor
from experts.files import written_whole
from experts.learning import LearningPlan, learn
from experts.merging.adapters import Adapter, LoraFactors, content_hash, load_adapter
from experts.spans import Example

__all__ = ["Row", "Target", "empty_adapter", "main", "read_folder", "run", "table"]

RESULTS = Path("benchmarks/results/learning.json")
SIZES = (0, 10, 20, 50, 100)
RANK = 16
"""Of the adapter that the bare base model learns with."""


@dataclass(frozen=True)
class Row:
    """What learns, and how: rates are those of the plan times `rate`, B's `ratio` times A's."""

    name: str
    start: str
    rate: float = 1.0
    ratio: float = 16.0


ROWS = (
    Row("recommended merge", "merge"),
    Row("bare base", "bare"),
    Row("generalist", "generalist"),
    Row("merge, LoRA at A's rate", "merge", 1.0, 1.0),
    Row("merge, LoRA at the mean rate", "merge", 4.0, 1.0),
    Row("merge, LoRA at B's rate", "merge", 16.0, 1.0),
)


@dataclass(frozen=True)
class Target:
    """A corpus: sentences to be corrected, in their own order, and others to score on."""

    name: str
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    types: tuple[str, ...]

    @property
    def hash(self) -> str:
        content = [[asdict(e) for e in part] for part in (self.train, self.test)]
        return hashlib.sha256(json.dumps([content, self.types]).encode()).hexdigest()[:16]


def read_folder(folder: Path, sentences: int) -> Target:
    """Its first test sentences; all types of the test part are asked."""
    train, test = read_examples(folder / "train.jsonl"), read_examples(folder / "test.jsonl")
    types = tuple(sorted({span.label for example in test for span in example.spans}))
    return Target(folder.name, tuple(train), tuple(test[:sentences]), types)


def empty_adapter(shapes: Mapping[str, tuple[int, int]], base: str, seed: int) -> Adapter:
    """An adapter of every linear layer that changes nothing yet, drawn as PEFT draws one."""
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for name, (out, into) in shapes.items():
        bound = into**-0.5
        a = (2 * torch.rand(RANK, into, generator=generator) - 1) * bound
        modules[name] = LoraFactors(a, torch.zeros(out, RANK), 2.0)
    return Adapter("empty", base, modules)


def run(
    base: BaseModel,
    target: Target,
    starts: Mapping[str, Adapter],
    rows: Sequence[Row],
    results: dict[str, Any],
    save: Callable[[], None],
    *,
    sizes: Sequence[int] = SIZES,
    seeds: int = 3,
    say: Callable[[str], None] = print,
) -> None:
    """Fill `results` of a target; `save` is called after every run.

    Args:
        starts: by the name that rows use; rows whose start is missing are left out.
    """
    extractor = Extractor(base)
    for size in sizes:
        for seed in range(seeds if size else 1):
            for row in rows:
                if row.start not in starts or (size == 0 and row.ratio == 1.0):
                    continue
                start = starts[row.start]
                key = f"{row.name} | {size} | {seed}"
                fingerprint = _fingerprint(target, row, size, seed, start)
                if results.get(key, {}).get("fingerprint") == fingerprint:
                    continue
                found = _one(base, extractor, target, row, start, size, seed)
                results[key] = {"fingerprint": fingerprint, **found}
                save()
                say(f"{target.name}: {key}: F1 {found['f1']:.3f} in {found['seconds']:.0f} s")


def _one(
    base: BaseModel,
    extractor: Extractor,
    target: Target,
    row: Row,
    start: Adapter,
    size: int,
    seed: int,
) -> dict[str, Any]:
    began, learned, adapter = time.monotonic(), None, start
    with tempfile.TemporaryDirectory() as folder:
        if size:
            learned = learn(
                base, start, _corrected(target, size, seed), target.types, Path(folder),
                plan=_plan(row, size, seed),
            )  # fmt: skip
            adapter = load_adapter(Path(folder))
    seconds = time.monotonic() - began
    texts = [example.text for example in target.test]
    read = extractor.extract(texts, target.types, adapter=adapter)
    score = evaluate([example.spans for example in target.test], read).micro
    return {
        "f1": round(score.f1, 4),
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
        "seconds": round(seconds, 1),
        "steps": learned.steps if learned else 0,
        "steps_planned": learned.of if learned else 0,
        "told_before": round(learned.before.micro.f1, 4) if learned else None,
        "told_after": round(learned.after.micro.f1, 4) if learned else None,
    }


def _corrected(target: Target, size: int, seed: int) -> list[Example]:
    order = list(target.train)
    random.Random(seed).shuffle(order)
    return order[:size]


def _plan(row: Row, size: int, seed: int) -> LearningPlan:
    plan = LearningPlan.for_sentences(size, seed=seed, lora_plus_ratio=row.ratio)
    return replace(plan, learning_rate=plan.learning_rate * row.rate)


def _fingerprint(target: Target, row: Row, size: int, seed: int, start: Adapter) -> str:
    plan = asdict(_plan(row, size, seed)) if size else None
    parts = [target.hash, asdict(row), size, seed, content_hash(start), plan]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def table(results: Mapping[str, Mapping[str, Any]], sizes: Sequence[int] = SIZES) -> str:
    """A table a target: F1 after so many corrected sentences, mean and range over seeds."""
    parts = []
    for target, cells in results.items():
        heads = [str(size) for size in sizes]
        lines = [
            f"| {target} | " + " | ".join(heads) + f" | seconds ({sizes[-1]}) |",
            "|---" * (len(heads) + 2) + "|",
        ]
        for row in ROWS:
            found = {size: _of(cells, row, size) for size in sizes}
            if any(found.values()):
                last = [cell["seconds"] for cell in found[sizes[-1]]]
                shown = [_range([cell["f1"] for cell in found[size]]) for size in sizes]
                took = f"{fmean(last):.0f}" if last else "–"
                lines.append(f"| {row.name} | " + " | ".join(shown) + f" | {took} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _of(cells: Mapping[str, Any], row: Row, size: int) -> list[Mapping[str, Any]]:
    name = f"{row.name} | {size} | "
    return [cell for key, cell in cells.items() if key.startswith(name)]


def _range(values: Sequence[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{fmean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def _starts(target: Target, generalist: Path | None) -> tuple[BaseModel, dict[str, Adapter]]:
    """The base model, and what learns."""
    from experts.base import linear_shapes
    from sam_ui.services.engine import Engine
    from sam_ui.services.recipes import make_recipes
    from sam_ui.services.store import open_pool
    from sam_ui.settings import Settings

    settings = Settings()
    engine = Engine(settings, pool=open_pool(settings))
    weights = engine.match([e.text for e in target.test], list(target.types)).single
    recipe = make_recipes(weights, base_model=engine.base.name)[0]
    print(f"{target.name}: the recommended merge is {weights}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        (merged,) = engine.merge([recipe], [Path(folder) / "merged"])
        starts = {"merge": load_adapter(merged.path)}
    shapes = linear_shapes(settings.base_model, data_dir=settings.data_dir)
    starts["bare"] = empty_adapter(shapes, engine.base.name, 0)
    if generalist is not None:
        starts["generalist"] = load_adapter(generalist)
    return engine.base, starts


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", type=Path, nargs="+")
    parser.add_argument("--generalist", type=Path, default=None)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=300)
    parser.add_argument("--rows", nargs="+", default=[row.name for row in ROWS])
    parser.add_argument("--quick", action="store_true", help="20 sentences, 10 corrections, 1 seed")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=None)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.seeds, options.sentences = [0, 10], 1, 20
    out: Path = options.out
    results: dict[str, Any] = json.loads(out.read_text("utf-8")) if out.is_file() else {}

    def save() -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", "utf-8")

    rows = [row for row in ROWS if row.name in options.rows]
    for folder in options.targets:
        target = read_folder(folder, options.sentences)
        base, starts = _starts(target, options.generalist)
        cells = results.setdefault(target.name, {})
        run(base, target, starts, rows, cells, save, sizes=options.sizes, seeds=options.seeds)
    tables = table(results, options.sizes)
    print(tables)
    if options.docs is not None:
        rewrite(options.docs, {"learning": tables})


if __name__ == "__main__":
    main()
