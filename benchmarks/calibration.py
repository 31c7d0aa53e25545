"""What span probabilities are worth on labelled dev sentences, and what thresholds and a bias gain.

    python -m benchmarks.calibration --data FOLDER [--sentences 60] [--out RESULT.json]

FOLDER holds a folder for each target with a ``dev.jsonl``; nothing else is read, so that figures on
``test`` stay untouched. An adapter is the name of an expert, a folder, or experts joined by “+”: their
uniform linear merge. What is learned from the first half of the sentences is judged on the second.
Prints Markdown and writes JSON; results are added to an existing file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experts.calibration import fit_calibrator, judged, reliability
from experts.corpus import read_examples
from experts.evaluate import evaluate
from experts.extract import Extractor
from experts.operating_point import (
    BIASES,
    best_shared_threshold,
    best_thresholds,
    keep,
    learn_none_bias,
)
from experts.spans import Span
from sam_ui.services.engine import Engine
from sam_ui.services.recipes import make_recipes
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings

TARGETS = ("crossner_politics", "crossner_science")
ADAPTERS = ("biomedicine", "encyclopedia+biomedicine+social-media")

Spans = list[list[Span]]


def adapter_folder(engine: Engine, adapter: str, temporary: Path) -> Path:
    """Where the adapter lies; a merge is made first."""
    if Path(adapter).is_dir():
        return Path(adapter)
    names = adapter.split("+")
    if len(names) == 1:
        return engine.pool.get(adapter).path
    recipe = make_recipes(dict.fromkeys(names, 1 / len(names)), base_model=engine.base.name)[0]
    return engine.merge([recipe], [temporary / adapter])[0].path


def scores(gold: Spans, found: Spans) -> dict[str, float]:
    micro = evaluate(gold, found).micro
    return {"f1": micro.f1, "precision": micro.precision, "recall": micro.recall}


def measure_probabilities(gold: Spans, found: Spans, types: Sequence[str]) -> dict[str, Any]:
    """Reliability before and after calibration, and thresholds, across the two halves."""
    half = len(gold) // 2
    learn_gold, learn_found = gold[:half], found[:half]
    judge_gold, judge_found = gold[half:], found[half:]
    values, right, labels = judged(learn_gold, learn_found)
    calibrator = fit_calibrator(values, right, labels)
    plain = fit_calibrator(values, right)  # what the offsets of the types add
    shared = best_shared_threshold(learn_gold, learn_found, types).threshold
    per_type = best_thresholds(learn_gold, learn_found, types)
    after = reliability(judge_gold, calibrator.apply_to_spans(judge_found))
    return {
        "all": reliability(gold, found).to_dict(),
        "before": reliability(judge_gold, judge_found).to_dict(),
        "after without types": reliability(judge_gold, plain.apply_to_spans(judge_found)).to_dict(),
        "after": after.to_dict(),
        "calibrator": json.loads(calibrator.to_json()),
        "threshold": shared,
        "thresholds": per_type,
        "judged": {
            "threshold 0": scores(judge_gold, judge_found),
            "shared threshold": scores(judge_gold, keep(judge_found, shared)),
            "thresholds per type": scores(judge_gold, keep(judge_found, per_type)),
        },
        "markdown": {
            "before": reliability(judge_gold, judge_found).to_markdown(),
            "after": after.to_markdown(),
        },
    }


def measure(
    engine: Engine, texts: list[str], gold: Spans, types: list[str], adapter: Path
) -> dict[str, Any]:
    answers: dict[float, Spans] = {}

    def answer(bias: float) -> Spans:
        if bias not in answers:
            extractor = Extractor(engine.base, none_bias=bias)
            answers[bias] = extractor.extract(texts, types, adapter=adapter)
        return answers[bias]

    began = time.perf_counter()
    learned = learn_none_bias(gold, answer, grid=BIASES, refinements=0)
    return {
        "sentences": len(texts),
        "types": len(types),
        "none_bias": learned.to_dict(),
        **measure_probabilities(gold, answer(0.0), types),
        "seconds": round(time.perf_counter() - began, 1),
    }


def show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def report(target: str, adapter: str, row: dict[str, Any]) -> str:
    bias = row["none_bias"]
    calibrator = row["calibrator"]
    fitted = (
        f"slope {calibrator['slope']:.2f}, offset {calibrator['offset']:+.2f}, "
        f"{calibrator['spans']} spans"
    )
    figures = "\n".join(
        f"| {name} | {show(row[key]['ece'])} | {show(row[key]['brier'])} "
        f"| {show(row[key]['auroc'])} |"
        for name, key in (
            ("of the model", "before"),
            ("Platt", "after without types"),
            ("Platt with an offset for each type", "after"),
        )
    )
    judged_rows = "\n".join(
        f"| {name} | {s['f1']:.3f} | {s['precision']:.3f} | {s['recall']:.3f} |"
        for name, s in row["judged"].items()
    )
    curve = "\n".join(
        f"| {p['bias']:+.2f} | {p['f1']:.3f} | {p['precision']:.3f} | {p['recall']:.3f} "
        f"| {p['found']} |"
        for p in bias["curve"]
    )
    learned = "too few spans to learn from"
    if bias["enough"]:
        learned = (
            f"learned {bias['bias']:+.2f}: F1 {bias['f1_before']:.3f} → {bias['f1_after']:.3f} "
            "(cross-validated)"
        )
    return f"""
## {target}, {adapter}: {row["sentences"]} sentences, {row["types"]} types, {row["seconds"]} s

Second half, as the model says:

{row["markdown"]["before"]}

Second half, calibrated on the first ({fitted}):

{row["markdown"]["after"]}

| probabilities | calibration error | Brier | AUROC |
|---|---|---|---|
{figures}

Thresholds learned on the first half (shared: {row["threshold"]:.3f}), judged on the second:

| | F1 | precision | recall |
|---|---|---|---|
{judged_rows}

Bias of “no mention”, all sentences; {learned}:

| bias | F1 | precision | recall | found |
|---|---|---|---|---|
{curve}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--adapters", nargs="+", default=ADAPTERS)
    parser.add_argument("--sentences", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/calibration.json"))
    options = parser.parse_args()

    settings = Settings()
    engine = Engine(settings, pool=open_pool(settings))
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        for target in options.targets:
            examples = read_examples(options.data / target / "dev.jsonl")
            types = sorted({s.label for e in examples for s in e.spans})
            examples = examples[: options.sentences]
            texts, gold = [e.text for e in examples], [list(e.spans) for e in examples]
            for adapter in options.adapters:
                folder = adapter_folder(engine, adapter, Path(temporary) / target)
                row = measure(engine, texts, gold, types, folder)
                print(report(target, adapter, row), flush=True)
                del row["markdown"]
                results.setdefault(target, {})[adapter] = row
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
