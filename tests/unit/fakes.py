"""Stand-ins for the models: a pool of tiny adapters, an engine that needs no base model."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from experts.card import CardData, CardType, ExpertCard
from experts.errors import Cancelled
from experts.pool import Pool
from experts.similarity import mean_vector
from experts.spans import Span
from sam_ui.services.engine import Engine, ExpertMatch, MatchResult
from sam_ui.settings import Settings

BASE = "google/gemma-3-270m"
DOMAINS = {"astro": "Astronomy", "law": "Court decisions", "lake": "Lakes"}


EMBEDDER = "fake-embedder"


def make_pool(folder: Path) -> Pool:
    """Three experts of one linear layer each, in a real pool."""
    import torch
    from safetensors.numpy import save_file

    from experts.merging.adapters import (
        Adapter,
        LoraFactors,
        content_hash,
        load_adapter,
        save_adapter,
    )

    for number, (name, title) in enumerate(DOMAINS.items()):
        generator = torch.Generator().manual_seed(number)
        factors = LoraFactors(
            a=torch.randn(2, 6, generator=generator),
            b=torch.randn(4, 2, generator=generator),
            scaling=1.0,
        )
        adapter = Adapter(name=name, base_model=BASE, modules={"model.q_proj": factors})
        save_adapter(adapter, folder / name, dtype=torch.float32, base_model=BASE)
        words = ["a lamp", "an old bed", "cheap milk", "fog", "glad hope", "jam", "kind", "pool"]
        exemplars = [f"{title} and {word}." for word in words]
        vectors = FakeEmbedder().embed(exemplars)
        save_file({"vectors": vectors}, folder / name / "exemplars.safetensors")
        card = ExpertCard(
            name=name,
            title=title,
            domain=title.lower(),
            types=[CardType(name="person"), CardType(name=title, definition=f"A {name}")],
            base_model=BASE,
            rank=2,
            data=[
                CardData(name=f"{title} corpus", licence="CC-BY-4.0", source="here", sentences=2000)
            ],
            licence="CC-BY-4.0",
            dev_f1=0.5,
            hash=content_hash(load_adapter(folder / name, name=name)),
            embedder=EMBEDDER,
            mean=mean_vector(vectors).tolist(),
            exemplars=exemplars,
        )
        card.save(folder / name / "card.json")
    return Pool(folder, folder / "own", base_model=BASE)


class FakeEmbedder:
    """Vectors from the counts of letters: alike texts are near each other."""

    name = EMBEDDER

    def embed(self, texts: Sequence[str], *, progress: Any = None, cancelled: Any = None) -> Any:
        counts = [[text.lower().count(c) + 0.01 for c in "abcdefghijklmnop"] for text in texts]
        vectors = np.asarray(counts, dtype=np.float32).reshape(len(texts), 16)
        if progress:
            progress(len(texts), len(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class FakeExtractor:
    """Finds capitalised words; remembers which adapters it was asked to use, and for what.

    Attributes:
        calls: (texts, types, adapters) of each call of `extract_each`.
    """

    def __init__(self) -> None:
        self.adapters: list[Path | None] = []
        self.calls: list[tuple[list[str], list[str], list[Path]]] = []

    def extract(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        adapter: Path | None = None,
        progress: Any = None,
        cancelled: Any = None,
    ) -> list[list[Span]]:
        self.adapters.append(adapter)
        found = []
        for number, text in enumerate(texts):
            if cancelled is not None and cancelled():
                raise Cancelled
            found.append(find(text, types))
            if progress:
                progress(number + 1, len(texts))
        return found

    def extract_each(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path],
        *,
        overlapping: bool = False,
        progress: Any = None,
        cancelled: Any = None,
    ) -> list[list[list[Span]]]:
        self.calls.append((list(texts), list(types), list(adapters)))
        answers = []
        for number, adapter in enumerate(adapters):
            answers.append(self.extract(texts, types, adapter=adapter, cancelled=cancelled))
            if progress:
                progress((number + 1) * len(texts), len(adapters) * len(texts))
        return answers


class FakeEngine(Engine):
    """Merges for real; "finds" every word that begins with a capital, of the first type.

    `gate`: when given, match, predict and learn wait in front of it, noticing when they are
    cancelled. `helps`: whether learning brings anything.
    """

    def __init__(self, settings: Settings, pool: Any) -> None:
        super().__init__(settings, pool=pool)
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self.error: BaseException | None = None
        self.helps = True

    @cached_property
    def embedder(self) -> Any:
        return FakeEmbedder()

    def _wait(self, cancelled: Any) -> None:
        self.entered.set()
        if self.error is not None:
            raise self.error
        while self.gate is not None and not self.gate.wait(0.01):
            if cancelled is not None and cancelled():
                raise Cancelled

    def match(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        samples: int = 10,
        k: int = 3,
        seed: int = 0,
        gold: Any = None,
        progress: Any = None,
        cancelled: Any = None,
    ) -> MatchResult:
        self._wait(cancelled)
        if progress:
            progress(1, 2, "Probing expert 1 of 3")
        probe = list(range(min(samples, len(texts))))
        names = list(DOMAINS)
        found = [find(texts[i], types) for i in probe]
        experts = [
            ExpertMatch(
                name=name,
                similarity=0.9 - 0.3 * number,
                f1=0.25 * (number + 1),
                low=0.1,
                high=0.9,
                support=24,
                enough=True,
                per_type={types[0]: 0.5},
                nearest=["A sentence of the expert."],
            )
            for number, name in enumerate(names)
        ]
        return MatchResult(
            experts=experts,
            probe=probe,
            answers=dict.fromkeys(names, found),
            single={names[0]: 0.5, names[2]: 0.5},
            by_similarity={names[0]: 1.0},
            by_probe={names[2]: 1.0},
            map_points=[(0.12345678, 1.0) for _ in texts],
            map_texts=list(range(len(texts))),
            map_experts={name: [(0.0, 0.5)] for name in names},
            pool={expert.name: expert.card.hash for expert in self.pool.list()},
        )

    def preview(
        self,
        recipes: Sequence[Any],
        texts: Sequence[str],
        types: Sequence[str],
        *,
        cancelled: Any = None,
    ) -> list[list[Span]]:
        """The heavier the first expert, the longer the words that it finds."""
        least = 8 * recipes[0].experts[0].weight
        return [[s for s in find(text, types) if s.end - s.start >= least] for text in texts]

    def predict(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path | None],
        *,
        progress: Any = None,
        cancelled: Any = None,
    ) -> list[list[Span]]:
        for adapter in adapters:
            assert adapter is None or (adapter / "adapter_config.json").is_file()
        self._wait(cancelled)
        return [find(text, types) for text in texts]

    def learn(
        self,
        inputs: Any,
        folder: Path,
        *,
        work: Path,
        progress: Any = None,
        cancelled: Any = None,
    ) -> Any:
        """Copies the adapters and knows all corrections by heart; thresholds are the real ones."""
        from experts.learning_outcome import compare
        from experts.merging.recipe import LearningStep
        from sam_ui.services.engine_learning import LearnedModel, learn_from

        if inputs.how == "thresholds":
            return learn_from(self, inputs, folder, work=work)
        work.mkdir(parents=True, exist_ok=True)
        (work / "begun").touch()
        if progress:
            progress(1, 3, "Learning from one half, to check on the other")
        self._wait(cancelled)
        adapters = [folder / recipe.criterion for recipe in inputs.recipes]
        for source, target in zip(inputs.adapters, adapters, strict=True):
            shutil.copytree(source, target)
        gold = [list(example.spans) for example in inputs.corrected]
        step = LearningStep(how=inputs.how, merge=inputs.label, sentences=len(gold))
        return LearnedModel(
            recipes=[r.model_copy(update={"learned": [*r.learned, step]}) for r in inputs.recipes],
            adapters=adapters,
            outcome=compare(gold, inputs.before[0], gold if self.helps else inputs.before[0]),
            thresholds={},
            changed=self.helps,
            pace=0.5,
        )


def find(text: str, types: Sequence[str]) -> list[Span]:
    """Capitalised words, the longer the likelier."""
    spans, start = [], 0
    for word in text.split(" "):
        if word[:1].isupper():
            end = start + len(word.rstrip(".,"))
            spans.append(Span(start, end, types[0], min(0.99, 0.1 * (end - start))))
        start += len(word) + 1
    return spans
