"""What a session hands over: adapter, annotations, recipe."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from db import is_read_only
from db.records import MergeRecord
from experts.errors import SamError
from sam_ui.services.pool import ExpertService
from sam_ui.services.predict import PredictService
from sam_ui.services.store import Store
from sam_ui.services.views import PredictionRow

__all__ = ["ShareService"]


class ShareService:
    """Files of a session.

    All methods take the merge that predicted last when none is named (else the newest), write into
    `folder` (default: the session's own folder for exports), return the path, and raise `SamError`
    when there is nothing to hand over. Annotations that have been written and are still true are
    handed over as they are; everything else is written anew.
    """

    def __init__(self, store: Store, predict: PredictService, experts: ExpertService) -> None:
        self._store = store
        self._predict = predict
        self._experts = experts
        self._writing = threading.Lock()  # two pages of one session write the same files

    def adapter_zip(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """The merged adapter (both, when dual) with recipe, labels and a model card."""
        from experts.export.adapter_zip import MergedExpert, write_adapter_zip
        from experts.merging.recipe import Recipe

        merge = self._merge(session_id, merge_id)
        infos = self._experts.ever()
        used = sorted({e["name"] for recipe in merge.recipes for e in recipe["experts"]})
        path = self._path(session_id, merge, "adapter.zip", folder)
        with self._writing:
            write_adapter_zip(
                path,
                adapters=self._store.adapter_paths(merge),
                recipes=[Recipe.model_validate(recipe) for recipe in merge.recipes],
                types={t.name: t.definition for t in self._store.types.list(session_id)},
                experts=[
                    MergedExpert(
                        name=name,
                        title=infos[name].title if name in infos else name,
                        licence=infos[name].licence if name in infos else "",
                        data=infos[name].data if name in infos else (),
                    )
                    for name in used
                ],
                title=self._store.session(session_id).name,
                retained_energy=merge.retained_energy,
            )
        self._note(session_id, merge)
        return path

    def annotations_jsonl(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """A line a sentence: ``{"text", "entities": [{"start", "end", "label", "score"}]}``."""
        from experts.corpus import write_predictions

        def write(path: Path, rows: list[PredictionRow]) -> None:
            write_predictions(path, [r.sentence.text for r in rows], [r.spans for r in rows])

        return self._annotations(session_id, merge_id, "annotations.jsonl", folder, write)

    def annotations_csv(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """A row a span: document, sentence, start, end, type, mention, score."""
        from experts.export.annotations import SpanRow, write_spans_csv

        def write(path: Path, rows: list[PredictionRow]) -> None:
            spans = (
                SpanRow(row.sentence.document, row.sentence.text, span)
                for row in rows
                for span in row.spans
            )
            write_spans_csv(path, spans)

        return self._annotations(session_id, merge_id, "annotations.csv", folder, write)

    def recipe_json(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """The recipe; of a dual merge a JSON list of both."""
        import json

        from experts.merging.recipe import Recipe

        merge = self._merge(session_id, merge_id)
        path = self._path(session_id, merge, "recipe.json", folder)
        if len(merge.recipes) == 1:
            Recipe.model_validate(merge.recipes[0]).save(path)
        else:
            text = json.dumps(merge.recipes, indent=2, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")
        return path

    def _merge(self, session_id: str, merge_id: str | None) -> MergeRecord:
        self._store.session(session_id)
        merge = self._predict.shown_merge(session_id, merge_id)
        merge = merge or self._store.merge(session_id, merge_id)
        if merge is None:
            raise SamError("There is no merge yet.", "Merge some experts in step 3.")
        return merge

    def _annotations(
        self,
        session_id: str,
        merge_id: str | None,
        end: str,
        folder: Path | None,
        write: Callable[[Path, list[PredictionRow]], None],
    ) -> Path:
        merge = self._merge(session_id, merge_id)
        run = self._store.runs.latest(session_id, "predict", merge_id=merge.id)
        if run is None:
            raise SamError("Nothing has been predicted yet.", "Use a merge on all texts in step 3.")
        # The folder is named by all that the rows depend on: a file in it stays true. Writing
        # 20,000 sentences takes seconds, and the page asks for the files whenever it is painted.
        revision = self._store.session(session_id).corpus_revision
        kept = self._store.export_folder(session_id, merge.id) / f"{run.id}-{revision}"
        with self._writing:
            path = self._path(session_id, merge, end, folder or kept)
            if folder is not None or not path.is_file():
                write(path, self._predict.all(session_id, merge.id))
            for old in kept.parent.glob("*-*"):
                if old.is_dir() and old != kept:
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
