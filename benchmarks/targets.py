"""F1 on a labelled target corpus: bare base, every single expert, and what `predict --auto` does.

    python -m benchmarks.targets TARGET.jsonl [--sentences 200] [--out RESULT.json]

The types asked are the corpus's labels. Prints a Markdown table and writes JSON. `--only` names what
to run (bare, auto, or experts); results are added to an existing file, so that a run can go on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from experts.corpus import read_examples
from experts.evaluate import evaluate, f1_interval
from experts.prompt import split_words
from experts.spans import Span
from sam_ui.services.engine import Engine
from sam_ui.services.recipes import make_recipes
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings


def invalid(texts: list[str], types: list[str], found: list[list[Span]]) -> int:
    """Spans with an unasked type, or that do not begin and end with words of the text."""
    count = 0
    for text, spans in zip(texts, found, strict=True):
        words = split_words(text)
        starts, ends = {w.start for w in words}, {w.end for w in words}
        count += sum(
            s.label not in types or s.start not in starts or s.end not in ends for s in spans
        )
    return count


def auto(
    engine: Engine, texts: list[str], types: list[str]
) -> tuple[list[list[Span]], dict[str, float]]:
    """What ``predict --auto`` does."""
    weights = engine.match(texts, types).single
    recipe = make_recipes(weights, base_model=engine.base.name)[0]
    with tempfile.TemporaryDirectory() as folder:
        merged = engine.merge([recipe], [Path(folder) / "merged"])[0]
        return engine.predict(texts, types, [merged.path]), weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/targets.json"))
    parser.add_argument("--only", nargs="*", default=None)
    options = parser.parse_args()

    settings = Settings()
    pool = open_pool(settings)
    engine = Engine(settings, pool=pool)
    examples = read_examples(options.target)
    types = sorted({s.label for e in examples for s in e.spans})
    examples = examples[: options.sentences]
    texts, gold = [e.text for e in examples], [list(e.spans) for e in examples]
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    key = options.target.parent.name
    for name in options.only or ["bare", "auto", *(e.name for e in pool.list())]:
        began = time.perf_counter()
        weights: dict[str, float] = {}
        if name == "auto":
            found, weights = auto(engine, texts, types)
        else:
            found = engine.predict(texts, types, [None if name == "bare" else pool.get(name).path])
        seconds = time.perf_counter() - began
        score, (low, high) = evaluate(gold, found).micro, f1_interval(gold, found)
        row = {
            "f1": round(score.f1, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "precision": round(score.precision, 4),
            "recall": round(score.recall, 4),
            "invalid": invalid(texts, types, found),
            "seconds": round(seconds, 1),
            "sentences": len(texts),
            "types": len(types),
            "weights": weights,
        }
        results.setdefault(key, {})[name] = row
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1), "utf-8")
        print(
            f"| {key} | {name} | {score.f1:.3f} ({low:.3f}–{high:.3f}) | {score.precision:.3f} "
            f"| {score.recall:.3f} | {row['invalid']} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
