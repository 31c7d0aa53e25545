"""What the worker does for each kind of job. A handler returns the ids of what it made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from experts.spans import Span
from sam_ui.jobs.context import JobContext, Progress
from sam_ui.jobs.learning import learn, publish
from sam_ui.jobs.reading import read_all
from sam_ui.services.learning_kept import thresholded

__all__ = ["HANDLERS"]

FORGET_AFTER_S = 7 * 24 * 3600.0
FORGET_ANSWERS_AFTER_S = 60 * 24 * 3600.0
"""Answers of the probe that nobody has used for so long are not worth their place."""
MERGE_SHARE = 0.3
"""How much of "merge_and_predict" the merge takes, for its progress."""


def match(context: JobContext) -> dict[str, Any]:
    """Similarity and probe of the experts; payload: samples, k, seed, use_gold."""
    work = context.services.begin(context.session_id)
    payload = context.payload
    gold: list[tuple[Span, ...] | None] | None = None
    if payload.get("use_gold"):
        gold = [work.gold(sentence) for sentence in work.sentences]
    result = context.engine.match(
        work.texts,
        work.types,
        samples=payload["samples"],
        k=payload["k"],
        seed=payload["seed"],
        gold=gold,
        progress=context.progress,
        cancelled=context.cancelled,
    )
    context.check()
    run_id = context.services.match.store(work.session, result, work.sentences, work.types, payload)
    return {"run_id": run_id}


def merge(context: JobContext) -> dict[str, Any]:
    """Run the payload's recipes; payload: recipes, weights, label, and merge_id where a merge of
    that id, if it is there, is to be used.
    """
    return {"merge_id": _merge(context, context.progress)}


def predict(context: JobContext) -> dict[str, Any]:
    """Predict over all sentences; payload: merge_id."""
    merge_id = context.payload["merge_id"]
    return {"merge_id": merge_id, "run_id": _predict(context, merge_id, context.progress)}


def merge_and_predict(context: JobContext) -> dict[str, Any]:
    """Both; when the second is cancelled the merge stays. Payload as `merge`."""
    merge_id = _merge(context, context.stage(0.0, MERGE_SHARE))
    run_id = _predict(context, merge_id, context.stage(MERGE_SHARE, 1.0))
    return {"merge_id": merge_id, "run_id": run_id}


def preview(context: JobContext) -> dict[str, Any]:
    """Read a few sentences with weights that are not merged; payload: recipes, sentences, types."""
    from experts.merging.recipe import Recipe

    payload = context.payload
    found = context.engine.preview(
        [Recipe.model_validate(recipe) for recipe in payload["recipes"]],
        [text for _, text in payload["sentences"]],
        payload["types"],
        cancelled=context.cancelled,
    )
    context.check()
    context.services.preview.store(context.session_id, payload, found)
    return {}


def compare(context: JobContext) -> dict[str, Any]:
    """Read a few sentences with merges that have not read the texts; payload: merges, sentences,
    types.
    """
    services, session_id, payload = context.services, context.session_id, context.payload
    texts = [text for _, text in payload["sentences"]]
    found = {}
    for merge_id in payload["merges"]:
        record = services.store.merge(session_id, merge_id)
        assert record is not None  # a merge that is named exists, or has raised
        paths = services.store.adapter_paths(record)
        read = read_all(context, texts, payload["types"], paths, context.progress)
        found[merge_id] = thresholded(record, read)
    context.check()
    services.merge.side_by_side.store(session_id, payload, found)
    return {}


def suggest(context: JobContext) -> dict[str, Any]:
    """Look for what the texts are about: names that recur, types of the pool that fit."""
    context.services.suggesting.compute(context.session_id, lambda: context.engine.embedder)
    return {}


def tidy(context: JobContext) -> dict[str, Any]:
    """Forget jobs that ended a week ago, and answers of the probe that are no longer used; delete
    the files of jobs that were killed, and for good the sessions and texts that were removed a day
    ago.
    """
    jobs = context.services.queue.jobs
    answers = context.services.store.answers
    context.services.merge.bin.empty_old()
    return {
        "answers": answers.forget(older_than_s=FORGET_ANSWERS_AFTER_S),
        "forgotten": jobs.forget(older_than_s=FORGET_AFTER_S),
        "purged": context.services.sessions.purge(),
        "texts": context.services.corpus.forget_removed(),
        "removed": context.services.store.remove_leftovers(
            busy=lambda: jobs.others_running(context.job.id)
        ),
    }


HANDLERS: dict[str, Callable[[JobContext], dict[str, Any]]] = {
    "match": match,
    "merge": merge,
    "predict": predict,
    "merge_and_predict": merge_and_predict,
    "preview": preview,
    "compare": compare,
    "suggest": suggest,
    "learn": learn,
    "publish": publish,
    "tidy": tidy,
}


def _merge(context: JobContext, progress: Progress) -> str:
    from experts.merging.recipe import Recipe

    services, session_id = context.services, context.session_id
    session = services.store.session(session_id)
    recipes = [Recipe.model_validate(recipe) for recipe in context.payload["recipes"]]
    # The same at a second attempt: what the first has stored is not made again.
    merge_id = str(context.payload.get("merge_id") or context.job.id)
    if services.store.merges.get(session_id, merge_id) is not None:
        return merge_id
    folder = services.store.merge_folder(session_id, merge_id)
    shutil.rmtree(folder, ignore_errors=True)  # left by an attempt that was killed
    try:
        merged = context.engine.merge(
            recipes,
            [folder / recipe.criterion for recipe in recipes],
            inputs=services.merge.inputs(session_id, recipes[0].method),
            progress=progress,
            cancelled=context.cancelled,
        )
        context.check()
        services.merge.store(session, merge_id, merged, context.payload)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return merge_id


def _predict(context: JobContext, merge_id: str, progress: Progress) -> str:
    services = context.services
    work = services.begin(context.session_id)
    record = services.store.merge(context.session_id, merge_id)
    assert record is not None  # a merge that is named exists, or has raised
    paths = services.store.adapter_paths(record)
    found = thresholded(record, read_all(context, work.texts, work.types, paths, progress))
    context.check()
    return services.predict.store(work.session, merge_id, work.sentences, found)
