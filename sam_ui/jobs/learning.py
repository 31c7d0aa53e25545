"""What the worker does to learn from corrections, and to make an expert of what was learned."""

from __future__ import annotations

import shutil
import time
from typing import Any

from experts.errors import Cancelled
from experts.spans import Example
from sam_ui.jobs.context import JobContext, Paused
from sam_ui.jobs.reading import read_all
from sam_ui.services.learning_kept import learned_of

__all__ = ["learn", "publish"]

ASK_EVERY_S = 2.0
"""How often to look whether others wait."""
UNDISTURBED_S = 6.0
"""How long a run goes on at least: beginning again costs a second or two."""
READING_SHARE = 0.1


def learn(context: JobContext) -> dict[str, Any]:
    """Learn from corrections; payload: how, merge_id, sentences ([[id, text, spans], …]), types,
    others (texts). The result is kept aside.

    Cut off, it goes on from what is finished; so it also lets others go first.
    """
    from sam_ui.services.engine_learning import LearnInputs
    from sam_ui.services.store import unpack_spans

    services, session_id, payload = context.services, context.session_id, context.payload
    began = time.monotonic()
    record = services.store.merge(session_id, payload["merge_id"])
    assert record is not None  # a merge that is named exists, or has raised
    adapters = services.store.adapter_paths(record)
    corrected = [Example(text, unpack_spans(spans)) for _, text, spans in payload["sentences"]]
    types, texts = payload["types"], [example.text for example in corrected]
    reading = context.stage(0.0, READING_SHARE)
    before = [read_all(context, texts, types, [adapter], reading) for adapter in adapters]
    learning = context.stage(READING_SHARE, 1.0)
    folder = services.learning.folder(session_id, context.job.id)
    work = services.learning.work_folder(session_id)
    shutil.rmtree(folder, ignore_errors=True)  # left by an attempt that was killed
    stop = _Stop(context)
    try:
        model = context.engine.learn(
            LearnInputs(
                how=payload["how"],
                recipes=_recipes(record.recipes),
                adapters=adapters,
                before=before,
                corrected=corrected,
                types=types,
                others=payload["others"],
                thresholds=learned_of(record).get("thresholds") or {},
                label=record.label,
            ),
            folder,
            work=work,
            progress=lambda done, total, said: learning(
                int(1000 * done), max(1, int(1000 * total)), said
            ),
            cancelled=stop,
        )
        context.check()
        seconds = time.monotonic() - began
        services.learning.store(session_id, context.job.id, payload, model, seconds=seconds)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Cancelled) and stop.paused:
            raise Paused from None
        raise
    shutil.rmtree(work, ignore_errors=True)
    return {"candidate_id": context.job.id}


def publish(context: JobContext) -> dict[str, Any]:
    """Make an expert of a merge; payload: merge_id, name, title, licence."""
    context.progress(0, 1, "Adding it to your experts")
    publishing = context.services.learning.publishing
    embedder = context.engine.embedder
    context.check()
    expert = publishing.make(context.session_id, context.payload, embedder)
    return {"expert": expert.name}


class _Stop:
    """Whether to stop: somebody has cancelled, or others are to go first."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._asked_at = time.monotonic() + UNDISTURBED_S - ASK_EVERY_S
        self.paused = False

    def __call__(self) -> bool:
        if self.paused or self._context.cancelled():
            return True
        if time.monotonic() - self._asked_at >= ASK_EVERY_S:
            self._asked_at = time.monotonic()
            try:
                self._context.give_way()
            except Paused:
                self.paused = True
            except Cancelled:
                return True
        return self.paused


def _recipes(dumped: list[dict[str, Any]]) -> list[Any]:
    from experts.merging.recipe import Recipe

    return [Recipe.model_validate(recipe) for recipe in dumped]
