"""``sam-ui predict``: which adapter, which texts, and one output line for each input."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experts.spans import Span
from sam_ui.cli_output import progress_line

if TYPE_CHECKING:
    from sam_ui.services.engine import Engine

__all__ = ["Request", "run"]


@dataclass(frozen=True)
class Request:
    """What is asked of `run`; fields as the options of the command."""

    corpus: Path
    column: str | None
    types: list[str]
    gold: bool
    samples: int
    k: int
    seed: int

    def texts(self) -> tuple[list[str], list[tuple[Span, ...]]]:
        """The texts and their true spans (empty unless `gold`).

        A jsonl file gives one text for each line, in order, so that output and input go together
        line by line; other files give their sentences.
        """
        from experts.corpus import read_corpus, read_records

        if self.corpus.suffix.lower() in {".jsonl", ".ndjson"}:
            records = read_records(self.corpus, gold=self.gold)
            return [r.text for r in records], [r.spans for r in records]
        corpus = read_corpus([self.corpus], column=self.column, gold=self.gold)
        return [s.text for s in corpus.sentences], [spans or () for spans in corpus.gold]


def run(
    engine: Engine,
    request: Request,
    *,
    expert: str | None,
    adapter: Path | None,
    auto: bool,
    out: Path,
) -> dict[str, Any]:
    """Predict and write the predictions; returns what ``--json`` prints.

    Raises:
        SamError: for an unreadable corpus, an unknown expert or an adapter that does not fit.
    """
    from experts.corpus import write_predictions
    from experts.evaluate import evaluate

    texts, truth = request.texts()
    recommended: dict[str, float] | None = None
    with tempfile.TemporaryDirectory() as temporary, progress_line() as tell:
        chosen = adapter
        if expert is not None:
            chosen = engine.pool.get(expert).path
        if auto:
            recommended = _recommend(engine, request, texts, truth, tell)
            chosen = _merge(engine, recommended, Path(temporary) / "merged", tell)
        found = engine.predict(texts, request.types, [chosen], progress=tell)
    write_predictions(out, texts, found)
    document: dict[str, Any] = {
        "out": str(out),
        "texts": len(texts),
        "entities": sum(map(len, found)),
        "types": request.types,
        "weights": recommended,
        "f1": None,
    }
    if request.gold:
        asked = set(request.types)
        known = [[s for s in spans if s.label in asked] for spans in truth]
        document["f1"] = evaluate(known, found).micro.f1
    return document


def _recommend(
    engine: Engine,
    request: Request,
    texts: Sequence[str],
    truth: Sequence[Sequence[Span]],
    tell: Any,
) -> dict[str, float]:
    kept = [i for i, text in enumerate(texts) if text.strip()]
    asked = set(request.types)
    gold = [[s for s in truth[i] if s.label in asked] for i in kept] if request.gold else None
    result = engine.match(
        [texts[i] for i in kept],
        request.types,
        samples=request.samples,
        k=request.k,
        seed=request.seed,
        gold=gold,
        progress=tell,
    )
    return result.single


def _merge(engine: Engine, weights: dict[str, float], folder: Path, tell: Any) -> Path:
    from sam_ui.services.recipes import make_recipes

    hashes = {name: engine.pool.get(name).card.hash for name in weights}
    base = engine.pool.get(next(iter(weights))).card.base_model
    recipe = make_recipes(weights, base_model=base, hashes=hashes)[0]
    return engine.merge([recipe], [folder], progress=tell)[0].path
