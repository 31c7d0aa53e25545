"""Expert Merging: weights for each layer, learned from a few texts that nobody has annotated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from experts.errors import SamError
from experts.merging.adapters import Adapter
from experts.merging.coefficients import SEED, SHARE, LearnedMerge, data_of
from experts.merging.registry import MergeContext, Parameter, register

if TYPE_CHECKING:
    from experts.alignment import Alignment, Lesson
    from experts.gates import Coefficients
    from experts.merging.data import MergeData

__all__ = ["SETTINGS", "ExpertMerging"]

STEPS = Parameter(
    "steps", "Rounds of learning", "int", 1, 1000, 30,
    "In each round the weights are moved once, after one sentence of every expert. More rounds take "
    "longer and follow the sentences more closely.",
)  # fmt: skip
SETTINGS = (
    Parameter(
        "texts", "Sentences per expert", "int", 1, 200, 5,
        "How many sentences each expert is compared on; 5 to 10 are enough.",
    ),
    Parameter(
        "source", "Whose sentences", "choice", None, None, "experts",
        "Compare each expert on sentences of its own domain (experts), on your sentences (yours), or "
        "on both.",
        choices=("experts", "yours", "both"),
    ),
    Parameter(
        "hold", "Stay near the sliders", "float", 0.0, 100.0, 0.2,
        "How strongly the learned weights are held at those that you have set; 0 lets them go.",
    ),
    Parameter(
        "inner", "Agreement inside the model", "float", 0.0, 100.0, 1.0,
        "How much it counts that the merged model also works inside as the experts do; 0 looks at "
        "their answers only.",
    ),
    Parameter(
        "balance", "Whose agreement counts", "choice", None, None, "weights",
        "Experts with a higher slider count for more (weights), or all count alike (equal).",
        choices=("weights", "equal"),
    ),
    Parameter(
        "rate", "Largest move a round", "float", 0.0001, 1.0, 0.02,
        "How far a weight can move in one of the first rounds; later rounds move it less and less.",
    ),
    SEED,
)  # fmt: skip


@dataclass
class _Study:
    """What is learned from, ready to be read."""

    alignment: Alignment
    lessons: list[list[Lesson]]  # of each expert
    losses: list[float] = field(default_factory=list)


@register
class ExpertMerging(LearnedMerge):
    """Expert Merging (Zhang et al. 2025, arXiv:2509.25712, ICLR 2026), for LoRA experts.

    The paper's: the merged model is θ + Σₖ αₖˡτₖˡ, with one αₖˡ for every expert k and layer l, a
    layer being a weight matrix in the authors' code (github.com/Littleor/ExpertMerging); only the α
    are learned, from 5 to 10 unlabelled texts of each expert's domain, to minimise
    Σₖ βₖ(L_hid + L_logit) + γR. L_hid is the squared distance of hidden states to those of expert k,
    over a subset of the layers; L_logit is KL(expert ‖ merged), times T² at temperature T; βₖ ≥ 0
    are the tasks' weights; R is the mean of |αₖˡ - ᾱₖ|, ᾱ the initial weights of task arithmetic.

    Ours: τ is ΔW of a LoRA and the experts stand side by side with a gate each, so that no weights
    are rebuilt. The texts are asked for the person's types, each expert's own answers are read
    along, and both terms are taken at the answers' tokens. The KL is over those tokens that grounded
    decoding may choose, at T = 1, in nats. L_hid is of the middle layer and the last, each divided
    by the base model's distance to the expert: 1 is no merge, 0 the expert itself, so that it can be
    added to the KL whatever the model. β is normalised to sum 1, by default by the weights that the
    person has set. The weights are not squeezed into [0, 1], as the authors' code does by a sigmoid:
    negative ones are allowed here. Adam with a cosine; one text of each expert a step. If the loss
    over all texts has not fallen at the end, the initial weights stay.

    Memory beside the base model: the activations of one pass of some 512 tokens. Deterministic on
    the CPU. `state` as of `LearnedMerge`.

    Raises (in `prepare`):
        SamError: no types, no texts, texts that are all too long, an expert that does not fit the
            base model, or a quantized base model.
        Cancelled: between two steps.
    """

    key = "expert_merging"
    name = "Expert Merging"
    summary = (
        "Learns one weight per layer and expert, so that the merge thinks as each expert does."
    )
    paper = "Zhang et al. 2025, Expert Merging, arXiv:2509.25712"
    needs = "texts"
    exact = True
    batched = True
    order = 60
    parameters: ClassVar[tuple[Parameter, ...]] = (STEPS, SHARE, *SETTINGS)

    def prepare(self, adapters: Sequence[Adapter], context: MergeContext) -> None:
        """Learn the weights."""
        from experts.gates import Coefficients, group_modules

        modules = list(dict.fromkeys(name for adapter in adapters for name in adapter.modules))
        groups = group_modules(modules, str(context.parameters.get("share", "module")))
        learned = Coefficients(groups, context.weights)
        with self._studying(adapters, context) as study:
            self.learn(study, learned, adapters, context)
        self.keep(adapters, context, learned)
        self._tell(study, context)

    def learn(
        self,
        study: Any,
        learned: Coefficients,
        adapters: Sequence[Adapter],
        context: MergeContext,
    ) -> None:
        """Move the weights; `learned` is changed."""
        del adapters
        self.align(study, learned, context, range(int(context.parameters["steps"])))

    @contextlib.contextmanager
    def _studying(self, adapters: Sequence[Adapter], context: MergeContext) -> Iterator[_Study]:
        from experts.alignment import Alignment, lessons_of
        from experts.gates import GatedExperts

        data, settings = data_of(self, context), context.parameters
        texts = [self._texts(name, data, context) for name in context.experts]
        experts = GatedExperts(data.base, adapters)
        experts.check_learns()
        lessons = lessons_of(experts, adapters, texts, data.types, context.cancelled)
        by_weight = settings["balance"] == "weights"
        importance = [abs(weight) if by_weight else 1.0 for weight in context.weights]
        with experts.attached():
            alignment = Alignment(experts, lessons, importance, float(settings["inner"]))
            count = range(len(adapters))
            yield _Study(alignment, [[x for x in lessons if x.expert == k] for k in count])

    def _texts(self, expert: str, data: MergeData, context: MergeContext) -> list[str]:
        from experts.alignment import choose_texts

        settings = context.parameters
        own, source = list(data.expert_texts.get(expert, ())), settings["source"]
        pools = {"experts": [own or data.texts], "yours": [data.texts], "both": [own, data.texts]}
        count, seed = int(settings["texts"]), settings["seed"]
        chosen = [
            text
            for number, pool in enumerate(pools[str(source)])
            for text in choose_texts(pool, count, f"{seed}:{number}:{expert}")
        ]
        if not chosen:
            raise SamError(
                f"The merge method '{self.key}' compares the experts on sentences, and there are "
                f"none for '{expert}'.",
                "Add some of your texts; 5 to 10 sentences are enough.",
            )
        return chosen

    def align(
        self, study: _Study, learned: Coefficients, context: MergeContext, steps: range
    ) -> None:
        """Minimise the loss in some of all steps; where it has not fallen, put the weights back."""
        from experts.gates import descend

        settings, alignment = context.parameters, study.alignment
        hold = float(settings["hold"])

        def total() -> float:
            return alignment.loss(learned) + hold * float(learned.distance().detach())

        def backward(step: int) -> None:
            batch = [lessons[step % len(lessons)] for lessons in study.lessons]
            alignment.backward(batch, learned)
            (hold * learned.distance()).backward()

        def tell(done: int, _: int) -> None:
            if context.progress is not None:
                context.progress(steps.start + done, int(settings["steps"]), "learning the weights")

        before, start = learned.snapshot(), total()
        descend(
            learned, backward, steps=len(steps), rate=float(settings["rate"]),
            progress=tell, cancelled=context.cancelled,
        )  # fmt: skip
        end = total()
        if not end < start:
            learned.restore(before)
            end = start
        study.losses = [*(study.losses or [start]), end]

    def _tell(self, study: _Study, context: MergeContext) -> None:
        start, *_, end = study.losses
        texts = sum(map(len, study.lessons))
        self.state["report"] = {"texts": texts, "losses": study.losses}
        self.state["note"] = (
            f"Learned from {texts} sentences: the merge's distance to its experts fell from "
            f"{start:.3f} to {end:.3f}."
            if end < start
            else f"The weights that you have set could not be improved on {texts} sentences; they stay."
        )
