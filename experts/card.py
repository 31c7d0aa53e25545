"""Expert cards: what is known of an expert, as JSON beside its adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experts.errors import SamError

__all__ = ["CardData", "CardType", "ExpertCard"]


class CardType(BaseModel):
    """An entity type that the expert was trained on."""

    name: str
    definition: str = ""


class CardData(BaseModel):
    """A corpus that the expert was trained on."""

    name: str
    licence: str
    source: str
    sentences: int = Field(description="sentences in the corpus' training part", ge=0)
    role: str = "domain"


class ExpertCard(BaseModel):
    """What is known of an expert.

    Attributes:
        name: folder name and identifier.
        title, domain, description: for people.
        types: entity types, the usual name of each.
        base_model: hub id of the base model; `base_note` says from which weights it was trained.
        rank: of the LoRA matrices.
        recipe: the training recipe, complete.
        sentences: training sentences seen, those of the expert that the training started from counted.
        data: corpora with licence and source; those of that expert have the role ``start``.
        licence: of the adapter, following from the data's and the base model's.
        dev_f1: strict span F1 on the corpora's dev parts; `dev_types` for each type,
            `dev_sentences` how many sentences that is.
        training_seconds: time spent training.
        hash: SHA-256 of the adapter's content.
        embedder: sentence-embedding model of `mean` and of the exemplars.
        mean: mean of the unit-norm sentence vectors of the training texts, length d.
        exemplars: texts whose vectors (float16, shape (n, d)) are in ``exemplars.safetensors``.
    """

    model_config = ConfigDict(extra="ignore")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    title: str
    domain: str = ""
    description: str = ""
    types: list[CardType] = Field(default_factory=list)
    base_model: str
    base_note: str = ""
    rank: int = Field(ge=1)
    recipe: dict[str, Any] = Field(default_factory=dict)
    sentences: int = 0
    data: list[CardData] = Field(default_factory=list)
    licence: str = ""
    dev_f1: float | None = None
    dev_types: dict[str, float] = Field(default_factory=dict)
    dev_sentences: int = 0
    training_seconds: float = 0.0
    hash: str = ""
    embedder: str = ""
    mean: list[float] = Field(default_factory=list)
    exemplars: list[str] = Field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> ExpertCard:
        """Read ``card.json``.

        Raises:
            SamError: if it is missing or not a valid card.
        """
        try:
            return cls.model_validate(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            raise SamError(
                f"There is no expert card at {path}.", "An expert's folder needs a card.json."
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise SamError(
                f"The expert card {path} is not valid: {field}: {first['msg']}.",
                "Mend the field, or train the expert again.",
            ) from None
        except (ValueError, RecursionError):
            raise SamError(
                f"The expert card {path} is not JSON.", "Restore the file from its source."
            ) from None

    def save(self, path: Path) -> None:
        """Write ``card.json``."""
        path.write_text(self.model_dump_json(indent=1), "utf-8")
