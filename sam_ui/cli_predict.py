"""``sam-ui predict``: which adapter, which texts, and one output line for each input."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experts.errors import SamError
from experts.spans import Span
from sam_ui.cli_output import progress_line

if TYPE_CHECKING:
    from sam_ui.services.engine import Engine

__all__ = ["Piece", "Request", "merge_recommended", "pieces_of", "recommend", "run"]

_LONG = 400  # characters; what most sentences stay below

Truth = tuple[Span, ...] | None
"""A text's true spans; None where nobody has looked."""


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
    threshold: float = 0.0
    none_bias: float = 0.0

    def __post_init__(self) -> None:
        for option, value in (("threshold", self.threshold), ("none-bias", self.none_bias)):
            if not math.isfinite(value):
                raise SamError(f"--{option} is not a number.", f"For example: --{option} 0.5")

    def texts(self) -> tuple[list[str], list[Truth]]:
        """The texts and their true spans, as `experts.corpus.read_units` gives them."""
        from experts.corpus import check_labelled, read_units

        units = read_units(self.corpus, column=self.column, gold=self.gold)
        truth = [spans for _, spans in units]
        if self.gold:
            check_labelled(self.corpus, truth)
        return [text for text, _ in units], truth


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
    from experts.merging.adapters import load_adapter
    from experts.operating_point import keep

    engine.none_bias = request.none_bias
    texts, truth = request.texts()
    if adapter is not None:
        load_adapter(adapter)  # refuses what cannot be read before the base model is loaded
    pieces = [piece for i, text in enumerate(texts) for piece in pieces_of(i, text)]
    read = [texts[piece.text][piece.start : piece.end] for piece in pieces]
    recommended: dict[str, float] | None = None
    with tempfile.TemporaryDirectory() as temporary, progress_line() as tell:
        chosen = adapter
        if expert is not None:
            chosen = engine.pool.get(expert).path
        if auto:
            gold = [p.truth(truth[p.text]) for p in pieces] if request.gold else None
            recommended = recommend(engine, request, read, gold, tell)
            chosen = merge_recommended(engine, recommended, Path(temporary) / "merged", tell)
        answers = engine.predict(read, request.types, [chosen], progress=tell)
    found: list[list[Span]] = [[] for _ in texts]
    for piece, spans in zip(pieces, answers, strict=True):
        found[piece.text].extend(piece.moved(spans))
    found = keep(found, request.threshold)
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
        document["f1"] = _f1(truth, found, request.types)
    return document


def _f1(truth: Sequence[Truth], found: Sequence[list[Span]], types: Sequence[str]) -> float:
    """Micro F1 of the asked types over the texts whose entities are known."""
    from experts.evaluate import micro_f1

    known = [(spans, mine) for spans, mine in zip(truth, found, strict=True) if spans is not None]
    return micro_f1(
        [[s for s in spans if s.label in types] for spans, _ in known], [mine for _, mine in known]
    )


@dataclass(frozen=True)
class Piece:
    """Characters ``start`` … ``end - 1`` of a text: a sentence of a long one."""

    text: int
    start: int
    end: int

    def truth(self, spans: Truth) -> Truth:
        """The text's spans that lie inside, with offsets of the piece."""
        if spans is None:
            return None
        inside = (s for s in spans if self.start <= s.start and s.end <= self.end)
        return tuple(replace(s, start=s.start - self.start, end=s.end - self.start) for s in inside)

    def moved(self, spans: Sequence[Span]) -> list[Span]:
        """Spans of the piece with offsets of the whole text."""
        return [replace(s, start=s.start + self.start, end=s.end + self.start) for s in spans]


def pieces_of(index: int, text: str) -> list[Piece]:
    """The sentences of a long text; a short one stays whole. The experts were trained on sentences."""
    from experts.corpus import split_sentences

    if len(text) <= _LONG:
        return [Piece(index, 0, len(text))] if text.strip() else []
    return [Piece(index, start, end) for start, end in split_sentences(text)]


def recommend(
    engine: Engine,
    request: Request,
    texts: Sequence[str],
    truth: Sequence[Truth] | None,
    tell: Any,
) -> dict[str, float]:
    """The weights that a match recommends; with `truth`, the probe is scored against it."""
    asked = set(request.types)
    gold = truth and [t and tuple(s for s in t if s.label in asked) for t in truth]
    result = engine.match(
        texts,
        request.types,
        samples=request.samples,
        k=request.k,
        seed=request.seed,
        gold=gold,
        progress=tell,
    )
    return result.single


def merge_recommended(engine: Engine, weights: dict[str, float], folder: Path, tell: Any) -> Path:
    """Merge recommended experts into a folder and return it."""
    from sam_ui.services.recipes import make_recipes

    hashes = {name: engine.pool.get(name).card.hash for name in weights}
    base = engine.pool.get(next(iter(weights))).card.base_model
    recipe = make_recipes(weights, base_model=base, hashes=hashes)[0]
    return engine.merge([recipe], [folder], progress=tell)[0].path
