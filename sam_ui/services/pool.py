"""The experts of the pool, as the interface shows them."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sam_ui.services.views import ExpertInfo
from sam_ui.words import Later, _, _n

if TYPE_CHECKING:
    from sam_ui.services.store import Store

__all__ = ["ExpertService", "expert_info", "expert_types"]


class ExpertService:
    """The pool, read from the expert cards."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self) -> list[ExpertInfo]:
        """All experts of the pool, in its order."""
        return [seen.info for seen in self._store.pool_seen().values()]

    def get(self, name: str) -> ExpertInfo:
        """Raises `SamError` for an unknown expert, naming the nearest."""
        seen = self._store.pool_seen()
        if name in seen:
            return seen[name].info
        expert = self._store.pool.get(name)
        return expert_info(expert.name, expert.card.model_dump(mode="json"), bundled=expert.bundled)

    def ever(self, names: Iterable[str] | None = None) -> dict[str, ExpertInfo]:
        """By name, experts that were ever in the pool: these, or all."""
        known = {info.name: info for info in self.list()}
        if names is not None and set(names) <= known.keys():
            return known
        gone = {e.name: expert_info(e.name, e.card) for e in self._store.experts.all()}
        return gone | known

    def types(self) -> builtins.list[tuple[ExpertInfo, builtins.list[tuple[str, str]]]]:
        """Each expert with the (name, definition) of its types."""
        return [(seen.info, list(seen.types)) for seen in self._store.pool_seen().values()]


def expert_info(name: str, card: Mapping[str, Any], *, bundled: bool = False) -> ExpertInfo:
    """From an expert card as JSON; tolerant, since cached cards may be of an older version."""
    return ExpertInfo(
        name=name,
        title=str(card.get("title") or name),
        domain=str(card.get("domain") or ""),
        description=str(card.get("description") or ""),
        types=tuple(_type(t)[0] for t in card.get("types") or []),
        licence=str(card.get("licence") or ""),
        data=tuple(_data_line(d) for d in card.get("data") or []),
        base_model=str(card.get("base_model") or ""),
        rank=int(card.get("rank") or 0),
        dev_f1=card.get("dev_f1"),
        training=Later(partial(_training, card)),
        bundled=bundled,
        corpora=tuple(Later(partial(_data_line, d)) for d in card.get("data") or []),
    )


def expert_types(card: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The (name, definition) of a card's types."""
    return tuple(_type(entry) for entry in card.get("types") or [])


def _type(entry: Any) -> tuple[str, str]:
    if isinstance(entry, str):
        return entry, ""
    return str(entry.get("name", "")), str(entry.get("definition") or "")


def _data_line(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    line = str(entry.get("name", ""))
    if entry.get("licence"):
        line += f" ({entry['licence']})"
    if entry.get("sentences"):
        line += ", " + _n("{n} sentence", "{n} sentences", entry["sentences"])
    return line


def _training(card: Mapping[str, Any]) -> str:
    data = [d for d in card.get("data") or [] if isinstance(d, dict)]
    count = card.get("sentences") or sum(d.get("sentences") or 0 for d in data)
    text = _("LoRA+ of rank {rank}", rank=card.get("rank"))
    if count:
        text += _n(" on {n} sentence", " on {n} sentences", count)
    if card.get("training_seconds"):
        minutes = max(1, round(card["training_seconds"] / 60))
        text += _n(", {n} minute of training", ", {n} minutes of training", minutes)
    if card.get("dev_f1") is not None:
        text += _("; F1 {f1} on texts of its own domain", f1=f"{card['dev_f1']:.2f}")
    return f"{text}."
