"""A learned adapter as an expert: a folder with its card, ready for the pool."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from experts.card import CardData, CardType, ExpertCard
from experts.errors import SamError
from experts.pool import CARD, EXEMPLARS

if TYPE_CHECKING:
    from experts.similarity import Embedder

__all__ = ["CORRECTIONS", "LICENCES", "LearnedExpert", "check_name", "name_of", "write_expert"]

CORRECTIONS = "corrections of a person"
"""What the card calls the data."""

LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "not to be passed on")
"""Licences that are offered; the last keeps the expert to its maker."""

_MOST_EXEMPLARS = 200


@dataclass(frozen=True)
class LearnedExpert:
    """What its card will tell.

    Attributes:
        name, title, description: as of `ExpertCard`.
        types: that were asked.
        base_model: hub id.
        sentences: corrected ones, texts only.
        licence: of the corrections, as their maker has chosen.
        parents: cards of the experts that were merged.
        f1, type_f1: strict, on corrected sentences that had not been learned from.
        recipe: how it was made, ready for JSON.
        seconds: of the learning.
    """

    name: str
    title: str
    description: str
    types: Sequence[CardType]
    base_model: str
    sentences: Sequence[str]
    licence: str
    parents: Sequence[ExpertCard] = ()
    f1: float | None = None
    type_f1: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def name_of(title: str) -> str:
    """An expert's name from its title: "Lake sediments (2026)" → "lake-sediments-2026"; "" where
    the title has no letters that a name may have.
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].rstrip("-")


def check_name(name: str) -> None:
    """Raise `SamError` for a name that an expert cannot have."""
    try:
        ExpertCard(name=name, title="", base_model="", rank=1)
    except ValidationError:
        raise SamError(
            f"“{name}” cannot be the name of an expert.",
            "Use small letters, digits and hyphens, beginning with a letter or digit.",
        ) from None


def write_expert(
    expert: LearnedExpert, adapter: Path, out: Path, *, embedder: Embedder, seed: int = 0
) -> ExpertCard:
    """Write an expert's folder, which `Pool.add` takes.

    Args:
        adapter: folder in PEFT's format.
        out: folder to be made.
        seed: of the exemplars that are chosen among the sentences.

    Raises:
        SamError: the name or the licence does not do, or the adapter cannot be read.
    """
    import numpy as np
    from safetensors.numpy import save_file

    from experts.merging.adapters import content_hash, load_adapter
    from experts.similarity import exemplar_indices, mean_vector

    check_name(expert.name)
    if expert.licence not in LICENCES:
        raise SamError(
            f"“{expert.licence}” is not one of the licences.", f"Choose {', '.join(LICENCES)}."
        )
    loaded = load_adapter(adapter, name=expert.name)
    texts = list(dict.fromkeys(expert.sentences))
    vectors = embedder.embed(texts)
    chosen = exemplar_indices(vectors, _MOST_EXEMPLARS, seed)
    data = _data(expert)
    card = ExpertCard(
        name=expert.name,
        title=expert.title,
        domain=expert.title,
        description=expert.description,
        types=list(expert.types),
        base_model=expert.base_model,
        base_note=next((c.base_note for c in expert.parents if c.base_note), ""),
        rank=loaded.rank,
        recipe=dict(expert.recipe),
        sentences=len(texts) + sum(parent.sentences for parent in expert.parents),
        data=data,
        licence=_licence(expert, data),
        dev_f1=None if expert.f1 is None else round(expert.f1, 4),
        dev_types={name: round(value, 4) for name, value in expert.type_f1.items()},
        dev_sentences=0 if expert.f1 is None else len(expert.sentences),
        training_seconds=round(expert.seconds, 1),
        hash=content_hash(loaded),
        embedder=embedder.name,
        mean=[round(float(x), 6) for x in mean_vector(vectors)],
        exemplars=[texts[i] for i in chosen],
    )
    out.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(adapter / name, out / name)
    save_file({"vectors": vectors[chosen].astype(np.float16)}, out / EXEMPLARS)
    card.save(out / CARD)
    return card


def _data(expert: LearnedExpert) -> list[CardData]:
    """The corrections, then what the merged experts have learned from, each corpus once."""
    own = CardData(
        name=CORRECTIONS,
        licence=expert.licence,
        source="corrected in SaM",
        sentences=len(expert.sentences),
    )
    others: dict[str, CardData] = {}
    for parent in expert.parents:
        for corpus in parent.data:
            others.setdefault(corpus.name, corpus.model_copy(update={"role": "start"}))
    return [own, *others.values()]


def _licence(expert: LearnedExpert, data: Sequence[CardData]) -> str:
    """As of the bundled experts: the base model's terms and those of all data."""
    gemma = "gemma" in expert.base_model.lower()
    terms = ["Gemma Terms of Use (base model)"] if gemma else []
    licences = list(dict.fromkeys(corpus.licence for corpus in data))
    return "; ".join([*terms, "training data: " + ", ".join(licences)])
