"""What follows from the licences of everything that went into a merged adapter.

No legal advice: the conditions that the licences' names stand for, said in plain words. What is not
recognised is said to be unknown rather than taken for free.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from experts.export.notices import base_notice

__all__ = ["MergedExpert", "ResultingLicence", "resulting_licence"]

_UNKNOWN = re.compile(r"none stated|unknown|not stated|no licen[cs]e", re.I)
_NO_MONEY = re.compile(r"\bNC\b|non-?commercial|research[- ]only", re.I)
_SHARED_ALIKE = re.compile(r"\bSA\b|share-?alike|\bGPL|\bODbL", re.I)
_CREDITED = re.compile(r"\bCC[- ]BY\b|attribution|\bODC-BY", re.I)
_FREE = re.compile(r"\bMIT\b|apache|\bBSD\b|\bCC0\b|public domain|gemma|unlicense", re.I)


@dataclass(frozen=True, slots=True)
class MergedExpert:
    """What the card says of an expert that went into the merge; `data`: one line a corpus."""

    name: str
    title: str
    licence: str
    data: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultingLicence:
    """The licence of the merged adapter.

    Attributes:
        hub: identifier for a model card's ``license``: "gemma", else "other", because no single
            licence says it all.
        name: for ``license_name``; "" where `hub` says it.
        conditions: what whoever uses the adapter or passes it on has to keep to, a sentence each.
    """

    hub: str
    name: str
    conditions: tuple[str, ...]


def resulting_licence(base_model: str, experts: Sequence[MergedExpert]) -> ResultingLicence:
    """What the base model's terms and all experts' licences ask for together.

    Args:
        base_model: hub id or folder.
        experts: those that were merged.
    """
    notice = base_notice(base_model)
    conditions = [
        f"{notice}: they bind whoever uses the adapter or passes it on, with the prohibited uses "
        "that they list."
        if notice
        else "The base model's own licence binds whoever uses the adapter with it."
    ]
    stated = {e.title: [text for text in (e.licence, *e.data) if text] for e in experts}
    kinds = (
        (_NO_MONEY, "Not for commercial use: {} learned from data that rule it out."),
        (
            _SHARED_ALIKE,
            "Share alike: {} learned from data under a share-alike licence; pass the adapter, and "
            "what you make from it, on under the same conditions.",
        ),
        (_CREDITED, "Give credit: name the makers of the training data, as the list does ({})."),
    )
    for kind, said in kinds:
        who = [title for title, texts in stated.items() if any(map(kind.search, texts))]
        if who:
            conditions.append(said.format(_listed(who)))
    known = (_NO_MONEY, _SHARED_ALIKE, _CREDITED, _FREE)
    unknown = [
        title
        for title, texts in stated.items()
        if any(map(_UNKNOWN.search, texts))
        or not any(kind.search(text) for text in texts for kind in known)
    ]
    if unknown:
        conditions.append(
            f"Ask first: no known licence is noted for {_listed(unknown)}; ask whoever made it "
            "before you pass the adapter on."
        )
    if notice:
        return ResultingLicence("gemma", "", tuple(conditions))
    return ResultingLicence("other", "base-model-and-training-data", tuple(conditions))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
