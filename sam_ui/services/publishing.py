"""Making a merge that has learned from corrections an expert of the person's pool."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.records import MergeRecord
from experts.card import CardType, ExpertCard
from experts.errors import SamError
from experts.publishing import LICENCES, LearnedExpert, check_name, name_of, write_expert
from sam_ui.services.learning_kept import learned_of
from sam_ui.services.learning_views import learned_view
from sam_ui.services.store import Store
from sam_ui.words import _

if TYPE_CHECKING:
    from experts.pool import Expert
    from experts.similarity import Embedder

__all__ = ["LICENCES", "PublishService"]

KEY = "published"
"""Of the session's setting: merge → name of the expert that it has become."""
MAX_TITLE = 80


class PublishService:
    """Experts made of learned merges."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def why_not(self, record: MergeRecord) -> str:
        """Why a merge cannot become an expert; "" where it can."""
        if len(record.paths) > 1:
            return _("It is two models; an expert is one.")
        if learned_of(record).get("how") == "thresholds":
            return _("It knows no more than before: only what it is less sure of is left out.")
        return ""

    def published(self, record: MergeRecord) -> str:
        """Name of the expert that a merge has become, while that is in the pool."""
        settings = self._store.session(record.session_id).settings
        name = (settings.get(KEY) or {}).get(record.id, "")
        return name if name in self._store.pool_seen() else ""

    def start(
        self, session_id: str, record: MergeRecord, *, name: str, title: str, licence: str
    ) -> str:
        """Queue it; arguments and errors as of `LearningService.publish`."""
        reason = self.why_not(record)
        if reason:
            raise SamError(reason, _("Train on from your corrections, and publish that."))
        title = " ".join("".join(c if c.isprintable() else " " for c in title).split())
        if not title:
            raise SamError(_("The expert needs a name."), _("Say what its texts are about."))
        if len(title) > MAX_TITLE:
            raise SamError(
                _("The name is longer than {n} characters.", n=MAX_TITLE), _("Shorten it.")
            )
        name = name.strip() or name_of(title) or f"learned-{record.id[:8].lower()}"
        check_name(name)
        if licence not in LICENCES:
            raise SamError(_("No licence is chosen."), _("Choose one of those offered."))
        if name in self._store.pool_seen():
            raise SamError(
                _("An expert named “{name}” is already in the pool.", name=name),
                _("Choose another name."),
            )
        self._store.adapter_paths(record)
        payload = {"merge_id": record.id, "name": name, "title": title, "licence": licence}
        return self._store.queue.submit(session_id, "publish", payload)

    def make(self, session_id: str, payload: Mapping[str, Any], embedder: Embedder) -> Expert:
        """Write the expert and add it to the pool.

        Args:
            payload: of the job.

        Raises:
            SamError: the merge or its files are gone, or the pool has such an expert by now.
        """
        record = self._store.merge(session_id, payload["merge_id"])
        assert record is not None  # a merge that is named exists, or has raised
        (adapter,) = self._store.adapter_paths(record)
        described = self._described(session_id, record, payload)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / described.name
            write_expert(described, adapter, folder, embedder=embedder)
            expert = self._store.pool.add(folder)
        self._store.remember_pool()
        self._store.sessions.change_setting(
            session_id, KEY, lambda old: {**(old or {}), record.id: expert.name}
        )
        return expert

    def _described(
        self, session_id: str, record: MergeRecord, payload: Mapping[str, Any]
    ) -> LearnedExpert:
        learned = learned_of(record)
        view = learned_view(learned)
        sentences = self._store.history.sentences(session_id, list(learned["sentence_ids"]))
        definitions = {t.name: t.definition for t in self._store.types.list(session_id)}
        parents = self._parents(record)
        before, after = view.before, view.after
        titles = " + ".join(parent.title for parent in parents)
        said = (
            f"Learned from {view.sentences} sentences that a person has corrected, going on from "
            f"{titles or record.details['learned']['merge_label']}. On corrected sentences that it "
            f"had not learned from it found {after.tp} of {after.support} entities instead of "
            f"{before.tp}, {after.fp} of what it found was wrong instead of {before.fp}."
        )
        return LearnedExpert(
            name=payload["name"],
            title=payload["title"],
            description=said,
            types=[
                CardType(name=name, definition=definitions.get(name, ""))
                for name in learned["types"]
            ],
            base_model=record.recipes[0]["base_model"] or self._base(parents),
            sentences=[sentence.text for sentence in sentences],
            licence=payload["licence"],
            parents=parents,
            f1=after.f1 if view.enough else None,
            type_f1={t.name: t.after.f1 for t in view.types} if view.enough else {},
            recipe={
                "merge": record.recipes[0],
                "learned": {"how": view.how, "outcome": learned["outcome"]},
            },
            seconds=view.seconds,
        )

    def _parents(self, record: MergeRecord) -> list[ExpertCard]:
        """Cards of the merged experts, of those that have left the pool as they were last seen."""
        ever = {known.name: known.card for known in self._store.experts.all()}
        now = {expert.name: expert.card for expert in self._store.pool.list()}
        names = [e["name"] for e in record.recipes[0]["experts"] if e["weight"]]
        found = [now.get(name) or _card(ever.get(name)) for name in names]
        return [card for card in found if card is not None]

    def _base(self, parents: list[ExpertCard]) -> str:
        from experts.embedded import EMBEDDED_BASE

        settings = self._store.settings
        return parents[0].base_model if parents else settings.base_model or EMBEDDED_BASE


def _card(kept: Mapping[str, Any] | None) -> ExpertCard | None:
    return ExpertCard.model_validate(kept) if kept else None
