"""A recipe in the words of mergekit, for those who know it.

mergekit (github.com/arcee-ai/mergekit) merges whole models; ``base+adapter`` in its file stands for
a base model with a LoRA adapter. Its result is a full model: nothing is brought back to a rank.
Where mergekit has no such method, the file says so and holds no configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experts.files import written_whole
from experts.merging.registry import check_parameters, get_method

if TYPE_CHECKING:
    from experts.merging.recipe import Recipe

__all__ = ["FILE_NAME", "mergekit_yaml", "write_mergekit"]

FILE_NAME = "mergekit.yml"
_EXPERTS = "experts"  # where the file expects the experts' folders

Values = Mapping[str, Any]
Translated = tuple[str, dict[str, Any], dict[str, Any], str]
"""mergekit's method, its global parameters, those of each model, and what differs."""


def mergekit_yaml(recipe: Recipe) -> str:
    """The recipe as a configuration of ``mergekit-yaml``, with comments on what differs.

    Raises:
        SamError: the recipe's method or its parameters are not known.
    """
    method = get_method(recipe.method)
    parameters = check_parameters(method, recipe.parameters)
    translate = _TRANSLATIONS.get(recipe.method)
    translated = translate(parameters) if translate else None
    if translated is None:
        return (
            f"# mergekit has no method that does what '{recipe.method}' does with these settings,\n"
            "# so this recipe cannot be written for it. recipe.json has all of it.\n"
        )
    name, shared, each, note = translated
    comments = [
        "SaM's recipe.json in the words of mergekit:  mergekit-yaml mergekit.yml OUT",
        f"The experts' adapters are expected in the folder {_EXPERTS}/; change the paths if not.",
        "mergekit writes a full model, not an adapter.",
    ]
    if recipe.rank is not None:
        comments.append(
            f"SaM has brought the result to rank {recipe.rank}; mergekit leaves it as it is."
        )
    comments += [note] if note else []
    return "\n".join([*(f"# {line}" for line in comments), *_body(recipe, name, shared, each), ""])


def write_mergekit(recipe: Recipe, folder: Path) -> Path:
    """Write `FILE_NAME` into a merged adapter's folder; a reader never sees half of it.

    Raises:
        SamError: as `mergekit_yaml`, or the file cannot be written.
    """
    path = folder / FILE_NAME
    with written_whole(path) as temporary:
        temporary.write_text(mergekit_yaml(recipe), encoding="utf-8")
    return path


def _body(recipe: Recipe, name: str, shared: Values, each: Values) -> list[str]:
    base = recipe.base_model or "BASE_MODEL"
    lines = [f"merge_method: {name}", f"base_model: {_text(base)}", "models:"]
    for expert in recipe.experts:
        lines.append(f"  - model: {_text(f'{base}+{_EXPERTS}/{expert.name}')}")
        lines.append("    parameters:")
        lines += [
            f"      {key}: {_value(value)}"
            for key, value in {"weight": expert.weight, **each}.items()
        ]
    if shared:
        lines.append("parameters:")
        lines += [f"  {key}: {_value(value)}" for key, value in shared.items()]
    return [*lines, "dtype: bfloat16"]


def _text(value: str) -> str:
    # A JSON string is a YAML string, whatever is in it.
    return json.dumps(value, ensure_ascii=False)


def _value(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.12g}"


def _linear(_: Values) -> Translated:
    # mergekit's "linear" averages whole models and normalises; the sum of updates is this one.
    return "task_arithmetic", {"normalize": False}, {}, ""


def _voted(parameters: Values) -> dict[str, Any]:
    shared: dict[str, Any] = {"normalize": bool(parameters["average"])}
    if parameters["strength"] != 1:
        shared["lambda"] = parameters["strength"]
    return shared


def _ties(parameters: Values) -> Translated:
    return "ties", _voted(parameters), {"density": parameters["density"]}, ""


_DRAWN = "What is dropped at random is drawn otherwise by mergekit: expect a similar result."


def _dare_linear(parameters: Values) -> Translated:
    shared = {"normalize": False, "rescale": True}
    return "dare_linear", shared, {"density": 1 - parameters["drop"]}, _DRAWN


def _dare_ties(parameters: Values) -> Translated | None:
    if parameters["density"] < 1:  # mergekit does not trim after dropping
        return None
    shared = {**_voted(parameters), "rescale": True}
    return "dare_ties", shared, {"density": 1 - parameters["drop"]}, _DRAWN


def _della(parameters: Values) -> Translated | None:
    # Our window of drop probabilities is ε wide, mergekit's is density ± epsilon.
    density, half = 1 - parameters["drop"], parameters["epsilon"] / 2
    if not 0 < density - half <= density + half < 1:
        return None
    return "della", _voted(parameters), {"density": density, "epsilon": half}, _DRAWN


def _breadcrumbs(parameters: Values) -> Translated | None:
    density = 1 - parameters["small"] - parameters["large"]
    if density <= 0:
        return None
    each = {"density": density, "gamma": parameters["large"]}
    return "breadcrumbs", {"normalize": False}, each, ""


_TRANSLATIONS: dict[str, Callable[[Values], Translated | None]] = {
    "linear": _linear,
    "ties": _ties,
    "dare_linear": _dare_linear,
    "dare_ties": _dare_ties,
    "della": _della,
    "breadcrumbs": _breadcrumbs,
}
