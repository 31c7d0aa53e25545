"""What could be looked for: names and terms that recur in the texts, and the pool's types in the
order in which they fit these.

Both are computed by the worker, which has the sentence embedder, once for each state of the texts,
and kept with the session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from sam_ui.services.pool import ExpertService
from sam_ui.services.store import Store
from sam_ui.services.text_views import Often, Suggestions
from sam_ui.services.types import SUGGESTED, TypeService

if TYPE_CHECKING:
    from experts.similarity import Embedder, Vectors

__all__ = ["KIND", "SuggestService", "fit"]

log = logging.getLogger(__name__)

KIND = "suggest"
SHOWN_TYPES, SHOWN_OFTEN = 12, 16
MAX_TYPES = 400
"""Types that are compared at most: those that most experts know."""
SAMPLED = 64
"""Sentences that stand for all."""
NEAREST = 5


class SuggestService:
    """Suggestions of a session."""

    def __init__(self, store: Store, experts: ExpertService, types: TypeService) -> None:
        self._store = store
        self._experts = experts
        self._types = types
        self._vectors: dict[tuple[str, str], Vectors] = {}

    def view(self, session_id: str) -> Suggestions:
        """What is known by now."""
        kept = self._fresh(session_id)
        mine = {t.name.casefold() for t in self._types.list(session_id)}
        rows = (kept or {}).get("often", ())
        often = [Often(text, count) for text, count in rows if text.casefold() not in mine]
        return Suggestions(
            types=tuple(self._types.suggestions(session_id, SHOWN_TYPES)),
            often=tuple(often[:SHOWN_OFTEN]),
            compared=bool(kept and kept["fit"]),
            pending=kept is None and self._waits(session_id),
        )

    def ask(self, session_id: str) -> bool:
        """Have them computed if they are not known for the texts of now; whether there is anything
        to wait for. Returns at once.
        """
        if self._fresh(session_id) is not None or not self._store.corpus.count(session_id):
            return False
        if self._waits(session_id):
            return True
        now = {"revision": self._store.session(session_id).corpus_revision}
        last = self._store.queue.jobs.latest(session_id, [KIND])
        if last is not None and last.state == "failed" and last.payload == now:
            return False
        self._store.queue.submit(session_id, KIND, now)
        return True

    def compute(self, session_id: str, embedder: Callable[[], Embedder]) -> None:
        """Find and keep them; without an embedder the types stay in their plain order."""
        from experts.phrases import frequent_phrases

        session = self._store.session(session_id)
        texts = [sentence.text for sentence in self._store.corpus.sentences(session_id)]
        phrases = frequent_phrases(texts)
        pool = self._pool_types()
        ranked: dict[str, float] = {}
        try:
            ranked = self._fit(embedder(), texts, [p.text for p in phrases], pool)
        except Exception:  # the suggestions are an extra: nothing may fail for their sake
            log.exception("The types could not be compared with the texts")
        self._store.sessions.set_setting(
            session_id,
            SUGGESTED,
            {
                "revision": session.corpus_revision,
                "pool": _signature(pool),
                "fit": ranked,
                "often": [[phrase.text, phrase.count] for phrase in phrases],
            },
        )

    def _waits(self, session_id: str) -> bool:
        return any(job.kind == KIND for job in self._store.queue.active(session_id))

    def _fresh(self, session_id: str) -> Mapping[str, Any] | None:
        """What is kept, if it is of these texts and this pool."""
        session = self._store.session(session_id)
        kept: Mapping[str, Any] | None = session.settings.get(SUGGESTED)
        if not kept or kept["revision"] != session.corpus_revision:
            return None
        return kept if kept["pool"] == _signature(self._pool_types()) else None

    def _pool_types(self) -> dict[str, str]:
        """Lower-case name -> name, of those that most experts know first."""
        known: dict[str, list[str]] = {}
        for _, types in self._experts.types():
            for name, _ in types:
                known.setdefault(name.casefold(), []).append(name)
        first = sorted(known, key=lambda key: (-len(known[key]), key))[:MAX_TYPES]
        return {key: known[key][0] for key in first}

    def _fit(
        self,
        embedder: Embedder,
        texts: Sequence[str],
        phrases: Sequence[str],
        pool: Mapping[str, str],
    ) -> dict[str, float]:
        import numpy as np

        if not pool:
            return {}
        keys = [(embedder.name, name) for name in pool]
        new = [key for key in keys if key not in self._vectors]
        if new:
            vectors = embedder.embed([name for _, name in new])
            self._vectors |= dict(zip(new, vectors, strict=True))
        types = np.stack([self._vectors[key] for key in keys])
        step = max(1, -(-len(texts) // SAMPLED))
        scores = fit(types, embedder.embed(phrases), embedder.embed(texts[::step]))
        return {name: round(float(s), 3) for name, s in zip(pool, scores, strict=True)}


def fit(types: Vectors, phrases: Vectors, sentences: Vectors) -> Vectors:
    """How well types fit texts: the higher the better, comparable within one call only.

    The mean cosine of a type's name with the phrases nearest to it, and the same with sentences,
    each in standard deviations over the types.

    Args:
        types, phrases, sentences: unit-norm vectors (t, d), (p, d), (s, d); p and s may be 0.

    Returns:
        Shape (t,).
    """
    import numpy as np

    total = np.zeros(len(types), np.float32)
    for others in (phrases, sentences):
        if len(others):
            near = np.sort(types @ others.T, axis=1)[:, -NEAREST:].mean(1)
            total += (near - near.mean()) / max(float(near.std()), 1e-6)
    return total


def _signature(pool: Mapping[str, str]) -> str:
    return blake2b("\n".join(sorted(pool)).encode(), digest_size=8).hexdigest()
