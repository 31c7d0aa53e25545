"""Choices for the next merge: proposals, switches, weights, and their JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sam_ui.services.drafts import Choice, Draft
from sam_ui.services.views import MapView, MatchView

WEIGHTS = {"nature": 0.5, "law": 0.3, "news": 0.2}


def match(run_id: str = "r1") -> MatchView:
    return MatchView(
        run_id, datetime.now(UTC), False, 10, 3, 0, ("lake",), (), (), MapView((), (), ()),
        WEIGHTS, WEIGHTS, WEIGHTS, "",
    )  # fmt: skip


def test_a_new_match_replaces_the_choices_and_an_old_one_does_not() -> None:
    draft = Draft(method="ties").following(match())
    assert draft.weights == WEIGHTS
    assert draft.method == "ties"
    changed = draft.weighed("law", 0.9)
    assert changed.following(match()) == changed
    assert changed.following(match("r2")).weights == WEIGHTS


def test_back_to_recommended() -> None:
    draft = Draft().following(match()).switched("law", False)
    assert not draft.is_recommended(match())
    assert draft.recommended(match()).is_recommended(match())


def test_switching_keeps_the_weight_and_a_new_expert_gets_the_mean() -> None:
    draft = Draft().following(match()).switched("law", False)
    assert draft.weights == {"nature": 0.5, "news": 0.2}
    assert draft.switched("law", True).weights["law"] == 0.3
    assert draft.switched("food", True).experts["food"] == Choice(True, 0.35)
    assert Draft().switched("food", True).weights == {"food": 1.0}


def test_weights_are_cut_and_zero_switches_off() -> None:
    draft = Draft().weighed("law", 7).weighed("news", -3)
    assert draft.weights == {"law": 2.0}
    assert draft.experts["news"] == Choice(False, 0.0)


def test_normalising_sums_to_one_and_leaves_what_is_off() -> None:
    draft = Draft().weighed("law", 1.5).weighed("news", 0.5).switched("food", True)
    draft = draft.switched("food", False).normalised()
    assert sum(draft.weights.values()) == pytest.approx(1)
    assert draft.weights["law"] == pytest.approx(0.75)
    assert draft.experts["food"].weight == 1.0
    assert Draft().normalised() == Draft()


def test_removing_forgets_an_expert() -> None:
    assert Draft().following(match()).removed("law").weights == {"nature": 0.5, "news": 0.2}


def test_json_and_back_also_from_an_older_version() -> None:
    draft = Draft(parameters={"density": 0.3}, rank=8, dual=True).following(match())
    assert Draft.from_dict(json.loads(json.dumps(draft.to_dict()))) == draft
    assert Draft.from_dict({"gone": 1, "experts": None}) == Draft()
