"""Reliability of probabilities, and what calibration makes of them, by hand and by property."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.calibration import (
    Calibrator,
    auroc,
    fit_calibrator,
    judged,
    reliability,
)
from experts.errors import SamError
from experts.spans import Span

Sentences = list[list[Span]]

SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)

GOLD: Sentences = [[Span(0, 3, "person"), Span(8, 10, "person")], [Span(0, 5, "place")], []]
FOUND: Sentences = [
    [Span(0, 3, "person", 0.9), Span(8, 10, "place", 0.3)],
    [Span(0, 5, "place", 0.6), Span(6, 9, "person", 0.7)],
    [],
]


def drawn(n: int, seed: int, chance: Callable[[float], float]) -> tuple[Sentences, Sentences]:
    """N sentences of one span each, of uniform probability p, right with ``chance(p)``."""
    rng = random.Random(seed)
    gold: Sentences = []
    found: Sentences = []
    for _ in range(n):
        p = rng.random()
        found.append([Span(0, 1, "a", p)])
        gold.append([Span(0, 1, "a")] if rng.random() < chance(p) else [])
    return gold, found


labels = st.sampled_from(["a", "b", "c"])
judgements = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


# ---- reliability ----


def test_a_reliability_table_by_hand() -> None:
    table = reliability(GOLD, FOUND, bins=2)
    low, high = table.bins
    assert (low.low, low.high, low.count, low.mean_score, low.right) == (0.0, 0.5, 1, 0.3, 0.0)
    assert (high.low, high.high, high.count) == (0.5, 1.0, 3)
    assert high.mean_score == pytest.approx(2.2 / 3)
    assert high.right == pytest.approx(2 / 3)
    assert (table.spans, table.right, table.unscored) == (4, 2, 0)
    assert table.ece == pytest.approx(1 / 4 * 0.3 + 3 / 4 * (2.2 / 3 - 2 / 3))
    assert table.brier == pytest.approx((0.1**2 + 0.3**2 + 0.4**2 + 0.7**2) / 4)
    # right 0.9, 0.6; wrong 0.3, 0.7: three of the four pairs are in order
    assert table.auroc == 0.75


def test_a_reliability_table_is_markdown_and_json() -> None:
    table = reliability(GOLD, FOUND, bins=2)
    assert table.to_markdown().splitlines() == [
        "| probability | spans | mean | right |",
        "|---|---|---|---|",
        "| 0.00–0.50 | 1 | 0.300 | 0.000 |",
        "| 0.50–1.00 | 3 | 0.733 | 0.667 |",
        "",
        "2 of 4 spans right. Expected calibration error 0.125, Brier score 0.188, AUROC 0.750.",
    ]
    data = json.loads(json.dumps(table.to_dict()))
    assert data["auroc"] == 0.75
    assert data["bins"][1]["count"] == 3


def test_probabilities_zero_and_one_have_a_bin() -> None:
    found = [[Span(0, 1, "a", 0.0), Span(1, 2, "a", 1.0), Span(2, 3, "a", 0.1)]]
    assert [b.count for b in reliability([[]], found).bins] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_spans_without_probability_are_counted_apart_and_doubles_once() -> None:
    found = [[Span(0, 3, "person"), Span(8, 10, "person", 0.4), Span(8, 10, "person", 0.8)], [], []]
    scores, right, types = judged(GOLD, found)
    assert (scores.tolist(), right.tolist(), types) == ([0.8], [True], ["person"])
    table = reliability(GOLD, found)
    assert (table.spans, table.unscored) == (1, 1)


def test_without_spans_there_is_nothing_to_say() -> None:
    for gold, found in (([], []), ([[]], [[]]), (GOLD, [[], [], []])):
        table = reliability(gold, found)
        assert (table.ece, table.brier, table.auroc, table.spans) == (None, None, None, 0)
        assert "0 of 0 spans right" in table.to_markdown()


@pytest.mark.parametrize("truth", [True, False])
def test_all_right_or_all_wrong_has_no_auroc(truth: bool) -> None:
    found = [[Span(0, 1, "a", 0.8)], [Span(0, 1, "a", 0.6)]]
    table = reliability(found if truth else [[], []], found)
    assert table.auroc is None
    assert table.ece == pytest.approx(0.3 if truth else 0.7)


def test_auroc_counts_ties_half() -> None:
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    assert auroc([0.1, 0.9, 0.9], [False, False, True]) == 0.75


@SETTINGS
@given(judgements)
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    good, bad = [p for p, right in rows if right], [p for p, right in rows if not right]
    value = auroc([p for p, _ in rows], [right for _, right in rows])
    if not good or not bad:
        assert value is None
    else:
        pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
        assert value == pytest.approx(sum(pairs) / len(pairs))


def test_sentences_must_be_parallel() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        reliability(GOLD, FOUND[:2])


def test_calibrated_probabilities_have_a_small_error_and_sure_ones_a_large() -> None:
    honest = reliability(*drawn(4000, 0, lambda p: p))
    assert honest.ece is not None
    assert honest.ece < 0.03
    boastful = reliability(*drawn(4000, 0, lambda p: p / 3))
    assert boastful.ece is not None
    assert boastful.ece > 0.25


# ---- the calibrator ----


def test_calibration_mends_overconfidence_on_other_sentences() -> None:
    def chance(p: float) -> float:
        return p / 3

    calibrator = fit_calibrator(*judged(*drawn(600, 1, chance)))
    assert calibrator.enough
    gold, found = drawn(2000, 2, chance)
    before = reliability(gold, found)
    after = reliability(gold, calibrator.apply_to_spans(found))
    assert before.ece is not None
    assert after.ece is not None
    assert after.ece < 0.05 < 0.25 < before.ece
    assert after.auroc == before.auroc


def test_a_calibrator_finds_the_numbers_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    calibrator = fit_calibrator(1 / (1 + np.exp(-logits)), right)
    assert calibrator.slope == pytest.approx(0.5, abs=0.03)
    assert calibrator.offset == pytest.approx(-1, abs=0.06)


@SETTINGS
@given(judgements, st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_calibrator_keeps_the_order(rows: list[tuple[float, bool]], asked: list[float]) -> None:
    calibrator = fit_calibrator([p for p, _ in rows], [r for _, r in rows], minimum=1)
    assert calibrator.slope > 0
    values = calibrator.apply(sorted(asked))
    assert np.all((values >= 0) & (values <= 1))
    assert np.all(np.diff(values) >= 0)


@SETTINGS
@given(judgements)
def test_the_fit_is_where_no_small_step_helps(rows: list[tuple[float, bool]]) -> None:
    p, y = np.array([p for p, _ in rows]), np.array([r for _, r in rows], dtype=float)
    inside = np.clip(p, 1e-9, 1 - 1e-9)
    x = np.log(inside) - np.log1p(-inside)

    def loss(slope: float, offset: float) -> float:
        z = slope * x + offset
        fit = (np.logaddexp(0, z) - y * z).sum()
        return float(fit + 0.5 * ((slope - 1) ** 2 / 0.25 + offset**2 / 4))

    made = fit_calibrator(p, y.astype(bool), minimum=1)
    least = loss(made.slope, made.offset)
    for slope, offset in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        if made.slope + slope >= 0.05:
            assert loss(made.slope + slope, made.offset + offset) >= least - 1e-9


@pytest.mark.parametrize("truth", [True, False])
def test_a_few_equal_judgements_move_little(truth: bool) -> None:
    few = fit_calibrator([0.6] * 20, [truth] * 20).apply([0.6])[0]
    many = fit_calibrator([0.6] * 2000, [truth] * 2000).apply([0.6])[0]
    assert 0 < few < 1
    assert abs(many - truth) < abs(few - truth) < abs(0.6 - truth)


def test_too_few_judgements_change_nothing() -> None:
    calibrator = fit_calibrator([0.2, 0.9], [True, True])
    assert calibrator == Calibrator(1.0, 0.0, {}, 2, enough=False)
    assert calibrator.apply([0.0, 0.2, 1.0]).tolist() == [0.0, 0.2, 1.0]
    assert fit_calibrator([], []) == Calibrator()


def test_spans_without_probability_pass_a_calibrator() -> None:
    calibrator = Calibrator(0.5, -1.0, {"b": 9.0}, 99, enough=True)
    found = [[Span(0, 1, "a"), Span(1, 2, "a", 0.5)]]
    (plain, scored), *_ = calibrator.apply_to_spans(found)
    assert plain == Span(0, 1, "a")
    assert scored.score == pytest.approx(1 / (1 + np.e))


def test_types_that_are_mostly_wrong_are_doubted_more() -> None:
    rng = random.Random(3)
    scores = [rng.random() for _ in range(80)]
    kinds = ["person", "politician"] * 40
    right = [kind == "politician" for kind in kinds]
    calibrator = fit_calibrator(scores, right, kinds)
    assert calibrator.types["person"] < 0 < calibrator.types["politician"]
    person, politician, other = calibrator.apply([0.5] * 3, ["person", "politician", "ship"])
    assert person < 0.1 < other < 0.9 < politician
    assert auroc(calibrator.apply(scores, kinds), right) == 1.0


@SETTINGS
@given(judgements, st.data())
def test_a_calibrator_keeps_the_order_within_a_type(
    rows: list[tuple[float, bool]], data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(labels, min_size=len(rows), max_size=len(rows)))
    calibrator = fit_calibrator([p for p, _ in rows], [r for _, r in rows], kinds, minimum=1)
    for kind in "abcd":
        values = calibrator.apply(np.linspace(0, 1, 50), [kind] * 50)
        assert np.all(np.diff(values) >= 0)
        assert np.all((values >= 0) & (values <= 1))


def test_judgements_that_cannot_be_are_refused() -> None:
    for scores, right in (([0.5], []), ([1.5], [True]), ([float("nan")], [True])):
        with pytest.raises(ValueError, match="scores"):
            fit_calibrator(scores, right)
    with pytest.raises(ValueError, match="labels"):
        fit_calibrator([0.5], [True], [])


def test_a_calibrator_is_json() -> None:
    calibrator = Calibrator(0.31, -1.25, {"città": 0.5}, 60, enough=True)
    assert Calibrator.from_json(calibrator.to_json()) == calibrator


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"slope": 1}',
        '{"slope": "x", "offset": 0, "types": {}, "spans": 1, "enough": true}',
        '{"slope": -1, "offset": 0, "types": {}, "spans": 1, "enough": true}',
        '{"slope": NaN, "offset": 0, "types": {}, "spans": 1, "enough": true}',
        '{"slope": 1, "offset": Infinity, "types": {}, "spans": 1, "enough": true}',
        '{"slope": 1, "offset": 0, "types": {"a": NaN}, "spans": 1, "enough": true}',
        '{"slope": 1, "offset": 0, "types": [], "spans": 1, "enough": true}',
        '{"slope": 1, "offset": 0, "types": {}, "spans": 1, "enough": "yes"}',
    ],
)
def test_a_damaged_calibrator_is_refused(text: str) -> None:
    with pytest.raises(SamError, match="calibration"):
        Calibrator.from_json(text)
