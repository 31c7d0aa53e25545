"""Thresholds and the bias of "no mention", by hand and by property."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.evaluate import evaluate, micro_f1
from experts.operating_point import (
    best_shared_threshold,
    best_thresholds,
    keep,
    learn_none_bias,
    trade_off,
)
from experts.spans import Span

Sentences = list[list[Span]]

SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)

GOLD: Sentences = [[Span(0, 3, "person"), Span(8, 10, "person")], [Span(0, 5, "place")], []]
FOUND: Sentences = [
    [Span(0, 3, "person", 0.9), Span(8, 10, "place", 0.3)],
    [Span(0, 5, "place", 0.6), Span(6, 9, "person", 0.7)],
    [],
]


labels = st.sampled_from(["a", "b", "c"])
probabilities = st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(0, 1))
found_spans = st.builds(
    lambda at, label, p: Span(at, at + 1, label, p), st.integers(0, 5), labels, probabilities
)
true_spans = st.builds(lambda at, label: Span(at, at + 1, label), st.integers(0, 5), labels)
answered = st.lists(
    st.tuples(st.lists(true_spans, max_size=5), st.lists(found_spans, max_size=7)), max_size=8
).map(lambda pairs: ([gold for gold, _ in pairs], [found for _, found in pairs]))


# ---- thresholds ----


def test_a_trade_off_by_hand() -> None:
    curves = trade_off(GOLD, FOUND, ["person", "place", "ship"])
    person = [(p.threshold, p.precision, p.recall, p.kept) for p in curves["person"]]
    assert person == [(0.0, 0.5, 0.5, 2), (pytest.approx(0.8), 1.0, 0.5, 1)]
    place = [(p.threshold, p.precision, p.recall, p.kept) for p in curves["place"]]
    assert place == [(0.0, 0.5, 1.0, 2), (pytest.approx(0.45), 1.0, 1.0, 1)]
    assert [p.f1 for p in curves["place"]] == [pytest.approx(2 / 3), 1.0]
    assert [(p.threshold, p.f1, p.kept) for p in curves["ship"]] == [(0.0, 0.0, 0)]


def test_the_best_shared_threshold_by_hand() -> None:
    best = best_shared_threshold(GOLD, FOUND, ["person", "place"])
    # at 0: 2 of 4 right, 3 true; from 0.45: 2 of 3; from 0.65: 1 of 2; from 0.8: 1 of 1
    assert best.threshold == pytest.approx(0.45)
    assert best.f1 == pytest.approx(2 / 3)
    assert best_shared_threshold([[]], [[]], ["a"]).threshold == 0.0


@SETTINGS
@given(answered)
def test_each_point_is_what_keeping_gives(case: tuple[Sentences, Sentences]) -> None:
    gold, found = case
    for name, points in trade_off(gold, found, ["a", "b"]).items():
        assert points[0].threshold == 0.0
        assert [p.threshold for p in points] == sorted({p.threshold for p in points})
        true = [[s for s in spans if s.label == name] for spans in gold]
        mine = [[s for s in spans if s.label == name] for spans in found]
        for point in points:
            score = evaluate(true, keep(mine, point.threshold)).micro
            assert (point.precision, point.recall) == (score.precision, score.recall)
            assert point.f1 == pytest.approx(score.f1)
            assert point.kept == score.tp + score.fp


@SETTINGS
@given(answered, st.integers(1, 6))
def test_thresholds_never_lower_the_f1_that_they_were_learned_on(
    case: tuple[Sentences, Sentences], minimum: int
) -> None:
    gold, found = case
    types = ["a", "b", "c"]
    chosen = best_thresholds(gold, found, types, minimum=minimum)
    assert set(chosen) == set(types)
    assert all(0 <= threshold <= 1 for threshold in chosen.values())
    before = micro_f1(gold, found)
    assert micro_f1(gold, keep(found, chosen)) >= before
    shared = best_shared_threshold(gold, found, types)
    assert micro_f1(gold, keep(found, shared.threshold)) == pytest.approx(shared.f1)
    assert shared.f1 >= before - 1e-12


def test_sentences_must_be_parallel() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        trade_off(GOLD, FOUND[:2], ["person"])
    with pytest.raises(ValueError, match="argument 2"):
        best_thresholds(GOLD, FOUND[:2], ["person"], minimum=1)


def two_types(n: int) -> tuple[Sentences, Sentences]:
    """Type a is right from 0.3 on, type b from 0.7 on; n spans of each in steps."""
    gold: Sentences = []
    found: Sentences = []
    for i in range(n):
        p = (i + 0.5) / n
        found.append([Span(0, 1, "a", p), Span(2, 3, "b", p)])
        gold.append([Span(0, 1, "a")] * (p > 0.3) + [Span(2, 3, "b")] * (p > 0.7))
    return gold, found


def test_types_with_many_spans_get_thresholds_of_their_own() -> None:
    gold, found = two_types(1000)
    chosen = best_thresholds(gold, found, ["a", "b"])
    assert chosen["a"] == pytest.approx(0.3, abs=0.02)
    assert chosen["b"] == pytest.approx(0.7, abs=0.02)


def test_types_with_few_spans_stay_near_the_shared_threshold() -> None:
    gold, found = two_types(20)
    shared = best_shared_threshold(gold, found, ["a", "b"]).threshold
    chosen = best_thresholds(gold, found, ["a", "b"], minimum=20)
    own = trade_off(gold, found, ["b"])["b"]
    best = max(own, key=lambda point: point.f1).threshold
    assert best == pytest.approx(0.7)
    assert chosen["b"] == pytest.approx((20 * best + 20 * shared) / 40)


def test_without_enough_to_learn_from_thresholds_are_zero() -> None:
    gold, found = two_types(10)
    assert best_thresholds(gold, found, ["a", "b"]) == {"a": 0.0, "b": 0.0}
    assert best_thresholds([], [], ["a"]) == {"a": 0.0}
    assert best_thresholds([[Span(0, 1, "a")]] * 30, [[]] * 30, ["a"]) == {"a": 0.0}
    wrong = [[Span(5, 6, "a", 0.5)]] * 30
    assert best_thresholds([[Span(0, 1, "a")]] * 30, wrong, ["a"]) == {"a": 0.0}


def test_keeping_by_type_leaves_unnamed_types_and_spans_without_probability() -> None:
    found = [[Span(0, 1, "a", 0.4), Span(1, 2, "b", 0.4), Span(2, 3, "a"), Span(3, 4, "a", 0.5)]]
    assert keep(found, {"a": 0.5}) == [found[0][1:]]
    assert keep(found, 0.5) == [found[0][2:]]
    assert keep(found, 0.0) == found


# ---- the bias of "no mention" ----


def answerer(gold: Sentences, best: float) -> Callable[[float], Sentences]:
    """Below `best` false mentions come in, above it true ones are lost; both more with distance."""

    def answer(bias: float) -> Sentences:
        found: Sentences = []
        for i, spans in enumerate(gold):
            lost = bias > best and i % 10 < 4 * (bias - best)
            extra = bias < best and i % 10 < 4 * (best - bias)
            mine = [] if lost else [Span(s.start, s.end, s.label, 0.5) for s in spans]
            found.append([*mine, Span(90, 91, "a", 0.5)] if extra else mine)
        return found

    return answer


TRUTH: Sentences = [[Span(0, 1, "a")] for _ in range(60)]


@pytest.mark.parametrize("best", [-2.0, -1.0, 0.0, 0.5, 1.25, 2.0])
def test_the_best_bias_is_found(best: float) -> None:
    learned = learn_none_bias(TRUTH, answerer(TRUTH, best))
    assert learned.enough
    assert learned.bias == pytest.approx(best, abs=0.25)
    assert learned.f1_before is not None
    assert learned.f1_after is not None
    assert learned.f1_after > learned.f1_before or best == 0.0
    assert learned.spans == 60
    assert [p.bias for p in learned.curve] == sorted(p.bias for p in learned.curve)
    assert max(learned.curve, key=lambda p: p.f1).f1 == pytest.approx(1.0)
    assert json.loads(json.dumps(learned.to_dict()))["curve"][0]["bias"] == -2.0


def test_each_bias_is_answered_once() -> None:
    asked: list[float] = []
    answer = answerer(TRUTH, 1.25)

    def counted(bias: float) -> Sentences:
        asked.append(bias)
        return answer(bias)

    learn_none_bias(TRUTH, counted, grid=(-1.0, 1.0), refinements=2)
    assert len(asked) == len(set(asked)) <= 3 + 2 * 2
    assert 0.0 in asked


def test_a_bias_that_changes_nothing_is_zero() -> None:
    learned = learn_none_bias(TRUTH, lambda _: [[Span(0, 1, "a", 0.9)]] * 60)
    assert (learned.bias, learned.f1_before, learned.f1_after) == (0.0, 1.0, 1.0)


def test_a_gain_that_other_sentences_do_not_confirm_is_not_claimed() -> None:
    # One sentence alone speaks for the bias; left out, the others speak against it.
    def answer(bias: float) -> Sentences:
        wrong = [Span(k, k + 1, "x", 0.5) for k in range(10, 20)]
        good = [Span(0, 1, "a", 0.5)]
        first = good if bias > 0 else [*good, *wrong]
        return [first, *([good] * 58), [] if bias > 0 else good]

    learned = learn_none_bias(TRUTH, answer, grid=(0.0, 1.0), refinements=0)
    curve = {p.bias: p.f1 for p in learned.curve}
    assert curve[1.0] > curve[0.0]
    assert learned.bias == 0.0
    assert learned.f1_after == learned.f1_before == curve[0.0]


def test_too_little_claims_nothing_and_asks_nothing() -> None:
    def answer(bias: float) -> Sentences:
        raise AssertionError("nothing should be asked")

    one = [[Span(i, i + 1, "a") for i in range(50)]]
    for gold in ([], [[]] * 50, TRUTH[:19], one):
        learned = learn_none_bias(gold, answer)
        assert (learned.bias, learned.enough, learned.curve) == (0.0, False, ())
        assert learned.f1_before is learned.f1_after is None
