"""Reading many sentences in portions: what has been read is kept, whatever happens to the rest.

Answers go to the cache of the probe's answers, keyed by the adapter's content, the text and the
asked types: a job that was cut off goes on where it stopped, and texts that were read before are
not read again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experts.probing import AnswerKey, text_hash
from experts.spans import Span
from sam_ui.jobs.memory import out_of_memory, read_less_at_once

if TYPE_CHECKING:
    from sam_ui.jobs.context import JobContext, Progress

__all__ = ["read_all"]

PORTION_S = 5.0
"""How long a portion should take: what a kill may lose, and how long others wait for their turn.
Each costs about half a second more than its sentences, for loading the adapter."""
FIRST, MOST = 32, 2048
"""Sentences in the first portion, and at most in later ones."""


def read_all(
    context: JobContext,
    texts: Sequence[str],
    types: Sequence[str],
    adapters: Sequence[Path],
    progress: Progress,
) -> list[list[Span]]:
    """What the adapters find in each text, united.

    Raises:
        Cancelled: the job is to stop.
        Paused: others wait; the next run goes on from here.
    """
    from sam_ui.services.engine import unite

    answers = [
        _Reading(context, texts, types, adapter, progress, (number, len(adapters))).run()
        for number, adapter in enumerate(adapters)
    ]
    return [unite(spans) for spans in zip(*answers, strict=True)]


class _Reading:
    """One adapter reading the texts.

    Args:
        place: which of how many adapters it is, for the progress.
    """

    def __init__(
        self,
        context: JobContext,
        texts: Sequence[str],
        types: Sequence[str],
        adapter: Path,
        progress: Progress,
        place: tuple[int, int],
    ) -> None:
        self._context = context
        self._texts = texts
        self._types = list(types)
        self._adapter = adapter
        self._progress = progress
        self._place = place
        self._keys = dict(zip(texts, _keys(context, texts, types, adapter), strict=True))

    def run(self) -> list[list[Span]]:
        """For each text its spans."""
        from sam_ui.services.probing import StoredAnswers

        cache, keys = StoredAnswers(self._context.services.store.answers), self._keys
        found = cache.get_many(list(keys.values()))
        missing = [text for text, key in keys.items() if key not in found]
        size = FIRST
        while missing:
            portion, missing = missing[:size], missing[size:]
            began = time.monotonic()
            spans = self._read(portion, len(keys) - len(missing) - len(portion))
            read = {keys[text]: spans for text, spans in zip(portion, spans, strict=True)}
            cache.put_many(read)
            found |= read
            seconds = max(time.monotonic() - began, 1e-3)
            size = min(MOST, 4 * size, max(1, int(len(portion) * PORTION_S / seconds)))
            if missing:
                self._context.give_way()
        return [found[keys[text]] for text in self._texts]

    def _read(self, portion: Sequence[str], before: int) -> list[list[Span]]:
        """Read a portion; with shorter passes where memory runs out."""

        def report(done: int, total: int, message: str) -> None:
            number, adapters = self._place
            read = before + len(portion) * done / max(total, 1)
            share = (number + read / len(self._keys)) / adapters
            if message.startswith("Reading"):  # it counts the sentences of the portion alone
                message = f"Reading sentence {int(read) + (done < total):,} of {len(self._keys):,}"
            self._progress(int(1000 * share), 1000, message)

        while True:
            try:
                return self._context.engine.predict(
                    portion, self._types, [self._adapter],
                    progress=report, cancelled=self._context.cancelled,
                )  # fmt: skip
            except Exception as error:
                if not (out_of_memory(error) and read_less_at_once(self._context.engine)):
                    raise


def _keys(
    context: JobContext, texts: Sequence[str], types: Sequence[str], adapter: Path
) -> list[AnswerKey]:
    from sam_ui.services.probing import settings_version

    engine = context.engine
    version = settings_version(engine.settings, none_bias=engine.none_bias)
    if engine.settings.engine_url:  # nobody knows when a server starts anew with other options
        version = text_hash(f"{version} {context.job.id}")
    asked = text_hash(json.dumps(sorted(types)))
    content = _content(adapter)
    return [AnswerKey(content, text_hash(text), asked, version) for text in texts]


def _content(adapter: Path) -> str:
    """Hash of an adapter's files, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        with (adapter / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
