"""A merge that learns from corrections, with the models. No database."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experts.spans import Example, Span

if TYPE_CHECKING:
    from experts.learning_outcome import Outcome
    from experts.merging.adapters import Adapter
    from experts.merging.recipe import Recipe
    from sam_ui.services.engine import Engine

__all__ = ["REPLAY", "How", "LearnInputs", "LearnedModel", "learn_from"]

How = Literal["train", "weights", "thresholds"]
Progress = Callable[[float, float, str], None]
Cancel = Callable[[], bool]

REPLAY = 0.25
"""Sentences of the replay for each corrected one, where the corrections lack a type."""


@dataclass(frozen=True)
class LearnInputs:
    """What there is to learn from.

    Attributes:
        how: go on training, choose new weights, or only thresholds by type.
        recipes, adapters: of the merge, parallel; two where it is dual.
        before: for each adapter what it finds in each corrected sentence.
        corrected: sentences with all their entities of the types.
        types: names of the entity types.
        others: sentences that nobody has corrected, for what the corrections hardly show.
        thresholds: of the merge, type → least probability.
        label: name of the merge.
        seed: of all that is drawn.
    """

    how: How
    recipes: Sequence[Recipe]
    adapters: Sequence[Path]
    before: Sequence[Sequence[Sequence[Span]]]
    corrected: Sequence[Example]
    types: Sequence[str]
    others: Sequence[str] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    label: str = ""
    seed: int = 0


@dataclass(frozen=True)
class LearnedModel:
    """What became of it.

    Attributes:
        recipes, adapters: as of `LearnInputs`; the adapters lie in the folder that was named.
        outcome: before and after, on corrections that were not learned from.
        thresholds: type → least probability; empty but for how = "thresholds".
        changed: whether anything is other than before.
        retained_energy: where weights were chosen anew.
        pace: seconds for a unit of `LearningPlan.work`; 0 where it was not measured.
    """

    recipes: list[Recipe]
    adapters: list[Path]
    outcome: Outcome
    thresholds: dict[str, float]
    changed: bool
    retained_energy: float | None = None
    pace: float = 0.0


def learn_from(
    engine: Engine,
    inputs: LearnInputs,
    folder: Path,
    *,
    work: Path,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> LearnedModel:
    """Learn from corrections.

    Args:
        folder: gets the new adapters, each in a folder named after its recipe's criterion.
        work: of what is finished; the same call goes on from there after it was cut off.
        progress: called with (done, all, what is being done).

    Raises:
        SamError: too few corrections, an expert that is gone, or a base model that cannot learn.
        Cancelled: `cancelled` said so.
    """
    run = _Run(engine, inputs, folder, work, progress or (lambda *_: None), cancelled)
    model = {"train": run.train, "weights": run.weigh, "thresholds": run.cut}[inputs.how]()
    for recipe, adapter in zip(model.recipes, model.adapters, strict=True):
        recipe.save(adapter / "recipe.json")
    return model


class _Run:
    def __init__(
        self,
        engine: Engine,
        inputs: LearnInputs,
        folder: Path,
        work: Path,
        progress: Progress,
        cancelled: Cancel | None,
    ) -> None:
        from sam_ui.services.engine import unite

        self.engine, self.inputs, self.folder, self.work = engine, inputs, folder, work
        self.progress, self.cancelled = progress, cancelled
        self.before = [unite(spans) for spans in zip(*inputs.before, strict=True)]

    # ---- training ----

    def train(self) -> LearnedModel:
        from experts.learning import learn
        from experts.learning_plan import LearningPlan
        from experts.merging.adapters import load_adapter
        from sam_ui.services.engine import unite

        inputs = self.inputs
        replay = self._replay()
        plan = LearningPlan.for_sentences(
            len(inputs.corrected), replay=REPLAY if replay else 0.0, seed=inputs.seed
        )
        learned = [
            learn(
                self.engine.base, load_adapter(path), inputs.corrected, inputs.types,
                self._place(number), replay=replay, plan=plan, before=inputs.before[number],
                work=self.work / str(number), progress=self._part(number), cancelled=self.cancelled,
            )
            for number, path in enumerate(inputs.adapters)
        ]  # fmt: skip
        after = [unite(spans) for spans in zip(*(one.found[1] for one in learned), strict=True)]
        paces = [one.pace for one in learned if one.pace]
        return self._model(
            after, changed=any(one.steps for one in learned), pace=max(paces, default=0.0)
        )

    def _replay(self) -> list[Example]:
        """Sentences in which the experts agree on what the corrections hardly show; none where
        there is only one expert to ask.
        """
        from experts.learning_replay import agreeing, hardly_shown

        wanted = set(hardly_shown(self.inputs.corrected, self.inputs.types))
        names = dict.fromkeys(e.name for r in self.inputs.recipes for e in r.experts if e.weight)
        texts, types = list(self.inputs.others), list(self.inputs.types)
        if len(names) < 2 or not texts or not wanted:
            return []
        self.progress(0, 1, "Looking where the experts agree")
        paths = [self.engine.pool.get(name).path for name in names]
        answers = self.engine.extractor.extract_each(texts, types, paths, cancelled=self.cancelled)
        agreed = agreeing(texts, answers)
        return [e for e in agreed if wanted & {span.label for span in e.spans}]

    # ---- weights ----

    def weigh(self) -> LearnedModel:
        from experts.learning_weights import learn_weights
        from experts.merging.adapters import save_adapter
        from sam_ui.services.engine import unite

        inputs = self.inputs
        found = []
        for number, recipe in enumerate(inputs.recipes):
            one = learn_weights(
                self.engine.base, self._experts(recipe), recipe, inputs.corrected, inputs.types,
                seed=inputs.seed, progress=self._part(number), cancelled=self.cancelled,
            )  # fmt: skip
            base = recipe.base_model or one.merged.adapter.base_model
            self.folder.mkdir(parents=True, exist_ok=True)
            save_adapter(one.merged.adapter, self._place(number), base_model=base)
            found.append(one)
        after = [unite(spans) for spans in zip(*(one.after for one in found), strict=True)]
        recipes = [one.recipe for one in found]
        old = [[e.weight for e in recipe.experts] for recipe in inputs.recipes]
        return self._model(
            after,
            recipes=recipes,
            changed=old != [[e.weight for e in recipe.experts] for recipe in recipes],
            retained_energy=min(one.merged.retained_energy for one in found),
        )

    def _experts(self, recipe: Recipe) -> list[Adapter]:
        from experts.merging.adapters import load_adapter

        experts = [self.engine.pool.get(member.name) for member in recipe.experts]
        return [load_adapter(expert.path, name=expert.name) for expert in experts]

    # ---- thresholds ----

    def cut(self) -> LearnedModel:
        from experts.learning_thresholds import learn_thresholds

        inputs = self.inputs
        thresholds, after = learn_thresholds(
            inputs.corrected, self.before, inputs.types, seed=inputs.seed
        )
        for number, path in enumerate(inputs.adapters):
            shutil.copytree(path, self._place(number), dirs_exist_ok=True)
        kept = {name: round(value, 4) for name, value in thresholds.items() if value > 0}
        return self._model(after, thresholds=kept, changed=bool(kept))

    # ---- all ----

    def _place(self, number: int) -> Path:
        return self.folder / self.inputs.recipes[number].criterion

    def _part(self, number: int) -> Progress:
        """The progress of one of the adapters."""
        count = len(self.inputs.recipes)

        def tell(done: float, total: float, said: str) -> None:
            self.progress(number + (done / total if total else 0.0), count, said)

        return tell

    def _model(
        self,
        after: Sequence[Sequence[Span]],
        *,
        changed: bool,
        recipes: Sequence[Recipe] | None = None,
        thresholds: Mapping[str, float] | None = None,
        retained_energy: float | None = None,
        pace: float = 0.0,
    ) -> LearnedModel:
        from experts.learning_outcome import compare
        from experts.merging.recipe import LearningStep
        from experts.operating_point import keep

        inputs = self.inputs
        asked = set(inputs.types)
        gold = [[s for s in example.spans if s.label in asked] for example in inputs.corrected]
        before = keep(self.before, inputs.thresholds)
        outcome = compare(gold, before, after if changed else before, seed=inputs.seed)
        step = LearningStep(
            how=inputs.how,
            merge=inputs.label,
            sentences=len(inputs.corrected),
            types=list(inputs.types),
            thresholds=dict(thresholds or {}),
            f1_before=round(outcome.before.micro.f1, 4),
            f1_after=round(outcome.after.micro.f1, 4),
        )
        # Weights chosen anew forget what was learned before, which `check_weights` allows for
        # thresholds alone.
        kept = [recipe.learned if inputs.how != "weights" else [] for recipe in inputs.recipes]
        return LearnedModel(
            recipes=[
                recipe.model_copy(update={"learned": [*earlier, step]})
                for recipe, earlier in zip(recipes or inputs.recipes, kept, strict=True)
            ],
            adapters=[self._place(number) for number in range(len(inputs.recipes))],
            outcome=outcome,
            thresholds=dict(thresholds or {}),
            changed=changed,
            retained_energy=retained_energy,
            pace=pace,
        )
