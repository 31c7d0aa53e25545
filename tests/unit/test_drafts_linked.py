"""Weights that are held at a sum of 1."""

from __future__ import annotations

import pytest

from sam_ui.services.drafts import Choice, Draft


def draft(**weights: float) -> Draft:
    return Draft(experts={name: Choice(True, weight) for name, weight in weights.items()})


def total(of: Draft) -> float:
    return sum(of.weights.values())


def test_linking_scales_to_one_and_keeps_the_proportions() -> None:
    linked = draft(a=1.0, b=0.5, c=0.5).linking(True)
    assert linked.weights == {"a": 0.5, "b": 0.25, "c": 0.25}
    assert linked.linking(False).weights == linked.weights


def test_moving_one_scales_the_others() -> None:
    linked = draft(a=0.5, b=0.3, c=0.2).linking(True)
    moved = linked.weighed("a", 0.75)
    assert moved.weights == {"a": 0.75, "b": 0.15, "c": 0.1}
    assert moved.weighed("a", 0.5).weights == linked.weights


def test_one_that_takes_all_gives_back() -> None:
    alone = draft(a=0.5, b=0.3, c=0.2).linking(True).weighed("a", 1.7)
    assert alone.weights == {"a": 1.0}
    assert all(choice.on for choice in alone.experts.values())
    assert alone.weighed("a", 0.4).weights == {"a": 0.4, "b": 0.3, "c": 0.3}
    assert draft(a=0.5).linking(True).weighed("a", 0.2).weights == {"a": 1.0}


def test_switching_adding_and_removing_keep_the_sum() -> None:
    linked = draft(a=0.5, b=0.3, c=0.2).linking(True)
    off = linked.switched("a", False)
    assert off.weights == {"b": 0.6, "c": 0.4}
    assert total(off.switched("a", True)) == pytest.approx(1, abs=1e-3)
    assert linked.switched("d", True).weights["d"] == pytest.approx(0.25, abs=1e-3)
    assert linked.removed("c").weights == {"a": 0.625, "b": 0.375}


def test_settings_taken_from_an_earlier_merge_are_not_bent() -> None:
    linked = draft(a=0.5, b=0.5).linking(True)
    assert linked.taking({"a": 0.2, "c": 0.8}).linked
    taken = linked.taking({"a": 1.5, "c": 0.8})
    assert (taken.linked, taken.weights) == (False, {"a": 1.5, "c": 0.8})


def test_drafts_of_older_versions_open() -> None:
    linked = draft(a=0.5, b=0.5).linking(True)
    assert Draft.from_dict(linked.to_dict()) == linked
    old = linked.to_dict()
    del old["linked"]
    assert not Draft.from_dict(old).linked
