"""Training recipes: the TOML file from which an expert is made again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experts.errors import SamError

__all__ = ["CorpusDescription", "CorpusRecipe", "TrainingRecipe", "load_recipe"]


class CorpusDescription(BaseModel):
    """What is true of a corpus in every recipe that uses it; a file of its own can hold it.

    A recipe's ``described_in = "corpora/x.toml"``, relative to the recipe, takes these fields from
    there; those that the recipe gives itself win.
    """

    model_config = ConfigDict(extra="forbid")

    licence: str
    source: str
    types: dict[str, list[str]] = Field(default_factory=dict)
    leave_out: list[str] = Field(default_factory=list)


class CorpusRecipe(BaseModel):
    """One source corpus of a recipe, what `CorpusDescription` holds filled in.

    Attributes:
        corpus: folder below the data folder, with ``train.jsonl`` and ``dev.jsonl``.
        share: relative number of sentences drawn from it.
        role: `domain` data make the expert what it is; `mix` data keep it following other types and
            do not count as its domain.
        licence, source: as the corpus states them; copied to the card.
        types: corpus label → names under which it may be asked, the first of which is the usual one.
            Labels that are not listed are asked under their own name.
        leave_out: labels that are never asked.
    """

    model_config = ConfigDict(extra="forbid")

    corpus: str
    share: float = Field(default=1.0, gt=0)
    role: Literal["domain", "mix"] = "domain"
    licence: str
    source: str
    types: dict[str, list[str]] = Field(default_factory=dict)
    leave_out: list[str] = Field(default_factory=list)


class TrainingRecipe(BaseModel):
    """How one expert is trained.

    Attributes:
        name: folder name of the expert (lower case, digits, hyphens).
        title, description: for people, in the interface.
        start: name of the expert whose adapter the training goes on from; none by default.
        sentences: training sentences seen, repetitions counted.
        batch: sentences a step.
        rank, alpha, dropout: of the LoRA matrices.
        learning_rate: of the A matrices; B's is `lora_plus_ratio` times as high (LoRA+,
            arXiv 2402.12354).
        warmup: share of the steps during which the rate rises linearly; it falls as a cosine after.
        max_types: types asked of one sentence at most.
        synonym_rate: how often a type is asked under another than its usual name.
        empty_rate: largest share of sentences without any entity.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    title: str
    description: str
    start: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    sentences: int = Field(default=3000, ge=1)
    batch: int = Field(default=8, ge=1, le=256)
    rank: int = Field(default=8, ge=1, le=256)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    lora_plus_ratio: float = Field(default=16.0, ge=1)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    max_types: int = Field(default=8, ge=1, le=64)
    synonym_rate: float = Field(default=0.4, ge=0, le=1)
    empty_rate: float = Field(default=0.15, ge=0, le=1)
    dev_sentences: int = Field(default=200, ge=1)
    seed: int = 0
    data: list[CorpusRecipe] = Field(min_length=1)


_Model = TypeVar("_Model", bound=BaseModel)


def load_recipe(path: Path) -> TrainingRecipe:
    """Read a recipe file and the corpus descriptions that it names.

    Raises:
        SamError: if a file is missing, not TOML, or a field is unknown or out of range.
    """
    fields = _read(path, "recipe file")
    if isinstance(fields.get("data"), list):
        fields["data"] = [_described(entry, path) for entry in fields["data"]]
    return _validate(TrainingRecipe, fields, path)


def _described(entry: Any, recipe: Path) -> Any:
    """Put a corpus' description into its entry; what is no entry at all is refused later."""
    if not isinstance(entry, dict) or "described_in" not in entry:
        return entry
    if not isinstance(entry["described_in"], str):
        raise SamError(
            f"{recipe}: the field 'described_in' is not text.",
            "Name the corpus description's file, relative to the recipe.",
        )
    path = recipe.parent / entry["described_in"]
    description = _validate(CorpusDescription, _read(path, "corpus description"), path)
    own = {key: value for key, value in entry.items() if key != "described_in"}
    return {**description.model_dump(), **own}


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SamError(f"There is no {what} {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise SamError(f"{path} is a folder.", f"Name the {what} in it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SamError(
            f"{path} is not a TOML file: {error}", "See the recipes in assets."
        ) from None


def _validate(model: type[_Model], fields: dict[str, Any], path: Path) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SamError(
            f"{path}: the field {field!r} is wrong: {first['msg']}.",
            "See README, “Train your own expert”, for the fields.",
        ) from None
