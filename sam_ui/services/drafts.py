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
        own: the person has changed `experts`; as long as not, they follow the recommendation.
        linked: the weights always sum to 1: whoever changes one scales the others.
    """

    run_id: str = ""
    experts: Mapping[str, Choice] = field(default_factory=dict)
    method: str = "linear"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rank: int | None = None
    dual: bool = False
    samples: int = 10
    k: int = 3
    own: bool = False
    linked: bool = False

    @property
    def weights(self) -> dict[str, float]:
        """The experts that take part: switched on, with a weight above 0."""
        return {n: c.weight for n, c in self.experts.items() if c.on and c.weight > 0}

    def following(self, match: MatchView | None) -> Draft:
        """This draft, or the proposal of a newer match run, or of corrections since then where the
        person has chosen nothing else.
        """
        if match is None or (match.run_id == self.run_id and self.own):
            return self
        return self.recommended(match)

    def recommended(self, match: MatchView) -> Draft:
        """Back to what the match recommends; method and rank stay."""
        return replace(self, run_id=match.run_id, experts=_proposal(match), own=False)

    def is_recommended(self, match: MatchView) -> bool:
        return _rounded(self.weights) == _rounded(match.single)

    def switched(self, name: str, on: bool) -> Draft:
        """`name` on or off; one that was not there before gets the mean weight of the others."""
        old = self.experts.get(name)
        weight = old.weight if old and old.weight > 0 else self._mean()
        return self._with(name, Choice(on, weight))._balanced()

    def weighed(self, name: str, weight: float) -> Draft:
        """`name` with another weight, cut to [0, 2]; moving a slider above 0 switches it on.

        If the weights are linked, it is cut to [0, 1] and the others share the rest in proportion.
        """
        if self.linked:
            return self._shared(name, min(1.0, max(0.0, weight)))
        weight = round(min(MAXIMUM_WEIGHT, max(0.0, weight)), 3)
        return self._with(name, Choice(weight > 0, weight))

    def _shared(self, name: str, weight: float) -> Draft:
        others = {n: c.weight for n, c in self.experts.items() if c.on and n != name}
        if not others:
            return self._with(name, Choice(True, 1.0))
        total = sum(others.values())
        rest = {
            n: Choice(True, round((1 - weight) * (w / total if total else 1 / len(others)), 4))
            for n, w in others.items()
        }
        return self._chosen({**self.experts, **rest, name: Choice(True, round(weight, 4))})

    def linking(self, linked: bool) -> Draft:
        """Whether the weights always sum to 1; if so, they do from now on."""
        return replace(self, linked=linked)._balanced()

    def _balanced(self) -> Draft:
        return self.normalised() if self.linked else self

    def taking(self, weights: Mapping[str, float]) -> Draft:
        """These experts with these weights and no others; linked only if they sum to 1."""
        linked = self.linked and abs(sum(weights.values()) - 1) < 0.005
        chosen = {name: Choice(weight > 0, weight) for name, weight in weights.items()}
        return replace(self, linked=linked)._chosen(chosen)

    def removed(self, name: str) -> Draft:
        left = {n: c for n, c in self.experts.items() if n != name}
        return self._chosen(left)._balanced()

    def normalised(self) -> Draft:
        """Weights of the experts that take part scaled to sum to 1."""
        total = sum(self.weights.values())
        if total <= 0:
            return self
        experts = {
            name: Choice(c.on, round(c.weight / total, 4)) if name in self.weights else c
            for name, c in self.experts.items()
        }
        return self._chosen(experts)

    def _mean(self) -> float:
        weights = list(self.weights.values())
        return round(sum(weights) / len(weights), 3) if weights else 1.0

    def _with(self, name: str, choice: Choice) -> Draft:
        return self._chosen({**self.experts, name: choice})

    def _chosen(self, experts: Mapping[str, Choice]) -> Draft:
        return replace(self, experts=experts, own=True)

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
        known.setdefault("own", bool(known["experts"]))  # of an older version: nobody knows
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
        """Replace the draft by what `change` makes of it as it is stored at that moment: of two
        people who change it at once neither undoes what the other has touched.

        Args:
            change: must not ask the database; whatever it raises leaves the draft as it is.
        """
        self._store.session(session_id)
        self._store.sessions.change_setting(
            session_id, KEY, lambda old: change(Draft.from_dict(old or {})).to_dict()
        )
