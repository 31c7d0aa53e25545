"""Answers of adapters to sentences, kept on disk: the expensive part of `benchmarks.sam`.

One small file for each adapter, set of types and version of everything else that answers depend on
(`experts.probing.answers_version`: base model, number format, prompt, decoder). Within it answers
are kept by sentence, so that a probe of ten sentences is a part of a reading of three hundred.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experts.engines.protocol import SpanExtractor
from experts.probing import AnswerKey, text_hash
from experts.spans import Span

__all__ = ["BARE", "DiskAnswers", "Pace", "Reader", "types_hash"]

BARE = "bare"
"""In place of an adapter's hash: the base model alone."""

BLOCK = 100  # answers in one call: what a killed run may lose


def types_hash(types: Sequence[str]) -> str:
    """As `experts.probing` has it in its keys."""
    return text_hash(json.dumps(sorted(types)))


@dataclass
class _Book:
    """What is known of one adapter and set of types: answers by text hash, and what they took."""

    adapter: str
    seconds: float = 0.0
    read: int = 0
    answers: dict[str, list[list[object]]] = field(default_factory=dict)


class DiskAnswers:
    """An `experts.probing.AnswerCache` in a folder; written at once, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._books: dict[tuple[str, str, str], _Book] = {}

    def get_many(self, keys: Sequence[AnswerKey]) -> dict[AnswerKey, list[Span]]:
        """As in `AnswerCache`."""
        found = {}
        for key in keys:
            packed = self._book(key.expert, key.types, key.version).answers.get(key.text)
            if packed is not None:
                found[key] = [Span(*span) for span in packed]  # type: ignore[arg-type]
        return found

    def put_many(self, answers: Mapping[AnswerKey, Sequence[Span]], seconds: float = 0.0) -> None:
        """As in `AnswerCache`.

        Args:
            seconds: that reading them took, divided evenly; 0 where nobody measured it.
        """
        changed = {}
        for key, spans in answers.items():
            book = self._book(key.expert, key.types, key.version)
            book.answers[key.text] = [[*span.key, span.score] for span in spans]
            if seconds:
                book.seconds += seconds / len(answers)
                book.read += 1
            changed[key.expert, key.types, key.version] = book
        for where, book in changed.items():
            self._write(self._path(*where), book)

    def pace(self, adapter: str, types: str, version: str) -> float:
        """Seconds a sentence, as measured when the answers were read; 0 where nobody did."""
        book = self._book(adapter, types, version)
        return book.seconds / book.read if book.read else 0.0

    def _path(self, adapter: str, types: str, version: str) -> Path:
        name = hashlib.sha256(json.dumps([adapter, types, version]).encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"

    def _book(self, adapter: str, types: str, version: str) -> _Book:
        where = (adapter, types, version)
        if where not in self._books:
            path = self._path(*where)
            known = json.loads(path.read_text("utf-8")) if path.is_file() else {"adapter": adapter}
            self._books[where] = _Book(**known)
        return self._books[where]

    def _write(self, path: Path, book: _Book) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(vars(book)), "utf-8")
        os.replace(temporary, path)


@dataclass
class Pace:
    """How fast answers come, for estimates: sentences × types (of one adapter) a second."""

    work: float = 0.0
    seconds: float = 0.0
    guess: float = 45.0

    def add(self, work: float, seconds: float) -> None:
        self.work += work
        self.seconds += seconds

    def minutes(self, work: float) -> float:
        rate = self.work / self.seconds if self.seconds else self.guess
        return work / rate / 60


class Reader:
    """Gives answers from the cache, or else from the extractor.

    Args:
        extractor: gives the extractor; called only if an answer is missing.
        version: `experts.probing.answers_version` of it.
        say: is told of progress.
    """

    def __init__(
        self,
        extractor: Callable[[], SpanExtractor],
        cache: DiskAnswers,
        version: str,
        say: Callable[[str], None],
    ) -> None:
        self._extractor, self.cache, self.version, self._say = extractor, cache, version, say
        self.pace = Pace()

    def known(
        self, adapter: str, texts: Sequence[str], types: Sequence[str]
    ) -> list[list[Span] | None]:
        """For each text the answer, None where it is missing."""
        asked = types_hash(types)
        keys = [AnswerKey(adapter, text_hash(text), asked, self.version) for text in texts]
        found = self.cache.get_many(keys)
        return [found.get(key) for key in keys]

    def missing(self, adapter: str, texts: Sequence[str], types: Sequence[str]) -> tuple[str, ...]:
        """The texts without an answer, each once."""
        answers = self.known(adapter, texts, types)
        return tuple(dict.fromkeys(t for t, a in zip(texts, answers, strict=True) if a is None))

    def answers(self, adapter: str, texts: Sequence[str], types: Sequence[str]) -> list[list[Span]]:
        """For each text its spans.

        Raises:
            KeyError: an answer is missing.
        """
        found = self.known(adapter, texts, types)
        if any(spans is None for spans in found):
            raise KeyError(adapter)
        return [spans for spans in found if spans is not None]

    def seconds(self, adapter: str, count: int, types: Sequence[str]) -> float:
        """What reading so many sentences takes, by what it took, or else by what others took."""
        measured = self.cache.pace(adapter, types_hash(types), self.version)
        others = self.pace.minutes(len(types)) * 60 if self.pace.seconds else 0.0
        return count * (measured or others)

    def read(
        self, adapters: Mapping[str, Path | None], texts: Sequence[str], types: Sequence[str]
    ) -> None:
        """Make answers known, side by side where adapters miss the same texts.

        Args:
            adapters: key (the adapter's hash) → its folder, None for the bare base model.
        """
        for missing, group in self._groups(adapters, texts, types):
            for first in range(0, len(missing), BLOCK):
                block = missing[first : first + BLOCK]
                began = time.perf_counter()
                found = self._extract(block, types, [adapters[key] for key in group])
                seconds = time.perf_counter() - began
                asked = types_hash(types)
                self.cache.put_many(
                    {
                        AnswerKey(key, text_hash(text), asked, self.version): spans
                        for key, answers in zip(group, found, strict=True)
                        for text, spans in zip(block, answers, strict=True)
                    },
                    seconds,
                )
                pairs = len(block) * len(group)
                self.pace.add(pairs * len(types), seconds)
                self._say(
                    f"  read {first + len(block)} of {len(missing)} sentences with "
                    f"{len(group)} adapters: {pairs / max(seconds, 1e-9):.1f} a second"
                )

    def _groups(
        self, adapters: Mapping[str, Path | None], texts: Sequence[str], types: Sequence[str]
    ) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        by_missing: dict[tuple[tuple[str, ...], bool], list[str]] = {}
        for key, path in adapters.items():
            missing = self.missing(key, texts, types)
            if missing:
                by_missing.setdefault((missing, path is None), []).append(key)
        for (missing, _), keys in by_missing.items():
            # Side by side they fill passes that few texts leave half empty; no gain otherwise.
            size = max(1, BLOCK // len(missing))
            for first in range(0, len(keys), size):
                yield missing, keys[first : first + size]

    def _extract(
        self, texts: Sequence[str], types: Sequence[str], paths: Sequence[Path | None]
    ) -> list[list[list[Span]]]:
        folders = [path for path in paths if path is not None]
        if not folders:
            return [self._extractor().extract(list(texts), list(types))]
        return self._extractor().extract_each(list(texts), list(types), folders)
