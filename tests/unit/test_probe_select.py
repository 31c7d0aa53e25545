from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.errors import SamError
from experts.probe import MINIMUM_SPANS, ProbeScore, chances, sample_sentences, score_answers
from experts.select import recommend
from experts.similarity import domain_similarities, exemplar_indices, mean_vector, project_2d
from experts.spans import Span


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.asarray(rows, dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def random_vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, d)).tolist())


PERSON = Span(0, 3, "person")
PLACE = Span(4, 8, "place")


def sure(span: Span, chance: float) -> Span:
    return Span(span.start, span.end, span.label, chance)


def test_a_span_is_as_likely_as_the_surest_two_experts_say() -> None:
    answers = {
        "a": [[sure(PERSON, 0.9), sure(PLACE, 0.6)]],
        "b": [[sure(PERSON, 0.5)]],
        "c": [[sure(PERSON, 0.7)]],
        "d": [[]],
    }
    assert chances(answers) == [{PERSON.key: pytest.approx(0.8), PLACE.key: pytest.approx(0.3)}]
    assert chances({}) == []


def test_a_span_that_an_expert_lists_twice_counts_once() -> None:
    twice = [sure(PERSON, 0.4), sure(PERSON, 0.6)]
    assert chances({"a": [twice], "b": [[]]}) == [{PERSON.key: pytest.approx(0.3)}]
    scores = score_answers({"a": [twice], "b": [[sure(PERSON, 1.0)]]}, ["person"])
    assert scores["a"].f1 == scores["b"].f1 == pytest.approx(2 * 0.8 / 1.8)


def test_the_expert_that_finds_what_is_likely_scores_best() -> None:
    """A majority vote would put the two that find little first."""
    much = [[sure(PERSON, 0.9), sure(PLACE, 0.9)]] * 4
    little = [[sure(PERSON, 0.8)]] * 4
    scores = score_answers({"a": much, "b": little, "c": little}, ["person", "place"])
    true = 4 * (0.85 + 0.45)
    assert scores["a"].f1 == pytest.approx(2 * true / (8 + true))
    assert scores["b"].f1 == pytest.approx(2 * 4 * 0.85 / (4 + true))
    assert scores["a"].f1 > scores["b"].f1
    assert scores["a"].support == round(true)
    assert scores["b"].per_type == {"person": pytest.approx(2 * 0.85 / 1.85), "place": 0.0}
    assert scores["a"].low <= scores["a"].f1 <= scores["a"].high


def test_corrections_are_the_truth_where_they_exist() -> None:
    answers = {"a": [[PERSON], [PERSON]], "b": [[PERSON], [PERSON]]}
    scores = score_answers(answers, ["person", "place"], [(PLACE,), None])
    assert scores["a"].support == 2
    assert scores["a"].f1 == pytest.approx(0.5)
    assert scores["a"].per_type == {"person": pytest.approx(2 / 3), "place": 0.0}


def both(answers: list[list[Span]]) -> dict[str, list[list[Span]]]:
    """Two experts that agree."""
    return {"a": answers, "b": answers}


def test_one_expert_alone_does_not_judge_itself() -> None:
    answers = {"a": [[PERSON]] * 20}
    alone = score_answers(answers, ["person"])["a"]
    assert (alone.support, alone.enough, alone.f1) == (0, False, 0.0)
    corrected = score_answers(answers, ["person"], [(PERSON,), (PLACE,), *[None] * 18])["a"]
    assert (corrected.support, corrected.f1) == (2, pytest.approx(0.5))


def test_three_spans_are_too_few_to_tell() -> None:
    few = score_answers(both([[PERSON]] * 3), ["person"])["a"]
    assert (few.support, few.enough) == (3, False)
    many = score_answers(both([[PERSON]] * MINIMUM_SPANS), ["person"])["a"]
    assert many.enough
    assert many.low <= many.f1 <= many.high


def test_types_without_spans_have_no_score() -> None:
    scores = score_answers(both([[PERSON]]), ["person", "ship"])
    assert scores["a"].per_type["ship"] is None


