"""The models at work: match, merge and predict over plain texts. No database.

The worker and the command line use the same `Engine`; base model and embedder are loaded at their
first use and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from experts.errors import Cancelled, SamError
from experts.probing import MAX_PROBED, AnswerCache, MemoryCache, choose_candidates
from experts.spans import Span, drop_overlaps, likeliest
from sam_ui.services.domains import Domains
from sam_ui.services.engine_learning import learn_from
from sam_ui.services.matching import ExpertMatch, MatchResult, expert_match, flat_map, near, spread
from sam_ui.services.merge_data import MergeInputs, merge_data, where_to_merge
from sam_ui.services.previewing import Previewer
from sam_ui.services.probing import probe

if TYPE_CHECKING:
    from experts.base import BaseModel
    from experts.engines.protocol import SpanExtractor
    from experts.merging.recipe import Recipe
    from experts.pool import Expert, Pool
    from experts.similarity import Embedder
    from sam_ui.services.domains import Vectors
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


@dataclass(frozen=True)
class MergedAdapter:
    """A recipe that was run; `path` is the adapter's folder in PEFT's format, the rest is as of
    `experts.merging.merge.MergeResult`.
    """

    recipe: Recipe
    path: Path
    retained_energy: float
    seconds: float
    weights: dict[str, float] | None = None
    coefficients: dict[str, dict[str, float]] | None = None
    note: str = ""


def unite(answers: Sequence[Sequence[Span]]) -> list[Span]:
    """One sentence's spans from several adapters: the same span keeps its higher score, and of
    spans that overlap the likeliest stays.
    """
    return drop_overlaps(likeliest(span for spans in answers for span in spans))


class Engine:
    """Base model, embedder and pool, put to work.

    Args:
        pool: the experts, or a function that gives them when they are first needed.
        answers: where answers of the probe are kept; None: in this object.

    Attributes:
        none_bias: of the extractor, see there; to be set before the models are first used.
    """

    none_bias = 0.0

    def __init__(
        self,
        settings: Settings,
        *,
        pool: Pool | Callable[[], Pool],
        answers: AnswerCache | None = None,
    ) -> None:
        self.settings = settings
        # Nobody knows when a server starts anew with other options: its answers are not kept long.
        kept = None if settings.engine_url else answers
        self.answers: AnswerCache = MemoryCache() if kept is None else kept
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
    def extractor(self) -> SpanExtractor:
        """SaM's own, or the server that is set."""
        if self.settings.engine_url:
            from experts.engines.served import served_extractor

            return served_extractor(
                self.settings.engine_url,
                self.settings.base_model,
                data_dir=self.settings.data_dir,
                none_bias=self.none_bias,
                api_key=self.settings.engine_key,
            )
        from experts.extract import Extractor

        return Extractor(self.base, none_bias=self.none_bias)

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
        """Similarity of every expert of the pool, probe of the most similar ones, and the
        recommended selection.

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

        from experts.probe import sample_sentences
        from experts.select import recommend
        from experts.similarity import domain_similarities, mean_vector

        experts = self._check_match(texts, types)
        tell = progress or _silent
        chosen = spread(len(texts), MAX_EMBEDDED)
        vectors = self._embed([texts[i] for i in chosen], len(experts), tell, cancelled)
        mean = mean_vector(vectors)
        means = np.stack([self._domains.mean(expert, self.embedder) for expert in experts])
        cosines = [float(value) for value in domain_similarities(mean, means)]
        similarities = dict(zip((e.name for e in experts), cosines, strict=True))
        names = choose_candidates(similarities, most=max(MAX_PROBED, k))
        candidates = [expert for expert in experts if expert.name in set(names)]

        picked = [
            chosen[int(i)] for i in sample_sentences(vectors, min(samples, len(chosen)), seed)
        ]
        probed = probe(
            self,
            candidates,
            [texts[i] for i in picked],
            types,
            gold=None if gold is None else [_frozen(gold[i]) for i in picked],
            k=k,
            similarities=similarities,
            seed=seed,
            tell=tell,
            cancelled=cancelled,
        )
        finished = {n: s for n, s in probed.scores.items() if n not in probed.stopped}
        selection = recommend(similarities, finished, k)
        domains = {expert.name: self._domains.of(expert, self.embedder) for expert in candidates}
        points, shown, regions = flat_map(vectors, domains)
        return MatchResult(
            experts=[
                expert_match(e.name, similarities, probed.scores, domains, mean) for e in experts
            ],
            probe=picked,
            answers=probed.answers,
            single=dict(selection.single),
            by_similarity=dict(selection.by_similarity),
            by_probe=dict(selection.by_probe),
            map_points=points,
            map_texts=[chosen[i] for i in shown],
            map_experts=regions,
            pool={expert.name: expert.card.hash for expert in experts},
            pairs=near(vectors, chosen, domains),
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

    # ---- merge ----

    def merge(
        self,
        recipes: Sequence[Recipe],
        folders: Sequence[Path],
        *,
        inputs: MergeInputs | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> list[MergedAdapter]:
        """Run the recipes; each merged adapter is saved in its folder, in PEFT's format.

        Args:
            inputs: for methods that need more than the experts.

        Raises:
            SamError: an unknown expert, one that does not fit the others, or a method lacks what
                it needs.
            Cancelled: `cancelled` said so.
        """
        from experts.export.mergekit import write_mergekit
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
                # Modules are named by their path; what a method says of its work has spaces.
                said = message if " " in message else "Merging the experts"
                tell(int(1000 * part), 1000 * len(recipes), said)

            data = merge_data(self, recipe, inputs)
            result = merge(
                recipe,
                adapters,
                progress=report,
                cancelled=cancelled,
                device=where_to_merge(self, adapters, data),
                data=data,
            )
            base = recipe.base_model or result.adapter.base_model
            folder.parent.mkdir(parents=True, exist_ok=True)
            save_adapter(result.adapter, folder, base_model=base)
            recipe.save(folder / "recipe.json")
            write_mergekit(recipe, folder)
            done.append(
                MergedAdapter(
                    recipe,
                    folder,
                    result.retained_energy,
                    result.seconds,
                    result.weights,
                    result.coefficients,
                    result.note,
                )
            )
        return done

    learn = learn_from

    # ---- preview ----

    @cached_property
    def _previewer(self) -> Previewer:
        return Previewer(self)

    def preview(
        self,
        recipes: Sequence[Recipe],
        texts: Sequence[str],
        types: Sequence[str],
        *,
        cancelled: Cancel | None = None,
    ) -> list[list[Span]]:
        """What the recipes' merges, united, would find in a few texts; nothing is written.

        The experts stay loaded side by side between calls, so that other weights of a weighted sum
        take effect at once.

        Returns:
            As `predict`.

        Raises:
            SamError: an unknown expert, or one that does not fit.
            Cancelled: `cancelled` said so.
        """
        answers = [
            self._previewer.read(recipe, list(texts), list(types), cancelled=cancelled)
            for recipe in recipes
        ]
        return [unite(spans) for spans in zip(*answers, strict=True)]

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
