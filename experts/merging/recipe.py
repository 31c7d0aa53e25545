"""The recipe: a small JSON document, enough to make the same merged adapter again."""

from __future__ import annotations

import json
import math
import os
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from experts.errors import SamError

__all__ = ["LearningStep", "Recipe", "RecipeExpert"]

_MAX_BYTES = 1_000_000
_MAX_WEIGHT = 1000


class RecipeExpert(BaseModel):
    """One selected expert.

    Attributes:
        name: as in the pool.
        weight: from -1000 to 1000; negative takes the expert's knowledge away, 0 leaves it out.
        hash: `experts.merging.adapters.content_hash` of the adapter, so that a changed expert is
            noticed; None where it does not matter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    weight: float
    hash: str | None = None

    @field_validator("weight")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("the weight must be a finite number")
        if abs(value) > _MAX_WEIGHT:
            raise ValueError(f"the weight must lie between -{_MAX_WEIGHT} and {_MAX_WEIGHT}")
        return value


class LearningStep(BaseModel):
    """What came after the merge: a person's corrections.

    Attributes:
        how: "train" went on training the adapter, "weights" chose the recipe's weights,
            "thresholds" only leaves out what is less likely.
        merge: name of the merge that it went on from.
        sentences: corrected ones.
        types: that were asked.
        thresholds: type → least probability in [0, 1] of a span that is kept.
        f1_before, f1_after: strict micro F1 in [0, 1] on corrected sentences that were not learned
            from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    how: Literal["train", "weights", "thresholds"]
    merge: str = ""
    sentences: int = Field(ge=1)
    types: list[str] = Field(default_factory=list)
    thresholds: dict[str, float] = Field(default_factory=dict)
    f1_before: float | None = None
    f1_after: float | None = None


class Recipe(BaseModel):
    """Selection, merge method and its parameters.

    Attributes:
        experts: at least one, names unique.
        method: key of a merge method.
        parameters: the method's parameters; those left out have their default.
        rank: of the merged adapter, None for the sum of the experts' ranks.
        base_model: hub id of the base model that all experts belong to.
        criterion: how the experts were chosen; "single" is the union of both criteria.
        learned: what was learned from corrections afterwards, in this order. A recipe whose adapter
            was trained on is a record of it; it cannot make that adapter again.
        version: of this format.
    """

    model_config = ConfigDict(extra="forbid")

    experts: list[RecipeExpert] = Field(min_length=1)
    method: str = "linear"
    parameters: dict[str, bool | int | float | str] = Field(default_factory=dict)
    rank: int | None = Field(default=None, ge=1)
    base_model: str = ""
    criterion: Literal["single", "similarity", "probe"] = "single"
    learned: list[LearningStep] = Field(default_factory=list)
    version: Literal[1] = 1

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A recipe that nothing was learned after reads as it did before there was learning."""
        document: dict[str, Any] = handler(self)
        if not self.learned:
            del document["learned"]
        return document

    @property
    def trained(self) -> bool:
        """Whether its adapter was trained on after the merge."""
        return any(step.how == "train" for step in self.learned)

    @field_validator("experts")
    @classmethod
    def _unique(cls, value: list[RecipeExpert]) -> list[RecipeExpert]:
        names = [expert.name for expert in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the expert '{twice[0]}' is listed twice")
        return value

    def to_json(self) -> str:
        """Indented JSON; the same recipe always gives the same text."""
        return json.dumps(self.model_dump(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "The recipe") -> Recipe:
        """Read a recipe from JSON.

        Raises:
            SamError: not JSON, or a field is missing, unknown or wrong; says which and where.
        """
        try:
            content = json.loads(text)
        except UnicodeDecodeError:
            raise SamError(f"{name} is not UTF-8 text.", "Export the recipe again.") from None
        except json.JSONDecodeError as error:
            raise SamError(
                f"{name} is not valid JSON (line {error.lineno}: {error.msg}).",
                "Mend that line or export the recipe again.",
            ) from None
        except RecursionError:
            raise SamError(f"{name} is nested too deeply to be a recipe.", "") from None
        if not isinstance(content, dict):
            raise SamError(
                f"{name} is not a recipe: it must be a JSON object.", "Export the recipe again."
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise SamError(f"{name} cannot be used: {_explain(error)}.", _KEYS_HINT) from None

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe file.

        Raises:
            SamError: no such file, unreadable, or as `from_json`.
        """
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise SamError(f"{path} is too large to be a recipe.", "Choose a recipe file.")
            content = path.read_bytes()
        except OSError as error:
            raise SamError(
                f"The recipe {path} cannot be read ({error.strerror}).", "Check the path."
            ) from None
        return cls.from_json(content, name=f"The recipe {path.name}")

    def save(self, path: Path) -> None:
        """Write the recipe; a reader sees the old file or the new one, nothing in between."""
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            temporary.write_text(self.to_json(), encoding="utf-8")
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise SamError(
                f"The recipe cannot be written to {path} ({error.strerror}).",
                "Choose a folder that exists and that you may write to.",
            ) from None


_KEYS_HINT = f"A recipe has the fields {', '.join(Recipe.model_fields)}."


def _explain(error: ValidationError) -> str:
    """The first complaint in plain words: "experts[0].weight: input should be …"."""
    first = error.errors()[0]
    where = ""
    for part in first["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}"
