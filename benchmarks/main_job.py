"""Seconds of the main job: 100 sentences, match over all bundled experts, merge, predict.

    python -m benchmarks.main_job CORPUS.jsonl [--sentences 100] [--samples 10]

Everything from a cold start of the process, as a person who pastes texts waits for it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from experts.corpus import read_examples
from sam_ui.services.engine import Engine
from sam_ui.services.recipes import make_recipes
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--samples", type=int, default=10)
    options = parser.parse_args()
    examples = read_examples(options.corpus)
    types = sorted({s.label for e in examples for s in e.spans})
    texts = [e.text for e in examples[: options.sentences]]
    settings = Settings()
    clock = [time.perf_counter()]

    def lap(name: str) -> None:
        clock.append(time.perf_counter())
        seconds[name] = round(clock[-1] - clock[-2], 2)

    seconds: dict[str, float] = {}
    engine = Engine(settings, pool=open_pool(settings))
    _ = engine.base, engine.embedder
    lap("load models")
    result = engine.match(texts, types, samples=options.samples)
    lap("match")
    with tempfile.TemporaryDirectory() as folder:
        recipe = make_recipes(result.single, base_model=engine.base.name)[0]
        merged = engine.merge([recipe], [Path(folder) / "merged"])[0]
        lap("merge")
        found = engine.predict(texts, types, [merged.path])
        lap("predict")
    print(
        json.dumps(
            {
                "sentences": len(texts),
                "types": len(types),
                "experts": len(result.experts),
                "samples": len(result.probe),
                "seconds": seconds,
                "total": round(clock[-1] - clock[0], 1),
                "spans": sum(map(len, found)),
            }
        )
    )


if __name__ == "__main__":
    main()
