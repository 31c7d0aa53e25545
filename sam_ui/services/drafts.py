"""What a person has chosen for the next merge, before it is merged: kept with the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam_ui.services.store import Store
    from sam_ui.services.views import MatchView

__all__ = ["Choice", "Draft", "DraftService"]

KEY = "draft"

MAXIMUM_WEIGHT = 2.0


@dataclass(frozen=True)
class Choice:
    """One expert in the merge: switched on or not, and its weight in [0, 2]."""

    on: bool
    weight: float


@dataclass(frozen=True)
class Draft:
    """The choices of one session.

    Attributes:
        run_id: match run that `experts` was proposed by; a newer run replaces the proposal.
        rank: None keeps everything (the sum of the experts' ranks).
        samples, k: how the next match is to be made.
    """

    run_id: str = ""
    experts: Mapping[str, Choice] = field(default_factory=dict)
    method: str = "linear"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rank: int | None = None
    dual: bool = False
    samples: int = 10
    k: int = 3

    @property
    def weights(self) -> dict[str, float]:
        """The experts that take part: switched on, with a weight above 0."""
        return {n: c.weight for n, c in self.experts.items() if c.on and c.weight > 0}

    def following(self, match: MatchView | None) -> Draft:
        """This draft, or the proposal of a newer match run."""
        if match is None or match.run_id == self.run_id:
            return self
        return replace(self, run_id=match.run_id, experts=_proposal(match))

    def recommended(self, match: MatchView) -> Draft:
        """Back to what the match recommends; method and rank stay."""
        return replace(self, run_id=match.run_id, experts=_proposal(match))

    def is_recommended(self, match: MatchView) -> bool:
        return _rounded(self.weights) == _rounded(match.single)

    def switched(self, name: str, on: bool) -> Draft:
        """`name` on or off; one that was not there before gets the mean weight of the others."""
        old = self.experts.get(name)
        weight = old.weight if old and old.weight > 0 else self._mean()
        return self._with(name, Choice(on, weight))

    def weighed(self, name: str, weight: float) -> Draft:
        """`name` with another weight, cut to [0, 2]; moving a slider above 0 switches it on."""
        weight = round(min(MAXIMUM_WEIGHT, max(0.0, weight)), 3)
        return self._with(name, Choice(weight > 0, weight))

    def removed(self, name: str) -> Draft:
        return replace(self, experts={n: c for n, c in self.experts.items() if n != name})

    def normalised(self) -> Draft:
        """Weights of the experts that take part scaled to sum to 1."""
        total = sum(self.weights.values())
        if total <= 0:
            return self
        experts = {
            name: Choice(c.on, round(c.weight / total, 4)) if name in self.weights else c
            for name, c in self.experts.items()
        }
        return replace(self, experts=experts)

    def _mean(self) -> float:
        weights = list(self.weights.values())
        return round(sum(weights) / len(weights), 3) if weights else 1.0

    def _with(self, name: str, choice: Choice) -> Draft:
        return replace(self, experts={**self.experts, name: choice})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"experts": {n: asdict(c) for n, c in self.experts.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Draft:
        """Read what `to_dict` wrote; unknown or missing keys are ignored, so old sessions open."""
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        known["experts"] = {
            name: Choice(bool(c.get("on")), float(c.get("weight", 0)))
            for name, c in dict(known.get("experts") or {}).items()
        }
        return cls(**known)


def _proposal(match: MatchView) -> dict[str, Choice]:
    return {name: Choice(True, round(weight, 4)) for name, weight in match.single.items()}


def _rounded(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: round(weight, 2) for name, weight in weights.items() if weight > 0}


class DraftService:
    """Drafts, one a session; they survive a refresh."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, session_id: str) -> Draft:
        """The session's draft, an empty one at first."""
        return Draft.from_dict(self._store.session(session_id).settings.get(KEY) or {})

    def put(self, session_id: str, draft: Draft) -> None:
        """Keep `draft`; what else the session's settings hold is left alone."""
        self._store.sessions.set_setting(session_id, KEY, draft.to_dict())

    def change(self, session_id: str, change: Callable[[Draft], Draft]) -> None:
        """Replace the draft by what `change` makes of it; quick clicks come one after another."""
        with self._store.changing:
            self.put(session_id, change(self.get(session_id)))
