"""The models at work: match, merge and predict over plain texts. No database.

The worker and the command line use the same `Engine`; base model and embedder are loaded at their
first use and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from experts.errors import Cancelled, SamError
from experts.spans import Span, drop_overlaps
from sam_ui.services.domains import Domains

if TYPE_CHECKING:
    from experts.base import BaseModel
    from experts.extract import Extractor
    from experts.merging.recipe import Recipe
    from experts.pool import Expert, Pool
    from experts.similarity import Embedder
    from sam_ui.services.domains import Domain, Vectors
    from sam_ui.settings import Settings

__all__ = [
    "Engine",
    "ExpertMatch",
    "MatchResult",
    "MergedAdapter",
    "unite",
]

Progress = Callable[[int, int, str], None]
Cancel = Callable[[], bool]

MAX_EMBEDDED = 2000
"""Sentences that the similarity is computed from: the mean of more moves it by nothing visible."""
MAX_MAP_POINTS = 400


@dataclass(frozen=True)
class ExpertMatch:
    """One expert's scores; attributes as in `sam_ui.services.views.ExpertScore`."""

    name: str
    similarity: float
    f1: float | None
    low: float | None
    high: float | None
    support: int
    enough: bool
    per_type: dict[str, float | None]
    nearest: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MatchResult:
    """What `Engine.match` found.

    Attributes:
        experts: in the order of the pool.
        probe: indices into the texts of the sampled sentences.
        answers: expert name -> for each of `probe`, the spans that it found.
        single, by_similarity, by_probe: expert name -> weight; each sums to 1.
        map_points: 2-D points; `map_texts` says by index which text each belongs to.
        map_experts: expert name -> 2-D points of its exemplars.
    """

    experts: list[ExpertMatch]
    probe: list[int]
    answers: dict[str, list[list[Span]]]
    single: dict[str, float]
    by_similarity: dict[str, float]
    by_probe: dict[str, float]
    map_points: list[tuple[float, float]]
    map_texts: list[int]
    map_experts: dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class MergedAdapter:
    """A recipe that was run; `path` is the adapter's folder in PEFT's format."""

    recipe: Recipe
    path: Path
    retained_energy: float
    seconds: float


def unite(answers: Sequence[Sequence[Span]]) -> list[Span]:
    """One sentence's spans from several adapters: the same span keeps its higher score, and of
    spans that overlap the likeliest stays.
    """
    best: dict[tuple[int, int, str], Span] = {}
    for span in (span for spans in answers for span in spans):
        known = best.get(span.key)
        if known is None or (span.score or 0.0) > (known.score or 0.0):
            best[span.key] = span
    return drop_overlaps(list(best.values()))


