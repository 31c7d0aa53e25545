"""From a recipe to an expert: train, describe, score, and put the folder in place as a whole."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from experts.base import BaseModel
from experts.card import CardData, CardType, ExpertCard
from experts.embedded import EMBEDDED_BASE
from experts.errors import SamError
from experts.evaluate import evaluate
from experts.extract import Extractor
from experts.merging.adapters import content_hash, load_adapter
from experts.pool import CARD, EXEMPLARS
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.sampling import Sampler, read_split
from experts.similarity import Embedder, exemplar_indices, mean_vector
from experts.spans import Span
from experts.starting import StartingPoint
from experts.training import TrainingProgress, train_adapter

__all__ = ["own_dev", "train_expert"]

log = logging.getLogger(__name__)

_EXEMPLARS = 200
_EMBEDDED_SENTENCES = 4000  # enough for a mean: its error falls with the root of the number
_GEMMA_LICENCE = "Gemma Terms of Use (base model)"


def train_expert(
    recipe: TrainingRecipe,
    *,
    base: BaseModel,
    embedder: Embedder,
    data: Path,
    out: Path,
    starts: Sequence[Path] = (),
    resume: bool = False,
    progress: Callable[[TrainingProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExpertCard:
    """Train the expert of a recipe into ``<out>/<name>/``.

    Args:
        data: folder of corpora, each a folder with ``train.jsonl`` and ``dev.jsonl``.
        out: folder of experts; the new one appears there when it is complete.
        starts: folders where, after `out`, the expert that the recipe starts from is looked for.
        resume: continue from the checkpoint kept in ``<out>/.training-<name>/``; an expert that this
            very recipe has already made for this base is left as it is.

    Raises:
        SamError: for a bad recipe, corpus or starting point, before any training.
        Cancelled: if `cancelled` said so; the checkpoint stays.
    """
    done = out / recipe.name / CARD
    if resume and done.is_file():
        card = ExpertCard.load(done)
        if _made_by(card) == recipe and card.base_model == base.name:
            return card
    sampler = Sampler(recipe, data)
    _check_dev(recipe, data)
    start = StartingPoint(recipe.start, [out, *starts], base.name) if recipe.start else None
    work = out / f".training-{recipe.name}"
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    result = train_adapter(
        base, recipe, sampler, work, start=start.adapter if start else None,
        resume=resume, progress=progress, cancelled=cancelled,
    )  # fmt: skip
    learned = _data(recipe, data) + (start.data if start else [])
    card = ExpertCard(
        name=recipe.name,
        title=recipe.title,
        domain=recipe.title,
        description=recipe.description,
        types=_types(recipe, sampler),
        base_model=base.name,
        base_note=_base_note(base),
        rank=recipe.rank,
        recipe=recipe.model_dump(mode="json"),
        sentences=recipe.sentences + (start.card.sentences if start else 0),
        data=learned,
        licence=_licence(learned, base),
        training_seconds=round(result["seconds"], 1),
        hash=content_hash(load_adapter(work, name=recipe.name)),
        embedder=embedder.name,
    )
    _describe_domain(card, recipe, embedder, data, work)
    _score(card, recipe, base, data, work)
    card.save(work / CARD)
    target = out / recipe.name
    shutil.rmtree(target, ignore_errors=True)
    os.replace(work, target)
    return card


def _made_by(card: ExpertCard) -> TrainingRecipe | None:
    """A card's recipe, read as one: fields that are newer than the card have their defaults."""
    try:
        return TrainingRecipe.model_validate(card.recipe)
    except ValidationError:
        return None


def _check_dev(recipe: TrainingRecipe, data: Path) -> None:
    """Refuse now what would only be missed when the training is over."""
    domain = [corpus for corpus in recipe.data if corpus.role == "domain"]
    if not domain:
        raise SamError(
            f"The recipe of {recipe.name} has no corpus of its own domain.",
            'Give at least one of its [[data]] the role "domain".',
        )
    for corpus in domain:
        if not read_split(data, corpus.corpus, "dev"):
            raise SamError(
                f"{data / corpus.corpus / 'dev.jsonl'} is empty.",
                "Put labelled sentences in it: they score the expert.",
            )


