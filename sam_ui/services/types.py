"""The session's entity types."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace

from db.records import TypeRecord
from experts.corpus import EntityType, check_types, parse_types
from experts.errors import SamError
from sam_ui.services.palette import PALETTE, next_color
from sam_ui.services.pool import ExpertService
from sam_ui.services.store import Store
from sam_ui.services.views import TypeInfo, TypeSuggestion
from sam_ui.words import _

__all__ = ["SUGGESTED", "TypeService"]

SUGGESTED = "suggested"
"""Where a session keeps how well types fit its texts; `services.suggesting` writes it."""
LEFTOVERS = frozenset(("example", "misc", "miscellaneous", "other"))
"""Types of training corpora that nobody looks for, and so are those that begin with “other”."""


class TypeService:
    """Entity types of a session, with their colours."""

    def __init__(self, store: Store, experts: ExpertService) -> None:
        self._store = store
        self._experts = experts

    def list(self, session_id: str) -> list[TypeInfo]:
        """In the person's order."""
        return [
            TypeInfo(name=t.name, definition=t.definition, color=t.color)
            for t in self._store.types.list(session_id)
        ]

    def set(self, session_id: str, types: Sequence[EntityType]) -> builtins.list[TypeInfo]:
        """Make these the types of the session; a type that stays keeps its colour.

        Raises:
            SamError: a name is empty, too long, or has a line break; or there are too many.
        """
        with self._store.changing:
            return self._set(session_id, types)

    def _set(self, session_id: str, types: Sequence[EntityType]) -> builtins.list[TypeInfo]:
        self._store.session(session_id)
        names = check_types([t.name for t in types]) if types else []
        definitions: dict[str, str] = {}
        for kind in types:
            definitions.setdefault(kind.name.strip().casefold(), kind.definition)
        colors = {t.name.casefold(): t.color for t in self._store.types.list(session_id)}
        kept = {colors[n.casefold()] for n in names if n.casefold() in colors}
        records: builtins.list[TypeRecord] = []
        for name in names:
            color = colors.get(name.casefold()) or next_color(kept)
            kept.add(color)
            definition = " ".join(definitions.get(name.casefold(), "").split())
            records.append(TypeRecord(name=name, definition=definition, color=color))
        self._store.types.replace(session_id, records)
        return self.list(session_id)

    def set_text(self, session_id: str, text: str) -> builtins.list[TypeInfo]:
        """From "a, b" or lines of "name" or "name: definition"; no text removes all types."""
        return self.set(session_id, parse_types(text) if text.strip() else [])

    def add(self, session_id: str, name: str, definition: str = "") -> builtins.list[TypeInfo]:
        """Add one type at the end; one that is there already stays as it is."""
        return self.add_all(session_id, [EntityType(name, definition)])

    def add_all(self, session_id: str, types: Sequence[EntityType]) -> builtins.list[TypeInfo]:
        """Add types at the end: all of them, or none when one is refused (`SamError`)."""
        with self._store.changing:
            known = [EntityType(t.name, t.definition) for t in self.list(session_id)]
            return self._set(session_id, [*known, *types])

    def remove(self, session_id: str, name: str) -> builtins.list[TypeInfo]:
        """Remove one type; nothing happens when it is not there."""
        with self._store.changing:
            known = [EntityType(t.name, t.definition) for t in self.list(session_id)]
            return self._set(session_id, [t for t in known if t.name != name])

    def change(
        self, session_id: str, name: str, *, to: str, definition: str, color: str = ""
    ) -> builtins.list[TypeInfo]:
        """Change one type, in its place; what the session knows of it follows the name.

        Args:
            name: as it is called now.
            to: the new name, or the same.
            definition: what it means, one line.
            color: one of the palette; another type that has it gets this one's. "" keeps it.

        Raises:
            SamError: there is no such type, the new name is refused or taken, or the colour is
                none of the palette.
        """
        definition, wanted = " ".join(definition.split()), check_types([to])[0]
        with self._store.changing:
            types = self._store.types.list(session_id)
            mine = next((t for t in types if t.name == name), None)
            if mine is None:
                raise _gone(name)
            if any(t.name.casefold() == wanted.casefold() for t in types if t is not mine):
                what = _("There is a type “{name}” already.", name=wanted)
                raise SamError(what, "Choose another name.")
            if color not in ("", mine.color, *PALETTE):
                raise SamError("This is no colour for types.", "Choose one of those shown.")
            if wanted != name and not self._store.renaming.rename(session_id, name, wanted):
                raise _gone(name)
            records = []
            for kind in types:
                if kind is mine:
                    kind = TypeRecord(wanted, definition, color or mine.color)
                elif kind.color == color:
                    kind = replace(kind, color=mine.color)
                records.append(kind)
            self._store.types.replace(session_id, records)
            return self.list(session_id)

    def suggestions(self, session_id: str, limit: int = 12) -> builtins.list[TypeSuggestion]:
        """Types of the pool's experts that the session lacks.

        Those that fit the texts best come first, as far as that has been looked at; else those of
        experts that the last match found similar, then those that several experts know.
        """
        mine = {t.name.casefold() for t in self.list(session_id)}
        similarity = self._similarity(session_id)
        session = self._store.session(session_id)
        kept = session.settings.get(SUGGESTED) or {}
        fit = kept.get("fit", {}) if kept.get("revision") == session.corpus_revision else {}
        found: dict[str, tuple[float, str, str, builtins.list[str]]] = {}
        for info, definitions in self._experts.types():
            for name, definition in definitions:
                key = name.casefold()
                if key in mine or key in LEFTOVERS or key.startswith("other "):
                    continue
                value, shown, text, experts = found.get(key, (0.0, name, definition, []))
                value += similarity.get(info.name, 1.0 if not similarity else 0.0)
                found[key] = (value, shown, text or definition, [*experts, info.name])
        worst = min(fit.values(), default=0.0)
        ranked = sorted(
            found.items(), key=lambda item: (-fit.get(item[0], worst), -item[1][0], item[1][1])
        )
        rows = [f for _key, f in ranked[: max(0, limit)]]
        return [TypeSuggestion(f[1], f[2], tuple(f[3])) for f in rows]

    def _similarity(self, session_id: str) -> dict[str, float]:
        run = self._store.latest_match(session_id)
        scores = self._store.runs.scores(session_id, run.id) if run else []
        return {s.expert: s.value or 0.0 for s in scores if s.kind == "similarity"}


def _gone(name: str) -> SamError:
    return SamError(_("There is no type “{name}” any more.", name=name), "Add it again.")
