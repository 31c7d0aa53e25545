"""Weights that follow from the match's scores, and how results show them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from experts.errors import SamError
from experts.merging.data import ExpertFit, MergeData, missing
from experts.merging.merge import MergeResult, merge
from experts.merging.registry import get_method
from experts.spans import Span
from tests.unit.merging_support import dense, random_adapter, recipe_for, relative_error

FITS = {"a": ExpertFit(0.6, 0.5), "b": ExpertFit(0.3, None), "c": ExpertFit(-0.2, 0.0)}


def data_with(fits: dict[str, ExpertFit], **given: Any) -> MergeData:
    return MergeData(base=cast(Any, None), texts=(), types=(), fits=fits, **given)


def run(weights: dict[str, float], fits: Any = FITS, **parameters: Any) -> MergeResult:
    experts = [random_adapter(name, seed) for seed, name in enumerate("abc")]
    recipe = recipe_for(weights, method="metrics_weighted", parameters=parameters)
    return merge(recipe, experts, data=data_with(fits))


@pytest.mark.parametrize(
    ("weights", "parameters", "wanted"),
    [
        ({"a": 0.5, "b": 0.5}, {"by": "similarity", "power": 1.0}, {"a": 2 / 3, "b": 1 / 3}),
        ({"a": 0.5, "b": 0.5}, {"by": "similarity", "power": 2.0}, {"a": 0.8, "b": 0.2}),
        ({"a": 0.2, "b": 0.8}, {"by": "similarity", "power": 1.0}, {"a": 1 / 3, "b": 2 / 3}),
        ({"a": 0.3, "b": 0.9}, {"power": 0.0}, {"a": 0.3, "b": 0.9}),
        ({"a": 1.0, "b": 1.0}, {"by": "both", "power": 1.0}, {"a": 1.1 / 0.85, "b": 0.6 / 0.85}),
        ({"a": 0.5, "c": 0.5}, {"by": "f1", "power": 1.0}, {"a": 1.0, "c": 0.0}),
        ({"a": 0.5, "c": 0.5}, {"by": "similarity", "power": 3.0}, {"a": 1.0, "c": 0.0}),
        ({"a": 1.0, "b": -0.5}, {"by": "similarity", "power": 1.0}, {"a": 1.2, "b": -0.3}),
    ],
)
def test_weights_are_the_recipes_times_the_scores(
    weights: dict[str, float], parameters: dict[str, Any], wanted: dict[str, float]
) -> None:
    result = run(weights, **parameters)
    assert result.weights == pytest.approx(wanted)
    experts = {name: random_adapter(name, seed) for seed, name in enumerate("abc")}
    assert result.coefficients is not None
    for module, factors in result.adapter.modules.items():
        exact = sum(w * dense(experts[name].modules[module]) for name, w in wanted.items())
        assert relative_error(dense(factors), exact) < 1e-5
        for name, weight in wanted.items():
            assert result.coefficients[name][module] == pytest.approx(weight)


def test_a_high_power_of_small_scores_does_not_vanish() -> None:
    fits = {"a": ExpertFit(1e-9, None), "b": ExpertFit(0.5e-9, None)}
    assert run({"a": 0.5, "b": 0.5}, fits, power=20.0).weights == pytest.approx(
        {"a": 1.0, "b": 2**-20}, rel=1e-5
    )


def test_missing_scores_are_named() -> None:
    both = {"a": 0.5, "b": 0.5}
    with pytest.raises(SamError, match=r"no F1 of the expert 'b'.*too few spans"):
        run(both, by="f1")
    with pytest.raises(SamError, match=r"needs scores of a match.*scores of b"):
        run(both, {"a": FITS["a"]})
    with pytest.raises(SamError, match="score of 0"):
        run({"c": 1.0}, by="f1")


def test_linear_shows_its_weights_and_others_show_none() -> None:
    experts = [random_adapter("a", 1), random_adapter("b", 2)]
    del experts[1].modules["layers.0.q"]
    result = merge(recipe_for({"a": 0.5, "b": 0.2}), experts)
    assert result.weights == {"a": 0.5, "b": 0.2}
    assert result.coefficients is not None
    assert "layers.0.q" not in result.coefficients["b"]
    ties = merge(recipe_for({"a": 0.5, "b": 0.2}, method="ties"), experts)
    assert (ties.weights, ties.coefficients) == (None, None)


def test_coefficients_that_differ_between_layers_are_no_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare(self: Any, adapters: Any, context: Any) -> None:
        modules = adapters[0].modules
        self.state["coefficients"] = {"a": {name: float(i) for i, name in enumerate(modules)}}

    monkeypatch.setattr(get_method("linear"), "prepare", prepare)
    result = merge(recipe_for({"a": 1.0}), [random_adapter("a", 1)])
    assert result.weights is None
    assert result.coefficients is not None
    assert result.coefficients["a"]["layers.0.down"] == 1.0


def test_what_is_missing_is_said_in_words() -> None:
    spans = [Span(0, 3, "person")]
    texts = MergeData(cast(Any, None), ["Ada left."], ["person"])
    corrected = MergeData(cast(Any, None), ["Ada left."], ["person"], gold=[spans])
    assert missing("none", None, ["a"]) == ""
    assert missing("scores", data_with(FITS), ["a", "x"]) == "scores of x"
    assert missing("texts", texts, ["a"]) == ""
    assert missing("corrections", texts, ["a"]) == "corrections"
    assert missing("corrections", corrected, ["a"]) == ""
