"""Merging: starting it, the history of merges."""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from db.records import SessionRecord
from experts.errors import SamError
from sam_ui.services.comparing import Comparisons
from sam_ui.services.merge_bin import DeletedMerge, MergeBin
from sam_ui.services.merge_compare import MergeComparisons
from sam_ui.services.merge_data import WHY_NOT, ExpertFit, MergeInputs
from sam_ui.services.merge_info import found_weights, merge_info
from sam_ui.services.merge_scores import MergeScore, MergeScores
from sam_ui.services.merge_views import CompatibilityView
from sam_ui.services.recipes import make_recipes
from sam_ui.services.store import Store, merge_gone, unpack_spans
from sam_ui.services.views import MergeInfo
from sam_ui.words import _, _n

if TYPE_CHECKING:
    from experts.merging.recipe import Recipe
    from experts.merging.registry import MergeMethod
    from sam_ui.services.engine import MergedAdapter

__all__ = ["MergeService"]


MAX_NAME = 100


class MergeService:
    """Merges of a session.

    Attributes:
        bin: deleted merges.
        side_by_side: two merges compared.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._comparisons = Comparisons(store)
        self._scores = MergeScores(store)
        self.bin = MergeBin(store)
        self.side_by_side = MergeComparisons(store, self._scores)

    def methods(self) -> builtins.list[type[MergeMethod]]:
        """All merge methods, with key, name, summary and parameters; imports torch at first."""
        from experts.merging.registry import methods

        return methods()

    def start(
        self,
        session_id: str,
        weights: Mapping[str, float],
        *,
        method: str = "linear",
        parameters: Mapping[str, Any] | None = None,
        rank: int | None = None,
        dual: bool = False,
        predict: bool = True,
        label: str = "",
    ) -> str:
        """Queue a merge. One of the same recipe that is there already is used again.

        Args:
            weights: expert name -> weight as the person set it; 0 leaves an expert out.
            rank: of the merged adapter; None keeps everything.
            dual: one merge for each criterion of the last match, predictions united. Without a
                match, or where both have the same experts, the merge is single.
            predict: also predict over all texts (kind "merge_and_predict", else "merge").
            label: name in the history; empty: the experts' titles.

        Returns:
            The id of the job.

        Raises:
            SamError: no expert has a weight, an unknown expert or method, a parameter or rank that
                does not fit, experts of different base models.
        """
        self._store.session(session_id)
        if predict and not self._store.corpus.count(session_id):
            raise SamError("There are no texts yet.", "Upload or paste some in step 1.")
        if predict and not self._store.types.list(session_id):
            raise SamError("There are no entity types yet.", "Name at least one in step 1.")
        recipes = self.recipes(
            session_id, weights, method=method, parameters=parameters, rank=rank, dual=dual
        )
        self._check_inputs(session_id, method, [name for name, w in weights.items() if w])
        titles = [self._store.pool.get(name).card.title for name, w in weights.items() if w]
        dumped = [recipe.model_dump(mode="json") for recipe in recipes]
        same = None if label else self._same(session_id, dumped)
        payload = {
            "recipes": dumped,
            "weights": {name: weight for name, weight in weights.items() if weight},
            "label": _clean(label) or self._free_label(session_id, _label(titles)),
        } | ({"merge_id": same} if same else {})
        if same:
            session = self._store.session(session_id)
            self._store.history.renew(
                session_id,
                same,
                corpus_revision=session.corpus_revision,
                types_revision=session.types_revision,
            )
        return self._store.queue.submit(
            session_id, "merge_and_predict" if predict else "merge", payload
        )

    def recipes(
        self,
        session_id: str,
        weights: Mapping[str, float],
        *,
        method: str = "linear",
        parameters: Mapping[str, Any] | None = None,
        rank: int | None = None,
        dual: bool = False,
    ) -> builtins.list[Recipe]:
        """What `start` would run: one recipe, or two if dual; arguments and errors as there."""
        from experts.merging.registry import check_parameters, get_method

        for name, weight in weights.items():
            if not math.isfinite(weight):
                raise SamError(
                    _("The weight of {expert} is not a number.", expert=name), "Set it again."
                )
        if rank is not None and rank < 1:
            raise SamError(_("A merge cannot have the rank {rank}.", rank=rank), "Use 1 or more.")
        checked = check_parameters(get_method(method), parameters or {})
        experts = [self._store.pool.get(name) for name, weight in weights.items() if weight]
        bases = sorted({expert.card.base_model for expert in experts})
        if len(bases) > 1:
            raise SamError(
                _("The experts belong to different base models ({names}).", names=", ".join(bases)),
                "Choose experts of one base model.",
            )
        run = self._store.runs.latest(session_id, "match") if dual else None
        return make_recipes(
            weights,
            method=method,
            parameters=checked,
            rank=rank,
            base_model=bases[0] if bases else "",
            hashes={expert.name: expert.card.hash or "" for expert in experts},
            dual=(list(run.details["by_similarity"]), list(run.details["by_probe"]))
            if run
            else None,
        )

    def _free_label(self, session_id: str, label: str) -> str:
        """`label`, with a number where a merge has that name already."""
        taken = {merge.label for merge in self._store.merges.list(session_id)}
        numbers = (f"{label} ({n})" for n in range(2, len(taken) + 3))
        return label if label not in taken else next(n for n in numbers if n not in taken)

    def _same(self, session_id: str, recipes: builtins.list[dict[str, Any]]) -> str | None:
        """The newest merge that running these recipes would make again, if its files are there."""
        from experts.merging.registry import get_method

        session = self._store.session(session_id)
        now = (session.corpus_revision, session.types_revision)
        reads = get_method(recipes[0]["method"]).needs != "none"
        for record in self._store.merges.list(session_id):
            if record.recipes != recipes:
                continue
            if reads and (record.corpus_revision, record.types_revision) != now:
                continue
            try:
                self._store.adapter_paths(record)
            except SamError:
                continue
            return record.id
        return None

    def missing(self, session_id: str) -> dict[str, tuple[str, str]]:
        """Of `MergeMethod.needs`, the kinds that the session lacks: what to say and what to do."""
        filled = bool(self._store.corpus.count(session_id) and self._store.types.list(session_id))
        there = {
            "scores": self._store.runs.latest(session_id, "match") is not None,
            "texts": filled,
            "corrections": filled and self._store.corpus.annotated(session_id) > 0,
        }
        return {kind: WHY_NOT[kind] for kind, present in there.items() if not present}

    def _check_inputs(self, session_id: str, method: str, names: Sequence[str]) -> None:
        from experts.merging.registry import get_method

        chosen = get_method(method)
        lacking = self.missing(session_id).get(chosen.needs)
        if lacking is not None:
            what = _("The method “{name}” {lacks}", name=_(chosen.name), lacks=_(lacking[0]))
            raise SamError(what, lacking[1])
        if chosen.needs == "scores":
            fits = self.inputs(session_id, method)
            unknown = [name for name in names if fits is not None and name not in fits.fits]
            if unknown:
                raise SamError(
                    _("The match has no scores of {names}.", names=", ".join(unknown)),
                    "Compare the experts again in step 2, or leave these out.",
                )

    def inputs(self, session_id: str, method: str) -> MergeInputs | None:
        """What the session gives to a merge method; None for one that needs only the experts."""
        from experts.merging.registry import get_method

        needs = get_method(method).needs
        if needs == "none":
            return None
        sentences = self._store.corpus.sentences(session_id) if needs != "scores" else []
        return MergeInputs(
            texts=[sentence.text for sentence in sentences],
            types=[t.name for t in self._store.types.list(session_id)],
            gold=[None if s.gold is None else unpack_spans(s.gold) for s in sentences],
            fits=self._fits(session_id),
        )

    def _fits(self, session_id: str) -> dict[str, ExpertFit]:
        """Scores of the last match."""
        run = self._store.runs.latest(session_id, "match")
        scores = self._store.runs.scores(session_id, run.id) if run is not None else []
        told = {s.expert: s.value for s in scores if s.kind == "probe" and s.details.get("enough")}
        return {
            s.expert: ExpertFit(s.value or 0.0, told.get(s.expert))
            for s in scores
            if s.kind == "similarity"
        }

    def compatibility(self, session_id: str, names: Sequence[str]) -> CompatibilityView:
        """How well experts go together: some seconds' work at first, then remembered.

        Raises:
            SamError: fewer than two experts, an unknown one, or one that does not fit the others.
        """
        self._store.session(session_id)
        return self._comparisons.view(names)

    def compatibility_soon(self, session_id: str, names: Sequence[str]) -> CompatibilityView | None:
        """As `compatibility`, without waiting: None while it is computed; ask again."""
        self._store.session(session_id)
        return self._comparisons.soon(names)

    def store(
        self,
        session: SessionRecord,
        merge_id: str,
        merged: Sequence[MergedAdapter],
        payload: Mapping[str, Any],
    ) -> None:
        """Keep a finished merge.

        Args:
            session: as it was before the merge began.
        """
        self._store.merges.add(
            session.id,
            merge_id=merge_id,
            label=payload["label"],
            recipes=[m.recipe.model_dump(mode="json") for m in merged],
            paths=[m.path.relative_to(self._store.settings.data_dir).as_posix() for m in merged],
            details={
                "weights": payload["weights"],
                "seconds": sum(m.seconds for m in merged),
                "found": [found_weights(m) for m in merged],
                "note": " ".join(dict.fromkeys(m.note for m in merged if m.note)),
            },
            retained_energy=min(m.retained_energy for m in merged),
            corpus_revision=session.corpus_revision,
            types_revision=session.types_revision,
        )

    def list(self, session_id: str) -> builtins.list[MergeInfo]:
        """The history, newest first."""
        session = self._store.session(session_id)
        match = self._store.latest_match(session_id)
        predicted = self._store.runs.merges_with(session_id, "predict")
        return [
            merge_info(record, session, match, record.id in predicted)
            for record in self._store.merges.list(session_id)
        ]

    def get(self, session_id: str, merge_id: str) -> MergeInfo:
        """Raises `SamError` when the session has no such merge."""
        for info in self.list(session_id):
            if info.id == merge_id:
                return info
        raise merge_gone()

    def rename(self, session_id: str, merge_id: str, label: str) -> None:
        """Give a merge another name.

        Raises:
            SamError: the name is empty, or the session has no such merge.
        """
        name = _clean(label)
        if not name:
            raise SamError("A merge needs a name.", "Type at least one character.")
        if not self._store.history.rename(session_id, merge_id, name):
            raise merge_gone()

    def scores(self, session_id: str) -> dict[str, MergeScore]:
        """Merge -> how good it is, as far as that is known; of those that have read the texts."""
        return self._scores.of(session_id)

    def delete(self, session_id: str, merge_id: str) -> None:
        """Delete a merge with its predictions and files; `restore` undoes it for a while.

        Raises:
            SamError: the session has no such merge.
        """
        self.bin.delete(session_id, merge_id)

    def deleted(self, session_id: str) -> builtins.list[DeletedMerge]:
        """Merges that were deleted lately and can be put back, newest first."""
        return self.bin.list(session_id)

    def restore(self, session_id: str, merge_id: str) -> str:
        """Put a deleted merge back; returns its name.

        Raises:
            SamError: it is not there any more.
        """
        return self.bin.restore(session_id, merge_id)


def _clean(label: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in label).split())[:MAX_NAME]


def _label(titles: Sequence[str]) -> str:
    if len(titles) <= 3:
        return " + ".join(titles)
    return _n(
        "{names} + {n} more", "{names} + {n} more", len(titles) - 2, names=" + ".join(titles[:2])
    )
