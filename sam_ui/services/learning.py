"""Learning from corrections: started, looked at, kept or discarded, made an expert of the pool."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.records import MergeRecord
from experts.errors import SamError
from sam_ui.services.corrections import CorrectionService
from sam_ui.services.engine_learning import REPLAY, How, LearnedModel
from sam_ui.services.jobs import JobService
from sam_ui.services.learning_kept import learned_of
from sam_ui.services.learning_pace import LearningPace
from sam_ui.services.learning_views import (
    Corrected,
    LearnedView,
    LearnView,
    learned_view,
    packed_outcome,
)
from sam_ui.services.merge import MergeService
from sam_ui.services.predict import PredictService
from sam_ui.services.publishing import PublishService
from sam_ui.services.store import Store, pack_spans, unpack_spans
from sam_ui.words import _, _n, mark

__all__ = ["HOWS", "LearningService"]

KEY = "learning"
"""Of the session's setting: {"candidate": …, "last": id of what was kept or discarded}."""
HOWS: tuple[How, ...] = ("train", "weights", "thresholds")
MOST_OTHERS = 100
"""Uncorrected sentences that the experts are asked about at most, to keep what they agree on."""


class LearningService:
    """Learning of a session. One result at a time waits to be kept or discarded."""

    def __init__(
        self,
        store: Store,
        merge: MergeService,
        predict: PredictService,
        corrections: CorrectionService,
        jobs: JobService,
    ) -> None:
        self._store, self._merge, self._predict = store, merge, predict
        self._corrections, self._jobs = corrections, jobs
        self._pace = LearningPace(store.settings.data_dir)
        self.publishing = PublishService(store)

    # ---- what there is ----

    def corrected(self, session_id: str) -> tuple[list[Corrected], int]:
        """Sentences to learn from, in the order of the texts, and how many others are corrected:
        those that do not speak of all types, and those that nobody has read one by one.
        """
        types = {kind.name for kind in self._store.types.list(session_id)}
        found = [
            Corrected(s.id, s.text, tuple(x for x in unpack_spans(s.spans) if x.label in types))
            for s in self._store.reviews.read(session_id)
            if types <= set(s.types)
        ]
        return found, self._corrections.count(session_id) - len(found)

    def view(self, session_id: str, *, merge_id: str | None = None) -> LearnView:
        """All that the card shows.

        Args:
            merge_id: what would learn; None: the merge that has read the texts last.
        """
        from experts.learning_outcome import FEWEST

        corrected, unfit = self.corrected(session_id)
        record = self._from(session_id, merge_id)
        state = self._state(session_id)
        candidate = learned_view(state["candidate"]) if state.get("candidate") else None
        kept = self._kept(session_id, state)
        seconds, why_not = self._ways(session_id, record, corrected)
        learned = set(state["candidate"]["sentence_ids"]) if candidate else set()
        last = str(state.get("last", ""))
        gone = {each.id for each in self._merge.deleted(session_id)}
        return LearnView(
            sentences=len(corrected),
            entities=sum(len(sentence.spans) for sentence in corrected),
            fewest=FEWEST,
            unfit=unfit,
            merge_id=record.id if record else None,
            merge_label=record.label if record else "",
            seconds=seconds,
            why_not=why_not,
            job=self._job(session_id),
            candidate=candidate,
            fresh=sum(sentence.id not in learned for sentence in corrected) if candidate else 0,
            kept=learned_view(learned_of(kept)) if kept else None,
            predicted=kept is not None
            and kept.id in self._store.runs.merges_with(session_id, "predict"),
            discarded=last if kept is None and last in gone else "",
            published=self.publishing.published(kept) if kept else "",
            why_not_publish=self.publishing.why_not(kept) if kept else "",
        )

    def _job(self, session_id: str) -> Any:
        """The latest of the kinds that the card tells of, unless it is done."""
        jobs = [self._jobs.latest(session_id, kind) for kind in ("learn", "publish")]
        newest = max((job for job in jobs if job), key=lambda job: job.created_at, default=None)
        return newest if newest is not None and newest.state != "done" else None

    def _from(self, session_id: str, merge_id: str | None) -> MergeRecord | None:
        record = self._predict.shown_merge(session_id, merge_id)
        return record or self._store.merge(session_id, merge_id)

    def _ways(
        self, session_id: str, record: MergeRecord | None, corrected: Sequence[Corrected]
    ) -> tuple[dict[str, float], dict[str, str]]:
        """Way → how long it would take, and way → why it is not open."""
        seconds: dict[str, float] = {}
        why_not: dict[str, str] = {}
        types = len(self._store.types.list(session_id))
        for how in HOWS:
            try:
                if record is None:
                    raise SamError(_("There is no merge yet."), _("Merge some experts in step 3."))
                self._check(how, record, corrected)
                adapters = len(record.paths)
                seconds[how] = self._pace.seconds(how, len(corrected), types, adapters)
            except SamError as problem:
                why_not[how] = f"{problem.what} {problem.hint}".strip()
        return seconds, why_not

    # ---- learning ----

    def start(self, session_id: str, *, how: str = "train", merge_id: str | None = None) -> str:
        """Queue learning from the corrections as they are now.

        Args:
            how: "train" goes on training (LoRA+), "weights" looks for better weights of the
                experts, "thresholds" for how sure the model must be of each type.
            merge_id: what learns; None: the merge that has read the texts last, else the newest.

        Returns:
            The id of the job (kind "learn").

        Raises:
            SamError: no merge, too few corrections (says how many it takes), or this way is not
                open to this merge.
        """
        if how not in HOWS:
            raise SamError(_("There is no such way to learn."), _("Choose one of those offered."))
        self._store.session(session_id)
        record = self._from(session_id, merge_id)
        if record is None:
            raise SamError(_("There is no merge yet."), _("Merge some experts in step 3."))
        self._store.adapter_paths(record)
        corrected, _unfit = self.corrected(session_id)
        self._check(how, record, corrected)
        payload = {
            "how": how,
            "merge_id": record.id,
            "sentences": [[c.id, c.text, pack_spans(c.spans)] for c in corrected],
            "types": [kind.name for kind in self._store.types.list(session_id)],
            "others": self._others(session_id, corrected) if how == "train" else [],
        }
        return self._store.queue.submit(session_id, "learn", payload)

    def _check(self, how: str, record: MergeRecord, corrected: Sequence[Corrected]) -> None:
        from experts.learning_outcome import ENOUGH_SPANS, FEWEST, check_corrections
        from experts.merging.recipe import Recipe

        types = sorted({span.label for sentence in corrected for span in sentence.spans})
        if len(corrected) < FEWEST:
            lacking = FEWEST - len(corrected)
            raise SamError(
                _n(
                    "{n} corrected sentence is too few to learn from.",
                    "{n} corrected sentences are too few to learn from.",
                    len(corrected),
                ),
                _n(
                    "Correct {n} more; 20 are a good start.",
                    "Correct {n} more; 20 are a good start.",
                    lacking,
                ),
            )
        if not types:
            raise SamError(
                _("The corrected sentences have no entity in them."),
                _("Correct some in which there is something to find."),
            )
        check_corrections([sentence.example for sentence in corrected], types)
        spans = sum(len(sentence.spans) for sentence in corrected)
        if how == "thresholds" and spans < ENOUGH_SPANS:
            raise SamError(
                _n(
                    "{n} corrected entity is too few to tell how sure the model must be.",
                    "{n} corrected entities are too few to tell how sure the model must be.",
                    spans,
                ),
                _("It takes {n}.", n=ENOUGH_SPANS),
            )
        if how == "weights":
            from experts.learning_checks import check_weights

            for recipe in record.recipes:
                check_weights(Recipe.model_validate(recipe), len(corrected))

    def _others(self, session_id: str, corrected: Sequence[Corrected]) -> list[str]:
        """Sentences that nobody has corrected, spread over the texts."""
        from sam_ui.services.matching import spread

        known = {sentence.id for sentence in corrected}
        every = [s for s in self._store.corpus.sentences(session_id) if s.id not in known]
        wanted = min(MOST_OTHERS, round(4 * REPLAY * len(corrected)))
        return [every[i].text for i in spread(len(every), wanted)] if wanted else []

    def folder(self, session_id: str, candidate_id: str) -> Path:
        """Where a candidate's adapters are until it is kept."""
        return self._store.settings.session_dir(session_id) / "learning" / candidate_id

    def work_folder(self, session_id: str) -> Path:
        """What is finished of learning that was cut off."""
        return self._store.settings.session_dir(session_id) / "learning" / "work"

    def store(
        self,
        session_id: str,
        candidate_id: str,
        payload: Mapping[str, Any],
        model: LearnedModel,
        *,
        seconds: float,
    ) -> None:
        """Keep a result aside, in place of one that waits.

        Args:
            payload: of the job.
        """
        record = self._store.merge(session_id, payload["merge_id"])
        assert record is not None  # a merge that is named exists, or has raised
        session = self._store.session(session_id)
        data = self._store.settings.data_dir
        members = [e for recipe in model.recipes for e in recipe.experts if e.weight]
        candidate = {
            "id": candidate_id,
            "how": payload["how"],
            "merge_id": record.id,
            "merge_label": record.label,
            "sentence_ids": [sentence[0] for sentence in payload["sentences"]],
            "entities": sum(len(sentence[2]) for sentence in payload["sentences"]),
            "types": list(payload["types"]),
            "outcome": packed_outcome(model.outcome),
            "changed": model.changed,
            "weights": {e.name: e.weight for e in members} if payload["how"] == "weights" else {},
            "thresholds": model.thresholds,
            "seconds": round(seconds, 1),
            "at": datetime.now(UTC).isoformat(),
            "recipes": [recipe.model_dump(mode="json") for recipe in model.recipes],
            "paths": [path.relative_to(data).as_posix() for path in model.adapters],
            "retained_energy": model.retained_energy or record.retained_energy,
            "old_weights": record.details["weights"],
            "revisions": [session.corpus_revision, session.types_revision],
        }
        before = self._state(session_id).get("candidate")
        self._store.sessions.change_setting(
            session_id, KEY, lambda old: {**(old or {}), "candidate": candidate}
        )
        self._pace.note(model.pace)
        if before and before["id"] != candidate_id:
            shutil.rmtree(self.folder(session_id, before["id"]), ignore_errors=True)

    # ---- keep or discard ----

    def candidate(self, session_id: str) -> LearnedView | None:
        """The result that waits."""
        kept = self._state(session_id).get("candidate")
        return learned_view(kept) if kept else None

    def keep(self, session_id: str) -> str:
        """Make the waiting result a merge of the session; returns its id. Deleting that merge
        takes it back.

        Raises:
            SamError: nothing waits, or its files are gone.
        """
        return self._take(session_id)

    def discard(self, session_id: str) -> str:
        """Throw the waiting result away; `MergeService.restore` of the id that is returned brings
        it back, as a merge, for a while.

        Raises:
            SamError: nothing waits, or its files are gone.
        """
        merge_id = self._take(session_id)
        self._merge.delete(session_id, merge_id)
        return merge_id

    def _take(self, session_id: str) -> str:
        with self._store.changing:
            kept = self._state(session_id).get("candidate")
            if not kept:
                raise SamError(_("There is nothing to keep any more."), _("Learn again."))
            source = self.folder(session_id, kept["id"])
            target = self._store.merge_folder(session_id, kept["id"])
            self._store.sessions.set_setting(session_id, KEY, {"last": kept["id"]})
            if not source.is_dir():
                raise SamError(_("The files of what was learned are gone."), _("Learn again."))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
            self._add(session_id, kept, target)
        return str(kept["id"])

    def _add(self, session_id: str, kept: Mapping[str, Any], folder: Path) -> None:
        data = self._store.settings.data_dir
        paths = [(folder / Path(path).name).relative_to(data).as_posix() for path in kept["paths"]]
        self._store.merges.add(
            session_id,
            merge_id=kept["id"],
            label=self._label(session_id, len(kept["sentence_ids"])),
            recipes=kept["recipes"],
            paths=paths,
            details={
                "weights": kept["weights"] or kept["old_weights"],
                "seconds": kept["seconds"],
                "found": [],
                "note": _note(learned_view(kept)),
                "learned": {key: value for key, value in kept.items() if key not in _ONCE},
            },
            retained_energy=kept["retained_energy"],
            corpus_revision=kept["revisions"][0],
            types_revision=kept["revisions"][1],
        )

    def _label(self, session_id: str, sentences: int) -> str:
        label = _n("Learned from {n} correction", "Learned from {n} corrections", sentences)
        taken = {merge.label for merge in self._store.merges.list(session_id)}
        numbers = (f"{label} ({n})" for n in range(2, len(taken) + 3))
        return label if label not in taken else next(n for n in numbers if n not in taken)

    def publish(self, session_id: str, name: str, title: str, licence: str) -> str:
        """Queue making the merge that was kept last an expert of the pool.

        Args:
            name: of the expert, "" to make it of the title; rules as of `experts.card`.
            title: for people.
            licence: under which the person lets others use what it has learned.

        Returns:
            The id of the job (kind "publish").

        Raises:
            SamError: nothing was kept, the name or the title does not do, or there is such an
                expert already.
        """
        kept = self._kept(session_id, self._state(session_id))
        if kept is None:
            raise SamError(_("Nothing learned has been kept."), _("Learn, then keep the result."))
        return self.publishing.start(session_id, kept, name=name, title=title, licence=licence)

    def _kept(self, session_id: str, state: Mapping[str, Any]) -> MergeRecord | None:
        """What was kept last, while its merge is there."""
        last = state.get("last")
        record = self._store.merges.get(session_id, last) if last else None
        return record if record is not None and learned_of(record) else None

    def _state(self, session_id: str) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self._store.session(session_id).settings.get(KEY) or {}
        return state


_ONCE = ("recipes", "paths", "retained_energy", "old_weights", "revisions")
"""What a candidate needs only until it is a merge."""


NOTES = {
    "train": mark("Trained on from “{merge}” with {n} of your corrections."),
    "weights": mark("The weights of “{merge}”, chosen anew by {n} of your corrections."),
    "thresholds": mark("“{merge}” without what it is unsure of, by {n} of your corrections."),
}


def _note(learned: LearnedView) -> str:
    """What the history says of the merge."""
    did = _(NOTES[learned.how], merge=learned.merge_label, n=learned.sentences)
    brought = _(
        "On corrected sentences that it had not learned from it found {found} of {all} entities "
        "instead of {before}.",
        found=learned.after.tp, all=learned.after.support, before=learned.before.tp,
    )  # fmt: skip
    return f"{did} {brought}"
