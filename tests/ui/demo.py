"""An app to look at: the bundled experts and sample texts, with stand-ins for the two models.

What the stand-in "finds" is what people marked in the samples, and of it each expert misses its own
share: screens look as they do with the real models, in seconds and the same every time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from experts.errors import Cancelled
from experts.spans import Span, drop_overlaps
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.engine import Engine, MatchResult
from sam_ui.settings import Settings
from tests.ui.conftest import running

__all__ = ["Demo", "DemoEngine", "demo", "sample_types"]

WIDTH = 256


def _share(*parts: object) -> float:
    """A number in [0, 1) that only depends on `parts`."""
    return crc32("\n".join(map(str, parts)).encode()) / 2**32


class WordEmbedder:
    """Vectors from the words of a text: texts that share words are near each other."""

    name = "words"

    def embed(self, texts: Sequence[str], *, progress: Any = None, cancelled: Any = None) -> Any:
        vectors = np.full((len(texts), WIDTH), 0.02, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                # Endings fall away; short words say little.
                vectors[row, crc32(word[:5].encode()) % WIDTH] += min(1.0, len(word) / 8)
        if progress:
            progress(len(texts), len(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class SampleExtractor:
    """Finds what is marked in the samples, in other texts every capitalised word.

    Attributes:
        gate: when given, answers wait in front of it.
        error: when given, raised instead of an answer.
    """

    def __init__(self, samples: Path) -> None:
        self.gate: threading.Event | None = None
        self.error: BaseException | None = None
        self._marked: dict[str, list[Span]] = {}
        for path in samples.glob("*.jsonl"):
            for row in map(json.loads, path.read_text("utf-8").splitlines()):
                self._marked[row["text"]] = [
                    Span(e["start"], e["end"], e["label"]) for e in row["entities"]
                ]

    def extract(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        adapter: Path | None = None,
        progress: Any = None,
        cancelled: Any = None,
    ) -> list[list[Span]]:
        found = []
        for number, text in enumerate(texts):
            self.wait(cancelled)
            found.append(self.find(text, types, adapter.name if adapter else ""))
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
        answers = []
        for number, adapter in enumerate(adapters):
            answers.append(self.extract(texts, types, adapter=adapter, cancelled=cancelled))
            if progress:
                progress((number + 1) * len(texts), len(adapters) * len(texts))
        return answers

    def find(self, text: str, types: Sequence[str], who: str, least: float = 0.0) -> list[Span]:
        """What `who` finds: sure of most of it, wrong now and then."""
        spans = []
        for span in self._marked.get(text) or _capitals(text, types):
            surface = text[span.start : span.end]
            sure = 0.3 + 0.68 * _share(surface, who)
            label = (
                span.label if span.label in types else types[crc32(surface.encode()) % len(types)]
            )
            if _share(who, surface, "missed") > 0.25 + least:
                spans.append(Span(span.start, span.end, label, round(sure, 3)))
        return drop_overlaps(spans)

    def wait(self, cancelled: Any) -> None:
        """Stand before the gate, or fail as told."""
        if self.error is not None:
            raise self.error
        while self.gate is not None and not self.gate.wait(0.01):
            if cancelled is not None and cancelled():
                raise Cancelled


def _capitals(text: str, types: Sequence[str]) -> list[Span]:
    spans, start = [], 0
    for word in text.split(" "):
        if word[:1].isupper() and start:
            spans.append(Span(start, start + len(word.rstrip(".,;:")), types[0]))
        start += len(word) + 1
    return spans


class DemoEngine(Engine):
    """Everything as the real one does it, over the stand-ins."""

    @cached_property
    def embedder(self) -> Any:
        return WordEmbedder()

    @cached_property
    def extractor(self) -> Any:
        return SampleExtractor(self.settings.samples_dir)

    def match(self, *args: Any, **values: Any) -> MatchResult:
        # Answers of the probe are kept: a second session with the same texts would not be held.
        self.extractor.wait(values.get("cancelled"))
        return super().match(*args, **values)

    def preview(
        self,
        recipes: Sequence[Any],
        texts: Sequence[str],
        types: Sequence[str],
        *,
        cancelled: Any = None,
    ) -> list[list[Span]]:
        """The lighter the first expert, the more is missed."""
        first = recipes[0].experts[0]
        least = 0.4 * max(0.0, 1 - first.weight)
        return [self.extractor.find(text, types, first.name, least) for text in texts]


@dataclass
class Demo:
    """A running app; `hold` and `fail` say what the next job meets, `free` lets it go on."""

    url: str
    services: Services
    engine: DemoEngine

    def hold(self) -> None:
        self.engine.extractor.gate = threading.Event()

    def free(self) -> None:
        gate, self.engine.extractor.gate = self.engine.extractor.gate, None
        if gate is not None:
            gate.set()

    def fail(self, error: BaseException | None) -> None:
        self.engine.extractor.error = error


def sample_types(name: str, settings: Settings) -> list[str]:
    """The types that are marked in a sample."""
    path = settings.samples_dir / f"{name}.jsonl"
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return sorted({entity["label"] for row in rows for entity in row["entities"]})


@contextmanager
def demo(
    folder: Path, *, make: Callable[[Services], DemoEngine] | None = None, **settings: Any
) -> Iterator[Demo]:
    """An app on a free port with its database in `folder`; its worker is a thread."""
    services = Services(Settings(data_dir=folder, host="127.0.0.1", **settings))
    engine = make(services) if make else DemoEngine(services.settings, pool=services.pool)
    worker = Worker(services, engine, name="thread")
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        with running(services) as url:
            yield Demo(url, services, engine)
    finally:
        worker.stopping.set()
        thread.join(10)
        services.close()