class Engine:
    """Base model, embedder and pool, put to work.

    Args:
        pool: the experts, or a function that gives them when they are first needed.
    """

    def __init__(self, settings: Settings, *, pool: Pool | Callable[[], Pool]) -> None:
        self.settings = settings
        self._pool = pool
        self._domains = Domains()

    @property
    def pool(self) -> Pool:
        return self._pool() if callable(self._pool) else self._pool

    @cached_property
    def base(self) -> BaseModel:
        """The base model, loaded at the first use."""
        import torch

        from experts.base import load_base

        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        return load_base(
            self.settings.base_model,
            data_dir=self.settings.data_dir,
            device=self.settings.device,
            dtype=self.settings.dtype,
        )

    @cached_property
    def extractor(self) -> Extractor:
        from experts.extract import Extractor

        return Extractor(self.base)

    @cached_property
    def embedder(self) -> Embedder:
        from experts.similarity import load_embedder

        return load_embedder(self.settings.embedder, self.settings.device)

    # ---- select ----

    def match(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        samples: int = 10,
        k: int = 3,
        seed: int = 0,
        gold: Sequence[Sequence[Span] | None] | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> MatchResult:
        """Similarity and probe of every expert of the pool, and the recommended selection.

        Args:
            texts: the sentences.
            types: names of the entity types to probe.
            samples: sentences to probe on.
            k: experts to recommend by each criterion.
            gold: true spans per sentence where known; the probe then scores against them.
            progress: called with (done, total, message).

        Raises:
            SamError: no texts, no types or an empty pool.
            Cancelled: `cancelled` said so.
        """
        import numpy as np

        from experts.probe import sample_sentences, score_answers
        from experts.select import recommend
        from experts.similarity import domain_similarities, mean_vector

        experts = self._check_match(texts, types)
        tell = progress or _silent
        chosen = _spread(len(texts), MAX_EMBEDDED)
        vectors = self._embed([texts[i] for i in chosen], len(experts), tell, cancelled)
        mean = mean_vector(vectors)
        domains = {expert.name: self._domains.of(expert, self.embedder) for expert in experts}
        means = np.stack([domain.mean for domain in domains.values()])
        similarities = [float(value) for value in domain_similarities(mean, means)]

        picked = sample_sentences(vectors, min(samples, len(chosen)), seed)
        probe = [chosen[int(i)] for i in picked]
        answers = self._answers(experts, [texts[i] for i in probe], types, tell, cancelled)
        truth = None if gold is None else [_frozen(gold[i]) for i in probe]
        scores = score_answers(answers, list(types), truth, seed=seed)
        by_name = dict(zip((e.name for e in experts), similarities, strict=True))
        selection = recommend(by_name, scores, k)
        points, shown, regions = _map(vectors, domains)
        return MatchResult(
            experts=[
                ExpertMatch(
                    name=expert.name,
                    similarity=by_name[expert.name],
                    f1=scores[expert.name].f1,
                    low=scores[expert.name].low,
                    high=scores[expert.name].high,
                    support=scores[expert.name].support,
                    enough=scores[expert.name].enough,
                    per_type=dict(scores[expert.name].per_type),
                    nearest=domains[expert.name].nearest(mean),
                )
                for expert in experts
            ],
            probe=probe,
            answers=answers,
            single=dict(selection.single),
            by_similarity=dict(selection.by_similarity),
            by_probe=dict(selection.by_probe),
            map_points=points,
            map_texts=[chosen[i] for i in shown],
            map_experts=regions,
        )

    def _check_match(self, texts: Sequence[str], types: Sequence[str]) -> list[Expert]:
        if not texts:
            raise SamError("There are no sentences.", "Add texts first.")
        if not types:
            raise SamError("There are no entity types.", "Name the types to look for.")
        experts = self.pool.list()
        if not experts:
            raise SamError("There are no experts in the pool.", "Add an expert first.")
        return list(experts)

    def _embed(
        self, texts: Sequence[str], weight: int, tell: Progress, cancelled: Cancel | None
    ) -> Vectors:
        """Vectors (n, d); takes one part of the progress, each of the `weight` experts another."""
        tell(0, weight + 1, "Loading the models")

        def report(done: int, total: int) -> None:
            part = int(1000 * done / total) if total else 1000
            tell(part, 1000 * (weight + 1), "Comparing your texts with the experts'")

        return self.embedder.embed(texts, progress=report, cancelled=cancelled)

    def _answers(
        self,
        experts: Sequence[Expert],
        texts: Sequence[str],
        types: Sequence[str],
        tell: Progress,
        cancelled: Cancel | None,
    ) -> dict[str, list[list[Span]]]:
        tell(1, len(experts) + 1, "Loading the base model")
        extractor = self.extractor
        answers: dict[str, list[list[Span]]] = {}
        for number, expert in enumerate(experts):
            message = f"Probing expert {number + 1} of {len(experts)}"

            def report(done: int, total: int, number: int = number, message: str = message) -> None:
                part = number + 1 + (done / total if total else 0)
                tell(int(1000 * part), 1000 * (len(experts) + 1), message)

            report(0, 1)
            _check(cancelled)
            answers[expert.name] = extractor.extract(
                list(texts), list(types), adapter=expert.path, progress=report, cancelled=cancelled
            )
        return answers

    # ---- merge ----

    def merge(
        self,
        recipes: Sequence[Recipe],
        folders: Sequence[Path],
        *,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> list[MergedAdapter]:
        """Run the recipes; each merged adapter is saved in its folder, in PEFT's format.

        Raises:
            SamError: an unknown expert, or one that does not fit the others.
            Cancelled: `cancelled` said so.
        """
        from experts.merging.adapters import load_adapter, save_adapter
        from experts.merging.merge import merge

        tell = progress or _silent
        done: list[MergedAdapter] = []
        for number, (recipe, folder) in enumerate(zip(recipes, folders, strict=True)):
            adapters = []
            for member in recipe.experts:
                _check(cancelled)
                expert = self.pool.get(member.name)
                adapters.append(
                    load_adapter(
                        expert.path, name=expert.name, expected_base=recipe.base_model or None
                    )
                )

            def report(done: int, total: int, message: str, number: int = number) -> None:
                part = number + (done / total if total else 0)
                tell(int(1000 * part), 1000 * len(recipes), "Merging the experts")

            result = merge(recipe, adapters, progress=report, cancelled=cancelled)
            base = recipe.base_model or result.adapter.base_model
            folder.parent.mkdir(parents=True, exist_ok=True)
            save_adapter(result.adapter, folder, base_model=base)
            recipe.save(folder / "recipe.json")
            done.append(MergedAdapter(recipe, folder, result.retained_energy, result.seconds))
        return done

    # ---- predict ----

    def predict(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path | None],
        *,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> list[list[Span]]:
        """Spans of each text, sorted, without overlaps.

        Args:
            adapters: folders of adapters whose predictions are united; None is the bare base.

        Raises:
            Cancelled: `cancelled` said so.
        """
        tell = progress or _silent
        tell(0, 1, "Loading the base model")
        answers: list[list[list[Span]]] = []
        for number, adapter in enumerate(adapters):

            def report(done: int, total: int, number: int = number) -> None:
                part = (number + (done / total if total else 0)) / len(adapters)
                shown = int(part * len(texts))
                message = f"Reading sentence {min(shown + 1, len(texts))} of {len(texts)}"
                tell(int(1000 * part), 1000, message)

            _check(cancelled)
            answers.append(
                self.extractor.extract(
                    list(texts), list(types), adapter=adapter, progress=report, cancelled=cancelled
                )
            )
        return [unite(spans) for spans in zip(*answers, strict=True)]


def _silent(_done: int, _total: int, _message: str) -> None:
    pass


def _check(cancelled: Cancel | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled


def _frozen(spans: Sequence[Span] | None) -> tuple[Span, ...] | None:
    return None if spans is None else tuple(spans)


def _spread(count: int, most: int) -> list[int]:
    """At most `most` indices below `count`, evenly spread: every document has its part."""
    if count <= most:
        return list(range(count))
    return [i * count // most for i in range(most)]


def _map(
    vectors: Vectors, domains: Mapping[str, Domain]
) -> tuple[list[tuple[float, float]], list[int], dict[str, list[tuple[float, float]]]]:
    """Points of a spread part of the vectors, which part that is, and each expert's points."""
    import numpy as np

    from experts.similarity import project_2d

    shown = _spread(len(vectors), MAX_MAP_POINTS)
    try:
        mine, theirs = project_2d(vectors[shown], [d.vectors for d in domains.values()])
    except np.linalg.LinAlgError:  # exemplars that are all alike: no map is better than no match
        return [], [], {name: [] for name in domains}
    regions = {
        name: [(float(x), float(y)) for x, y in points]
        for name, points in zip(domains, theirs, strict=True)
    }
    return [(float(x), float(y)) for x, y in mine], shown, regions
