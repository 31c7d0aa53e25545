"""From a row's declaration to the adapters that it reads, through the product's own code."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sam_answers import Reader
from benchmarks.sam_probes import PROBES
from benchmarks.sam_rows import GENERALIST, Best, How, One, Select, Uniform
from benchmarks.sam_targets import PartPool, Target
from experts.errors import SamError
from experts.evaluate import micro_f1
from experts.merging.data import ExpertFit
from experts.merging.recipe import Recipe
from experts.pool import Expert, Pool
from experts.probe import ProbeScore
from experts.select import recommend
from experts.similarity import Embedder, Vectors
from sam_ui.services.engine import Engine, MatchResult
from sam_ui.services.merge_data import MergeInputs
from sam_ui.services.recipes import make_recipes

__all__ = ["Choice", "Chooser", "Job", "KeptVectors", "code_digest"]

TEMPERATURE = 0.1
_DIGITS = 12  # of weights: ⅓ by one way and by another are one recipe


@dataclass(frozen=True)
class Job:
    """A recipe to run, with what its method needs beside the experts."""

    recipe: Recipe
    inputs: MergeInputs | None = None

    @property
    def key(self) -> str:
        """Of all that its result depends on, except the code."""
        content = self.recipe.model_dump(exclude={"criterion"})
        content["experts"] = sorted(content["experts"], key=lambda expert: expert["name"])
        fits = {} if self.inputs is None else self.inputs.fits
        seen = {name: [fit.similarity, fit.f1] for name, fit in sorted(fits.items())}
        return hashlib.sha256(json.dumps([content, seen], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Choice:
    """What one row reads with one seed.

    Attributes:
        adapters: their answers are united: experts, merges, or None for the bare base model.
        probed: expert → sentences that it had to read before, for the recommendation.
    """

    adapters: tuple[Expert | Job | None, ...]
    probed: Mapping[str, int] = field(default_factory=dict)

    def described(self) -> list[dict[str, float]]:
        """For each adapter its experts and weights; the bare base model has none."""
        return [
            {e.name: round(e.weight, 4) for e in adapter.recipe.experts}
            if isinstance(adapter, Job)
            else {adapter.name: 1.0}
            if adapter
            else {}
            for adapter in self.adapters
        ]


class KeptVectors(Embedder):
    """An embedder that remembers: the same sentences are compared many times here."""

    def __init__(self, inner: Callable[[], Embedder]) -> None:
        self._load, self._loaded = inner, None
        self._known: dict[str, Vectors] = {}

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of the embedder."""
        return self._inner.name

    @property
    def _inner(self) -> Embedder:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def embed(self, texts: Sequence[str], **options: Any) -> Vectors:
        """As in `Embedder`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new or not texts:
            vectors = self._inner.embed(new, **options)
            if not texts:
                return vectors
            self._known.update(zip(new, vectors, strict=True))
        return np.stack([self._known[text] for text in texts])


class Chooser:
    """Chooses experts and weights, as the product does.

    Args:
        experts: the pool without the generalist.
        generalist: the adapter that was trained on everything, if there is one.

    Attributes:
        engine, reader: to be set before use; the engine's pool is `pool`.
    """

    def __init__(self, experts: Sequence[Expert], generalist: Expert | None) -> None:
        self.experts, self.generalist = list(experts), generalist
        self._present: list[Expert] = []
        self._matches: dict[tuple[object, ...], MatchResult] = {}
        self.engine: Engine
        self.reader: Reader

    def pool(self) -> Pool:
        """The experts that take part in the row at hand."""
        return PartPool(self._present)

    def allowed(self, target: Target) -> list[Expert]:
        """The experts that may take part in a target, without the generalist."""
        return [expert for expert in self.experts if expert.name not in target.without]

    def expert(self, name: str) -> Expert:
        """By name; "generalist" is the generalist, whatever its name."""
        if self.generalist is not None and name in (GENERALIST, self.generalist.name):
            return self.generalist
        return next(expert for expert in self.experts if expert.name == name)

    def choose(self, how: How, target: Target, seed: int) -> Choice:
        """What a row reads.

        Raises:
            SamError: nothing can be chosen.
        """
        if isinstance(how, One):
            return Choice((None if how.expert is None else self.expert(how.expert),))
        present = self._participants(how, target)
        if not present:
            raise SamError("No expert is left.", "Use a larger pool.")
        if isinstance(how, Uniform):
            return self._merge({e.name: 1 / len(present) for e in present}, present)
        if isinstance(how, Best):
            return self._best(how, target, present, seed)
        result = self.match(target, present, seed, k=how.k, samples=how.samples, labels=how.labels)
        if how.votes:
            result = _voted(result, how.votes, how.k)
        dual = None
        weights = result.single
        if how.criterion == "dual":
            dual = (list(result.by_similarity), list(result.by_probe))
        elif how.criterion == "similarity" or (how.criterion == "probe" and not result.by_probe):
            weights = result.by_similarity
        elif how.criterion == "probe":
            weights = result.by_probe
        if how.weights != "uniform":
            weights = _softmax(result, weights, how.weights)
        choice = self._merge(
            weights, present, how.method, _inputs(how.method, target, result), dual
        )
        return Choice(choice.adapters, _probed(result))

    def _participants(self, how: Best | Uniform | Select, target: Target) -> list[Expert]:
        present = self.allowed(target)
        if isinstance(how, Select):
            if how.pool is not None:
                order = np.random.default_rng(how.order).permutation(len(present))
                present = [present[i] for i in order[: how.pool]]
            present = [expert for expert in present if expert.name != how.without]
        if how.generalist and self.generalist is not None:
            present = [*present, self.generalist]
        return present

    def _best(self, how: Best, target: Target, present: Sequence[Expert], seed: int) -> Choice:
        if how.by == "gold":
            return Choice((max(present, key=lambda expert: self.gold_f1(expert, target)),))
        result = self.match(target, present, seed, k=1)
        chosen = (how.by == "probe" and result.by_probe) or result.by_similarity
        probed = _probed(result) if how.by == "probe" else {}
        by_name = {expert.name: expert for expert in present}
        return Choice((by_name[next(iter(chosen))],), probed)

    def _merge(
        self,
        weights: Mapping[str, float],
        present: Sequence[Expert],
        method: str = "linear",
        inputs: MergeInputs | None = None,
        dual: tuple[list[str], list[str]] | None = None,
    ) -> Choice:
        recipes = make_recipes(
            weights,
            method=method,
            base_model=present[0].card.base_model,
            hashes={expert.name: expert.card.hash for expert in present},
            dual=dual,
        )
        return Choice(tuple(Job(_rounded(recipe), inputs) for recipe in recipes))

    def gold_f1(self, expert: Expert, target: Target) -> float:
        """On the whole target, which the expert must have read."""
        found = self.reader.answers(expert.card.hash, target.texts, target.types)
        return micro_f1(target.gold, found)

    def match(
        self,
        target: Target,
        present: Sequence[Expert],
        seed: int,
        *,
        k: int | None = None,
        samples: int | None = None,
        labels: bool = False,
    ) -> MatchResult:
        """`Engine.match` over some experts; what is None is its default."""
        names = tuple(sorted(expert.name for expert in present))
        key = (target.hash, names, seed, k, samples, labels)
        if key not in self._matches:
            options: dict[str, Any] = {"k": k, "samples": samples}
            options = {name: value for name, value in options.items() if value is not None}
            self._present = list(present)
            self._matches[key] = self.engine.match(
                target.texts,
                target.types,
                seed=seed,
                gold=target.gold if labels else None,
                **options,
            )
        return self._matches[key]

    def present(self, names: Sequence[str]) -> None:
        """Let the pool be these experts, for a merge."""
        self._present = [self.expert(name) for name in names]


def _voted(result: MatchResult, votes: str, k: int | None) -> MatchResult:
    """The recommendation with another way to count what experts found in the sampled sentences."""
    default: int = inspect.signature(Engine.match).parameters["k"].default
    answers = {name: [spans or () for spans in found] for name, found in result.answers.items()}
    probe = {
        name: ProbeScore(f1, f1, f1, support=0, per_type={}, enough=True)
        for name, f1 in PROBES[votes](answers).items()
    }
    similarities = {e.name: e.similarity for e in result.experts}
    found = recommend(similarities, probe, default if k is None else k)
    return replace(
        result, single=found.single, by_similarity=found.by_similarity, by_probe=found.by_probe
    )


def _probed(result: MatchResult) -> dict[str, int]:
    return {name: len(result.probe) for name in result.answers}


def _rounded(recipe: Recipe) -> Recipe:
    experts = [
        e.model_copy(update={"weight": round(e.weight, _DIGITS)})
        for e in sorted(recipe.experts, key=lambda e: e.name)
    ]
    return recipe.model_copy(update={"experts": experts})


def _inputs(method: str, target: Target, result: MatchResult) -> MergeInputs | None:
    from experts.merging.registry import get_method

    if get_method(method).needs == "none":
        return None
    fits = {e.name: ExpertFit(e.similarity, e.f1 if e.enough else None) for e in result.experts}
    return MergeInputs(texts=target.texts, types=target.types, fits=fits)


def _softmax(result: MatchResult, weights: Mapping[str, float], by: str) -> dict[str, float]:
    scores = {e.name: e.similarity if by == "similarity" else e.f1 or 0.0 for e in result.experts}
    powers = {name: math.exp(scores[name] / TEMPERATURE) for name in weights}
    total = sum(powers.values())
    return {name: power / total for name, power in powers.items()}


def code_digest(root: Path) -> str:
    """Of the sources that choose and merge: with other code, rows are made anew."""
    files = [*(root / "experts" / "merging").glob("*.py")]
    files += [root / "experts" / f"{n}.py" for n in ("probe", "probing", "select", "similarity")]
    files += [
        root / "sam_ui" / "services" / f"{name}.py"
        for name in ("engine", "recipes", "probing", "domains", "matching", "merge_data")
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()
