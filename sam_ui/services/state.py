"""How far a session is: done, running or out of date, for each step."""

from __future__ import annotations

from sam_ui.services.match import match_is_stale
from sam_ui.services.merge_info import is_stale
from sam_ui.services.store import Store
from sam_ui.services.views import StepState

__all__ = ["step_states"]

RUNNING = {
    "match": ("match",),
    "merge": ("merge",),
    "predict": ("review",),
    "merge_and_predict": ("merge", "review"),
}


def step_states(store: Store, session_id: str) -> dict[str, StepState]:
    """The state of each of `views.STEPS`.

    A step is stale when something that its result was made from has changed since.

    Raises:
        SamError: the session is gone.
    """
    session = store.session(session_id)
    now = (session.corpus_revision, session.types_revision)
    filled = bool(store.corpus.count(session_id)) and bool(store.types.list(session_id))
    states: dict[str, StepState] = {
        "upload": "done" if filled else "todo",
        "match": "todo",
        "merge": "todo",
        "review": "todo",
        "share": "todo",
    }
    match = store.latest_match(session_id)
    if match is not None:
        states["match"] = "stale" if match_is_stale(match, session, store) else "done"
    merge = store.merge(session_id, None)
    if merge is not None:
        states["merge"] = "stale" if is_stale(merge, session, match) else "done"
        predicted = store.runs.latest(session_id, "predict")
        if predicted is not None:
            made_from = (predicted.corpus_revision, predicted.types_revision)
            # An older merge may be used again: then its prediction is the newer of the two.
            behind = merge.created_at > predicted.created_at
            fresh = states["merge"] == "done" and made_from == now and not behind
            states["review"] = "done" if fresh else "stale"
        shared = store.runs.latest(session_id, "export")
        if shared is not None:
            newest = max(merge.created_at, predicted.created_at if predicted else merge.created_at)
            fresh = states["merge"] == "done" and shared.created_at >= newest
            states["share"] = "done" if fresh else "stale"
    for job in store.queue.active(session_id):
        for step in RUNNING.get(job.kind, ()):
            states[step] = "running"
    return states
