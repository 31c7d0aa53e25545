"""What a session hands over: adapter, annotations, recipe."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from db import is_read_only
from db.records import MergeRecord
from experts.errors import SamError
from sam_ui.services.corrections import CorrectionInfo, CorrectionService
from sam_ui.services.learning_kept import trained_on
from sam_ui.services.pool import ExpertService
from sam_ui.services.predict import PredictService
from sam_ui.services.recent import Recent
from sam_ui.services.share_annotations import export_rows, state_of
from sam_ui.services.store import Store

if TYPE_CHECKING:
    from experts.export.adapter_zip import CardScores, MergedExpert
    from experts.export.formats import Row

__all__ = ["ShareService"]


class _Rows:
    """Sentences with what is to be handed over, and what each format loses of them."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self._lost: dict[str, tuple[str, ...]] = {}

    def losses(self, key: str) -> tuple[str, ...]:
        from experts.export.formats import check

        if key not in self._lost:
            self._lost[key] = check(key, self.rows).lines
        return self._lost[key]


class ShareService:
    """Files of a session.

    All methods take the merge that predicted last when none is named (else the newest), write into
    `folder` (default: the session's own folder for exports), return the path, and raise `SamError`
    when there is nothing to hand over. What has been written and is still true is handed over as
    it is. Nothing is written before it is asked for: texts may be many and models large.
    """

    def __init__(
        self,
        store: Store,
        predict: PredictService,
        experts: ExpertService,
        corrections: CorrectionService,
    ) -> None:
        self._store = store
        self._predict = predict
        self._experts = experts
        self._corrections = corrections
        self._read: Recent[str, _Rows] = Recent(2)
        self._writing = threading.Lock()  # two pages of one session write the same files

    def adapter_zip(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """The merged adapter (both, when dual) with recipe, labels, tokenizer, predict.py and a
        model card.
        """
        from experts.export.adapter_zip import adapter_files, fingerprint, write_zip
        from experts.export.tokenizer_files import tokenizer_folder
        from experts.merging.recipe import Recipe

        merge = self._merge(session_id, merge_id)
        settings = self._store.settings
        files = adapter_files(
            adapters=self._store.adapter_paths(merge),
            recipes=[Recipe.model_validate(recipe) for recipe in merge.recipes],
            types={t.name: t.definition for t in self._store.types.list(session_id)},
            experts=self.merged_experts(merge),
            title=self._store.session(session_id).name,
            retained_energy=merge.retained_energy,
            scores=self._scores(session_id, merge),
            tokenizer=tokenizer_folder(settings.base_model, settings.data_dir),
        )
        return self._kept(
            session_id, merge, "model", fingerprint(files), "adapter.zip", folder,
            lambda path: write_zip(path, files),
        )  # fmt: skip

    def merged_experts(self, merge: MergeRecord) -> list[MergedExpert]:
        """What the card says of the experts in a merge, whether or not they are still there."""
        from experts.export.licences import MergedExpert

        names = sorted({e["name"] for recipe in merge.recipes for e in recipe["experts"]})
        infos = self._experts.ever(names)
        return [
            MergedExpert(
                name, infos[name].title, infos[name].licence, tuple(dict.fromkeys(infos[name].data))
            )
            if name in infos
            else MergedExpert(name, name, "")
            for name in names
        ]

    def conditions(self, session_id: str, merge_id: str | None = None) -> tuple[str, ...]:
        """What whoever passes the model on has to keep to, a sentence each."""
        from experts.export.licences import resulting_licence

        merge = self._merge(session_id, merge_id)
        base = str(merge.recipes[0].get("base_model") or "")
        return resulting_licence(base, self.merged_experts(merge)).conditions

    def losses(
        self, session_id: str, key: str, merge_id: str | None = None, *, reviewed: bool = False
    ) -> tuple[str, ...]:
        """What a format cannot keep of these annotations, a sentence each; none before there are any.

        Arguments as of `annotations`.
        """
        from experts.export.formats import get

        merge = self._merge(session_id, merge_id)
        predicted = self._store.runs.latest(session_id, "predict", merge_id=merge.id)
        if predicted is None or not get(key).cannot:
            return ()
        return self._rows(session_id, merge, reviewed=reviewed).losses(key)

    def annotations(
        self,
        session_id: str,
        key: str = "jsonl",
        merge_id: str | None = None,
        *,
        reviewed: bool = False,
        folder: Path | None = None,
    ) -> Path:
        """All sentences with their entities; corrections count over predictions.

        Args:
            key: of a format of `experts.export.formats`.
            reviewed: only sentences that somebody has corrected or accepted.
        """
        from experts.export.formats import get, write

        merge = self._merge(session_id, merge_id)
        ending = get(key).ending
        state = self._state(session_id, merge, self._corrections.list(session_id))
        # Several formats have the same ending; the name tells them apart.
        named = "" if ending == f".{key}" else f"{key}-"
        end = f"{'reviewed-' if reviewed else ''}{named}annotations{ending}"
        return self._kept(
            session_id, merge, "annotations", state, end, folder,
            lambda path: write(key, self._rows(session_id, merge, reviewed=reviewed).rows, path),
        )  # fmt: skip

    def _rows(self, session_id: str, merge: MergeRecord, *, reviewed: bool) -> _Rows:
        """What is exported. The last rows are kept: somebody who compares formats asks again."""
        corrections = self._corrections.list(session_id)
        state = self._state(session_id, merge, corrections)
        return self._read.get(
            f"{merge.id} {state} {reviewed}",
            lambda: _Rows(
                export_rows(self._predict.all(session_id, merge.id), corrections, reviewed=reviewed)
            ),
        )

    def recipe_json(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """The recipe; of a dual merge a JSON list of both."""
        from experts.files import written_whole
        from experts.merging.recipe import Recipe

        merge = self._merge(session_id, merge_id)
        text = json.dumps(merge.recipes, indent=2, ensure_ascii=False) + "\n"
        if len(merge.recipes) == 1:
            text = Recipe.model_validate(merge.recipes[0]).to_json()
        path = self._path(session_id, merge, "recipe.json", folder)
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path

    def _merge(self, session_id: str, merge_id: str | None) -> MergeRecord:
        self._store.session(session_id)
        merge = self._predict.shown_merge(session_id, merge_id)
        merge = merge or self._store.merge(session_id, merge_id)
        if merge is None:
            raise SamError("There is no merge yet.", "Merge some experts in step 3.")
        return merge

    def _state(
        self, session_id: str, merge: MergeRecord, corrections: Sequence[CorrectionInfo]
    ) -> str:
        """Names all that the annotations depend on."""
        run = self._store.runs.latest(session_id, "predict", merge_id=merge.id)
        if run is None:
            raise SamError("Nothing has been predicted yet.", "Use a merge on all texts in step 3.")
        revision = self._store.session(session_id).corpus_revision
        return f"{run.id}-{revision}-{state_of(corrections)}"

    def _scores(self, session_id: str, merge: MergeRecord) -> CardScores | None:
        """On the corrected sentences that were read and not learned from, where these are enough to
        tell.
        """
        from experts.calibration import MINIMUM_SPANS
        from experts.evaluate import evaluate
        from experts.export.adapter_zip import CardScores

        every = [c for c in self._corrections.list(session_id) if not c.unread]
        learned = trained_on(merge)
        corrections = {c.sentence_id: c for c in every if c.sentence_id not in learned}
        if sum(len(c.spans) for c in corrections.values()) < MINIMUM_SPANS:
            return None
        if self._store.runs.latest(session_id, "predict", merge_id=merge.id) is None:
            return None
        rows = [r for r in self._predict.all(session_id, merge.id) if r.sentence.id in corrections]
        said = [corrections[row.sentence.id] for row in rows]
        found = [
            [span for span in row.spans if span.label in correction.types]
            for row, correction in zip(rows, said, strict=True)
        ]
        report = evaluate([correction.spans for correction in said], found)
        return CardScores(
            sentences=len(rows),
            spans=report.micro.support,
            precision=report.micro.precision,
            recall=report.micro.recall,
            f1=report.micro.f1,
            per_type={name: (s.f1, s.support) for name, s in report.per_type.items()},
        )

    def _kept(
        self,
        session_id: str,
        merge: MergeRecord,
        kind: str,
        state: str,
        end: str,
        folder: Path | None,
        write: Callable[[Path], None],
    ) -> Path:
        """The file, written anew unless it is there. It lies in a folder that is named by all that
        it depends on: a file in it stays true.
        """
        kept = self._store.export_folder(session_id, merge.id) / kind / state
        with self._writing:
            path = self._path(session_id, merge, end, folder or kept)
            if folder is not None or not path.is_file():
                write(path)
            for old in kept.parent.glob("*"):
                if old != kept:
                    shutil.rmtree(old, ignore_errors=True)
        self._note(session_id, merge)
        return path

    def _path(self, session_id: str, merge: MergeRecord, end: str, folder: Path | None) -> Path:
        name = self._store.session(session_id).name
        target = folder or self._store.export_folder(session_id, merge.id)
        target.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "sam"
        return target / f"{slug}-{merge.id[:6]}-{end}"

    def _note(self, session_id: str, merge: MergeRecord) -> None:
        """Remember that this was handed over; once, until there is something newer. To somebody
        who may only look nothing is handed over on behalf of the session.
        """
        if is_read_only():
            return
        session = self._store.session(session_id)
        now = (session.corpus_revision, session.types_revision)
        last = self._store.runs.latest(session_id, "export", merge_id=merge.id)
        found = self._store.runs.latest(session_id, "predict")
        if (
            last is not None
            and (last.corpus_revision, last.types_revision) == now
            and (found is None or found.created_at < last.created_at)
        ):
            return
        self._store.runs.add(
            session_id,
            "export",
            merge_id=merge.id,
            corpus_revision=session.corpus_revision,
            types_revision=session.types_revision,
        )
