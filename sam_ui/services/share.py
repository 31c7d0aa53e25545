"""What a session hands over: adapter, annotations, recipe. Each call writes a file anew."""

from __future__ import annotations

import re
from pathlib import Path

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
    when there is nothing to hand over.
    """

    def __init__(self, store: Store, predict: PredictService, experts: ExpertService) -> None:
        self._store = store
        self._predict = predict
        self._experts = experts

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
        self._note(session_id, merge, "adapter")
        return path

    def annotations_jsonl(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """A line a sentence: ``{"text", "entities": [{"start", "end", "label", "score"}]}``."""
        from experts.corpus import write_predictions

        merge, rows = self._rows(session_id, merge_id)
        path = self._path(session_id, merge, "annotations.jsonl", folder)
        write_predictions(path, [r.sentence.text for r in rows], [r.spans for r in rows])
        self._note(session_id, merge, "annotations")
        return path

    def annotations_csv(
        self, session_id: str, merge_id: str | None = None, *, folder: Path | None = None
    ) -> Path:
        """A row a span: document, sentence, start, end, type, mention, score."""
        from experts.export.annotations import SpanRow, write_spans_csv

        merge, rows = self._rows(session_id, merge_id)
        path = self._path(session_id, merge, "annotations.csv", folder)
        write_spans_csv(
            path,
            [
                SpanRow(row.sentence.document, row.sentence.text, span)
                for row in rows
                for span in row.spans
            ],
        )
        self._note(session_id, merge, "annotations")
        return path

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

    def _rows(
        self, session_id: str, merge_id: str | None
    ) -> tuple[MergeRecord, list[PredictionRow]]:
        merge = self._merge(session_id, merge_id)
        if self._store.runs.latest(session_id, "predict", merge_id=merge.id) is None:
            raise SamError("Nothing has been predicted yet.", "Use a merge on all texts in step 3.")
        return merge, self._predict.all(session_id, merge.id)

    def _path(self, session_id: str, merge: MergeRecord, end: str, folder: Path | None) -> Path:
        target = folder or self._store.settings.session_dir(session_id) / "exports"
        target.mkdir(parents=True, exist_ok=True)
        name = self._store.session(session_id).name
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "sam"
        return target / f"{slug}-{merge.id[:6]}-{end}"

    def _note(self, session_id: str, merge: MergeRecord, what: str) -> None:
        session = self._store.session(session_id)
        self._store.runs.add(
            session_id,
            "export",
            merge_id=merge.id,
            corpus_revision=session.corpus_revision,
            types_revision=session.types_revision,
            params={"what": what},
        )
