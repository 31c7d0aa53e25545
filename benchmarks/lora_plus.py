"""LoRA+ against LoRA at equal steps: F1 in the own domain along the run.

    python -m benchmarks.lora_plus --data DIR [--recipes NAME ...] [--sentences 800] [--dev 60]

DIR is the folder of corpora. Every recipe is trained with each ratio and rate of `VARIANTS`: the rate
of LoRA is LoRA+'s rate of A, of B (16 times as high), or the geometric mean of both, so that LoRA is
not judged by a rate that only suits the other. Same data in the same order, same schedule, same start.
Finished runs are kept in ``--out`` and not made again. Prints Markdown; ``--docs`` rewrites the page's
table. Paper: LoRA+, arXiv 2402.12354.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import rewrite
from benchmarks.sam_bench import write_json
from experts.base import BaseModel, load_base
from experts.evaluate import micro_f1
from experts.extract import Extractor
from experts.recipes import TrainingRecipe, load_recipe
from experts.sampling import Sampler
from experts.spans import Span
from experts.starting import StartingPoint
from experts.train_expert import own_dev
from experts.training import train_adapter
from sam_ui.settings import Settings

__all__ = ["STOPS", "VARIANTS", "main", "share_of_steps", "table", "train_once"]

RECIPES = Path("assets/recipes")
POOL = Path("assets/experts")
RESULTS = Path("benchmarks/results/lora_plus.json")
STOPS = (0.2, 0.4, 0.6, 0.8, 1.0)
VARIANTS = {
    "LoRA+, B 16 times A": (1.0, 16.0),
    "LoRA+, B 4 times A": (2.0, 4.0),
    "LoRA at A's rate": (1.0, 1.0),
    "LoRA at the mean rate": (4.0, 1.0),
    "LoRA at B's rate": (16.0, 1.0),
}
"""Name → learning rate of A over that of the recipe, rate of B over that of A."""


def train_once(base: BaseModel, recipe: TrainingRecipe, data: Path, dev: int) -> dict[str, Any]:
    """Train a recipe, and read dev sentences of its domain at every stop.

    Returns:
        ``{"f1": [one a stop], "loss": nats a token, "seconds": of training and reading}``
    """
    sampler = Sampler(recipe, data)
    start = StartingPoint(recipe.start, [POOL], base.name).adapter if recipe.start else None
    steps = -(-recipe.sentences // recipe.batch)
    stops = {round(steps * share) for share in STOPS}
    parts = list(own_dev(recipe, data, dev))
    extractor, scores = Extractor(base), []

    def watch(step: int) -> None:
        if step not in stops:
            return
        gold: list[list[Span]] = []
        found: list[list[Span]] = []
        for texts, truth, asked in parts:
            gold.extend(truth)
            found.extend(extractor.extract_within(contextlib.nullcontext(), texts, asked))
        scores.append(round(micro_f1(gold, found), 4))

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = train_adapter(base, recipe, sampler, Path(folder), start=start, watch=watch)
    return {
        "f1": scores,
        "loss": round(result["loss"], 4),
        "seconds": round(time.monotonic() - began, 1),
    }


def share_of_steps(fast: Sequence[float], slow: Sequence[float]) -> float | None:
    """The first stop at which one run is as good as the other ever is, as a share of all steps."""
    reached = [stop for stop, f1 in zip(STOPS, fast, strict=True) if f1 >= max(slow)]
    return reached[0] if reached else None


def table(results: dict[str, Any]) -> str:
    """A row a run; how soon LoRA+ is as good as the best of LoRA."""
    if not results.get("runs"):
        return "*Not measured yet.*"
    heads = [f"{stop:.0%} of the steps" for stop in STOPS]
    lines = [
        "| domain | rates | " + " | ".join(heads) + " | loss | LoRA's best after |",
        "|---|---|" + "---|" * (len(STOPS) + 2),
    ]
    for name, runs in results["runs"].items():
        plain = [run["f1"] for variant, run in runs.items() if VARIANTS[variant][1] == 1]
        for variant, run in runs.items():
            after = "–"
            if VARIANTS[variant][1] > 1 and plain:
                share = share_of_steps(run["f1"], max(plain, key=max))
                after = f"{share:.0%} of the steps" if share else "never"
            cells = " | ".join(f"{f1:.3f}" for f1 in run["f1"])
            lines.append(f"| {name} | {variant} | {cells} | {run['loss']:.3f} | {after} |")
    told = results["settings"]
    return "\n".join(lines) + (
        f"\n\n{told['sentences']:,} sentences a run, F1 on {told['dev']} dev sentences of the domain."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=["laboratory", "law-and-finance"])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--sentences", type=int, default=800)
    parser.add_argument("--dev", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, help="page whose table is rewritten")
    options = parser.parse_args(arguments)
    settings = {"sentences": options.sentences, "dev": options.dev}
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    if results.get("settings") != settings:
        results = {"settings": settings, "runs": {}}
    base = load_base(Settings().base_model, data_dir=Settings().data_dir)
    for name in options.recipes:
        known = results["runs"].setdefault(name, {})
        plan = load_recipe(RECIPES / f"{name}.toml")
        for variant in options.variants:
            if variant not in known:
                rate, ratio = VARIANTS[variant]
                recipe = plan.model_copy(
                    update={
                        "learning_rate": plan.learning_rate * rate,
                        "lora_plus_ratio": ratio,
                        "sentences": options.sentences,
                    }
                )
                known[variant] = train_once(base, recipe, options.data, options.dev)
                print(name, variant, known[variant], flush=True)
                write_json(options.out, results)
    print(table(results))
    if options.docs:
        rewrite(options.docs, {"lora-plus": table(results)})


if __name__ == "__main__":
    main()