def test_experts_must_answer_the_same_sentences() -> None:
    with pytest.raises(ValueError, match="same sentences"):
        score_answers({"a": [[]], "b": [[], []]}, ["person"])


def score(f1: float, enough: bool = True) -> ProbeScore:
    return ProbeScore(f1, f1, f1, 10, {}, enough)


def test_single_is_the_union_of_both_criteria() -> None:
    similarity = {"a": 0.9, "b": 0.8, "c": 0.1, "d": 0.2}
    probe = {"a": score(0.1), "b": score(0.9), "c": score(0.8), "d": score(0.0)}
    selection = recommend(similarity, probe, k=2, weighting="uniform")
    assert list(selection.by_similarity) == ["a", "b"]
    assert list(selection.by_probe) == ["b", "c"]
    assert selection.single == {n: pytest.approx(1 / 3) for n in "abc"}


def test_a_probe_with_too_few_spans_does_not_select() -> None:
    selection = recommend({"a": 0.9, "b": 0.1}, {"b": score(1.0, enough=False)}, k=1)
    assert selection.by_probe == {}
    assert selection.single == {"a": 1.0}


def test_softmax_weights_follow_the_scores() -> None:
    selection = recommend({"a": 0.9, "b": 0.5}, {}, k=2)
    assert selection.single["a"] / selection.single["b"] == pytest.approx(math.exp(4.0), rel=1e-6)


def test_an_empty_pool_and_a_bad_k_are_refused() -> None:
    with pytest.raises(SamError, match="no experts"):
        recommend({}, {})
    with pytest.raises(SamError, match="k must be"):
        recommend({"a": 1.0}, {}, k=0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_a_sample_has_the_size_asked_for_and_no_repetition(m: int, n: int, seed: int) -> None:
    vectors = random_vectors(m, 4, seed)
    chosen = sample_sentences(vectors, n, seed)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(m, n)
    assert chosen == sample_sentences(vectors, n, seed)


def test_a_sample_covers_clusters_and_bears_copies() -> None:
    near = unit([[1, 0.001 * i, 0] for i in range(50)])
    far = unit([[0, 1, 0], [0, 0, 1]])
    chosen = exemplar_indices(np.concatenate([near, far]), 3, seed=1)
    assert {50, 51} <= set(chosen)
    copies = np.tile(unit([[1, 0]]), (6, 1))
    assert len(exemplar_indices(copies, 4, seed=0)) == 4


def test_similarity_is_the_cosine_of_the_means() -> None:
    a, b = random_vectors(20, 8, 1), random_vectors(30, 8, 2)
    means = np.stack([mean_vector(a), mean_vector(b)])
    found = domain_similarities(mean_vector(a), means)
    raw_a, raw_b = a.mean(0), b.mean(0)
    expected = raw_a @ raw_b / np.linalg.norm(raw_a) / np.linalg.norm(raw_b)
    assert found[0] == pytest.approx(1.0, abs=1e-5)
    assert found[1] == pytest.approx(expected, abs=1e-5)


def test_the_map_separates_domains() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(3, 16)
    domains = [unit((c + 0.1 * rng.normal(size=(40, 16))).tolist()) for c in centres]
    session = unit((centres[0] + 0.1 * rng.normal(size=(10, 16))).tolist())
    mine, theirs = project_2d(session, domains)
    assert mine.shape == (10, 2)
    distance = [float(np.linalg.norm(mine.mean(0) - xy.mean(0))) for xy in theirs]
    assert distance[0] < 0.3 * min(distance[1:])


@pytest.mark.parametrize("sizes", [[], [5], [5, 0], [3, 4]])
def test_the_map_of_few_domains(sizes: list[int]) -> None:
    mine, theirs = project_2d(random_vectors(4, 6), [random_vectors(n, 6)[:n] for n in sizes if n])
    assert mine.shape == (4, 2)
    assert np.isfinite(mine).all()
    assert all(xy.shape[1] == 2 for xy in theirs)
