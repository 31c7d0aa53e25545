"""What ``sam-ui merge`` is given: weights, scores of a match, texts for the methods that read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experts.errors import SamError

if TYPE_CHECKING:
    from experts.corpus import Corpus
    from sam_ui.services.merge_data import ExpertFit, MergeInputs

__all__ = ["NEEDS", "check_inputs", "fits_from", "inputs", "weights", "weights_from"]

NEEDS = {
    "none": "",
    "scores": "the scores of a match: --from MATCH.json",
    "texts": 'texts and entity types: --texts CORPUS --types "a, b"',
    "corrections": 'texts whose entities are known: --texts CORPUS --types "a, b" --gold',
}
"""What each kind of `MergeMethod.needs` is on the command line."""


def weights(pairs: Sequence[str]) -> dict[str, float]:
    """Weights of ``--expert NAME=WEIGHT``.

    Raises:
        SamError: naming the option that is not of that form.
    """
    found: dict[str, float] = {}
    for pair in pairs:
        name, equals, weight = pair.rpartition("=")
        try:
            number = float(weight)
        except ValueError:
            number = float("nan")
        if not equals or not name or not math.isfinite(number) or name in found:
            raise SamError(
                f"--expert {pair!r} is not NAME=WEIGHT, or names an expert twice.",
                "For example: --expert encyclopedia=0.5 --expert biomedicine=0.5",
            )
        found[name] = number
    return found


def weights_from(path: Path, criterion: str) -> dict[str, float]:
    """Weights that a match recommends.

    Args:
        path: output of ``sam-ui match --json``.
        criterion: single, similarity or probe.

    Raises:
        SamError: no such file, not a match's output, or nothing is recommended.
    """
    try:
        recommended = _read(path)["recommended"][criterion]
        found = {str(name): float(weight) for name, weight in recommended.items()}
        if not all(map(math.isfinite, found.values())):
            raise ValueError("a weight is not a number")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_match(path) from None
    if not found:
        raise SamError(
            f"{path} recommends no experts by {criterion}.", "Use --criterion single or similarity."
        )
    return found


def fits_from(path: Path) -> dict[str, ExpertFit]:
    """Scores of every expert in a match's output.

    Raises:
        SamError: no such file, or not a match's output.
    """
    from sam_ui.services.merge_data import ExpertFit

    found: dict[str, ExpertFit] = {}
    try:
        for row in _read(path)["experts"]:
            similarity, f1 = float(row["similarity"]), row["f1"]
            f1 = None if f1 is None else float(f1)
            if not math.isfinite(similarity) or not math.isfinite(f1 or 0.0):
                raise ValueError("a score is not a number")
            found[str(row["name"])] = ExpertFit(similarity, f1)
    except (ValueError, KeyError, TypeError):
        raise _no_match(path) from None
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SamError(f"There is no file {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise SamError(f"{path} is a folder.", "Name the file with match's output.") from None
    except (ValueError, RecursionError):
        raise _no_match(path) from None


def _no_match(path: Path) -> SamError:
    return SamError(
        f"{path} is not the output of `sam-ui match --json`.",
        "Run `sam-ui match CORPUS --types … --json > match.json` first.",
    )


def check_inputs(
    method: str, needs: str, *, match: bool, texts: bool, types: bool, gold: bool
) -> None:
    """Refuse a method that is not given what it needs, before anything is read.

    Args:
        method: its key.
        needs: of the method.
        match, texts, types, gold: which of the options were given.

    Raises:
        SamError: naming the method, what it needs and how to give it.
    """
    if gold and not texts:
        raise SamError("--gold uses the entities of --texts, which is missing.", "Give --texts.")
    there = {
        "none": True,
        "scores": match,
        "texts": texts and types,
        "corrections": texts and types and gold,
    }
    if not there[needs]:
        what, _, how = NEEDS[needs].partition(": ")
        how = f"Give {how}."
        if needs == "scores":
            how += " `sam-ui match CORPUS --types … --json > match.json` makes it."
        raise SamError(f"The merge method '{method}' needs {what}.", how)


def inputs(match: Path | None, texts: Corpus | None, types: Sequence[str]) -> MergeInputs:
    """Everything that was given, in the form that the engine takes."""
    from sam_ui.services.merge_data import MergeInputs

    return MergeInputs(
        texts=[sentence.text for sentence in texts.sentences] if texts else (),
        types=types,
        gold=texts.gold if texts else (),
        fits=fits_from(match) if match else {},
    )
