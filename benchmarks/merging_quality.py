"""F1 of each merge method with the experts that a match recommends.

    python -m benchmarks.merging_quality TARGET/dev.jsonl … [--sentences 100] [--out RESULT.json]

The first sentences are read and scored; methods that read texts see the same ones without their
labels, as a person's own corpus; the method that learns from corrections gets the 20 sentences
behind them with their labels. Everything has its default settings. Rows that the result file
already has are left as they are, so that a run can go on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from experts.corpus import read_examples
from experts.evaluate import evaluate, f1_interval
from experts.merging.data import ExpertFit
from experts.merging.registry import MergeMethod, methods
from experts.spans import Example
from sam_ui.services.engine import Engine
from sam_ui.services.merge_data import MergeInputs
from sam_ui.services.recipes import make_recipes
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings

CORRECTIONS = 20


def inputs_for(
    method: type[MergeMethod],
    scored: list[Example],
    behind: list[Example],
    types: list[str],
    fits: dict[str, ExpertFit],
) -> MergeInputs:
    """What the method is given: nobody's labels but those of the corrections."""
    if method.needs == "corrections":
        return MergeInputs([e.text for e in behind], types, [list(e.spans) for e in behind], fits)
    return MergeInputs([e.text for e in scored], types, [], fits)


def row_of(scored: list[Example], found: list, seconds: float) -> dict[str, object]:  # type: ignore[type-arg]
    """F1 with its interval, precision, recall."""
    gold = [list(e.spans) for e in scored]
    score, (low, high) = evaluate(gold, found).micro, f1_interval(gold, found)
    values = {
        "f1": score.f1, "low": low, "high": high,
        "precision": score.precision, "recall": score.recall,
    }  # fmt: skip
    return {k: round(v, 4) for k, v in values.items()} | {"seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", type=Path, nargs="+")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--only", nargs="*", help="keys of methods")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/merging_quality.json"))
    options = parser.parse_args()
    settings = Settings()
    engine = Engine(settings, pool=open_pool(settings))
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}

    def note(key: str, name: str, row: dict[str, object]) -> None:
        results[key]["rows"][name] = row
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1), "utf-8")
        print(key, name, json.dumps(row), flush=True)

    for target in options.targets:
        examples = read_examples(target)
        types = sorted({s.label for e in examples for s in e.spans})
        scored = examples[: options.sentences]
        behind = examples[options.sentences : options.sentences + CORRECTIONS]
        texts = [e.text for e in scored]
        match = engine.match(texts, types)
        fits = {e.name: ExpertFit(e.similarity, e.f1) for e in match.experts}
        key = target.parent.name
        done = results.setdefault(
            key, {"sentences": len(scored), "experts": match.single, "rows": {}}
        )["rows"]
        for name in match.single:
            if f"expert {name}" not in done:
                began = time.perf_counter()
                found = engine.predict(texts, types, [engine.pool.get(name).path])
                note(key, f"expert {name}", row_of(scored, found, time.perf_counter() - began))
        for method in methods():
            if method.key in done or (options.only and method.key not in options.only):
                continue
            recipe = make_recipes(match.single, base_model=engine.base.name, method=method.key)[0]
            inputs = inputs_for(method, scored, behind, types, fits)
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                merged = engine.merge([recipe], [Path(folder) / "merged"], inputs=inputs)[0]
                seconds = time.perf_counter() - began
                found = engine.predict(texts, types, [merged.path])
            note(key, method.key, row_of(scored, found, seconds))


if __name__ == "__main__":
    main()