def _types(recipe: TrainingRecipe, sampler: Sampler) -> list[CardType]:
    names: dict[str, None] = {}
    for corpus in recipe.data:
        if corpus.role == "domain":
            for label in sampler.labels[corpus.corpus]:
                names[(corpus.types.get(label) or [label])[0]] = None
    return [CardType(name=name) for name in names]


def _data(recipe: TrainingRecipe, data: Path) -> list[CardData]:
    return [
        CardData(
            name=corpus.corpus,
            licence=corpus.licence,
            source=corpus.source,
            sentences=len(read_split(data, corpus.corpus, "train")),
            role=corpus.role,
        )
        for corpus in recipe.data
    ]


def _base_note(base: BaseModel) -> str:
    if base.name == EMBEDDED_BASE:
        return "trained on the weights dequantised from the Q4_K_M GGUF of the base model"
    return ""


def _licence(learned: Sequence[CardData], base: BaseModel) -> str:
    licences = list(dict.fromkeys(corpus.licence for corpus in learned))
    gemma = [_GEMMA_LICENCE] if "gemma" in base.name.lower() else []
    return "; ".join([*gemma, "training data: " + ", ".join(licences)])


def _domain_texts(recipe: TrainingRecipe, data: Path) -> list[str]:
    """Training sentences of the expert's own domain, in the recipe's proportions."""
    rng = random.Random(recipe.seed)
    corpora = [corpus for corpus in recipe.data if corpus.role == "domain"]
    shares = sum(corpus.share for corpus in corpora)
    texts: list[str] = []
    for corpus in corpora:
        own = [example.text for example in read_split(data, corpus.corpus, "train")]
        rng.shuffle(own)
        texts.extend(own[: max(1, round(_EMBEDDED_SENTENCES * corpus.share / shares))])
    return texts


def _describe_domain(
    card: ExpertCard, recipe: TrainingRecipe, embedder: Embedder, data: Path, work: Path
) -> None:
    from safetensors.numpy import save_file

    texts = _domain_texts(recipe, data)
    vectors = embedder.embed(texts)
    chosen = exemplar_indices(vectors, _EXEMPLARS, recipe.seed)
    card.mean = [round(float(x), 6) for x in mean_vector(vectors)]
    card.exemplars = [texts[i] for i in chosen]
    save_file({"vectors": vectors[chosen].astype(np.float16)}, work / EXEMPLARS)


def _score(
    card: ExpertCard, recipe: TrainingRecipe, base: BaseModel, data: Path, work: Path
) -> None:
    """Strict span F1 on the dev parts of the expert's own corpora, every type asked."""
    extractor = Extractor(base)
    adapter = load_adapter(work, name=recipe.name)
    gold: list[list[Span]] = []
    found: list[list[Span]] = []
    for texts, truth, asked in own_dev(recipe, data, recipe.dev_sentences):
        gold.extend(truth)
        found.extend(extractor.extract(texts, asked, adapter=adapter))
    report = evaluate(gold, found)
    card.dev_f1 = round(report.micro.f1, 4)
    card.dev_types = {name: round(score.f1, 4) for name, score in report.per_type.items()}
    card.dev_sentences = len(gold)


def own_dev(
    recipe: TrainingRecipe, data: Path, sentences: int
) -> Iterator[tuple[list[str], list[list[Span]], list[str]]]:
    """Of each corpus of a recipe's own domain, dev sentences under the usual names of its types.

    Args:
        data: folder of the corpora.
        sentences: of all corpora together, about.

    Returns:
        Texts, their true spans, the names to ask for.
    """
    corpora = [corpus for corpus in recipe.data if corpus.role == "domain"]
    for corpus in corpora:
        examples = read_split(data, corpus.corpus, "dev")
        random.Random(recipe.seed).shuffle(examples)
        examples = examples[: max(1, sentences // len(corpora))]
        names = _usual_names(corpus, data)
        gold = [
            [Span(s.start, s.end, names[s.label]) for s in e.spans if s.label in names]
            for e in examples
        ]
        yield [example.text for example in examples], gold, list(dict.fromkeys(names.values()))


def _usual_names(corpus: CorpusRecipe, data: Path) -> dict[str, str]:
    labels = {s.label for e in read_split(data, corpus.corpus, "train") for s in e.spans}
    return {
        label: (corpus.types.get(label) or [label])[0]
        for label in sorted(labels - set(corpus.leave_out))
    }
