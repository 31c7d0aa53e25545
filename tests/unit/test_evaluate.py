"""Scores, checked by hand, against seqeval and against the counts they come from."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from experts.errors import SamError
from experts.evaluate import Score, evaluate, evaluate_files, f1_interval, micro_f1
from experts.spans import Span

GOLD = [[Span(0, 3, "person"), Span(8, 10, "person")], [Span(0, 5, "place")], []]
PRED = [[Span(0, 3, "person", 0.9), Span(8, 10, "place")], [Span(0, 4, "place")], []]


def test_a_report_by_hand() -> None:
    report = evaluate(GOLD, PRED)
    assert report.micro == Score(tp=1, fp=2, fn=2)
    assert report.per_type == {"person": Score(1, 0, 1), "place": Score(0, 2, 1)}
    person = report.per_type["person"]
    assert (person.precision, person.recall, person.support) == (1.0, 0.5, 2)
    assert person.f1 == pytest.approx(2 / 3)
    assert report.micro.f1 == micro_f1(GOLD, PRED) == pytest.approx(1 / 3)
    assert report.macro_f1 == pytest.approx(1 / 3)
    assert report.macro_precision == 0.5
    assert report.macro_recall == 0.25
    assert report.sentences == 3


def test_a_report_is_json() -> None:
    data = json.loads(json.dumps(evaluate(GOLD, PRED).to_dict()))
    assert data["micro"] == {
        "precision": 1 / 3,
        "recall": 1 / 3,
        "f1": 1 / 3,
        "support": 3,
        "tp": 1,
        "fp": 2,
        "fn": 2,
    }
    assert set(data["macro"]) == {"precision", "recall", "f1"}
    assert data["types"]["person"]["support"] == 2
    assert data["sentences"] == 3


def test_a_span_listed_twice_counts_once() -> None:
    twice = [[Span(0, 3, "person", 0.9), Span(0, 3, "person", 0.4)]]
    assert evaluate(twice, twice).micro == Score(1, 0, 0)


def test_nothing_to_score_is_zero_and_perfect_is_one() -> None:
    assert evaluate([], []).micro.f1 == 0.0
    assert evaluate([[]], [[]]).macro_f1 == 0.0
    assert evaluate(GOLD, GOLD).micro.f1 == evaluate(GOLD, GOLD).macro_f1 == 1.0


def test_different_lengths_are_refused() -> None:
    for score in (evaluate, micro_f1, f1_interval):
        with pytest.raises(SamError, match="3 sentences with true spans but 1"):
            score(GOLD, [[]])


def random_spans(rng: random.Random, tokens: int) -> list[Span]:
    """Disjoint spans over tokens of one character each, so that they are also IOB2 tags."""
    spans, i = [], 0
    while i < tokens:
        length = rng.randint(1, 3)
        if rng.random() < 0.3 and i + length <= tokens:
            spans.append(Span(i, i + length, rng.choice(["PER", "LOC", "ORG"])))
        i += length
    return spans


def tags(spans: list[Span], tokens: int) -> list[str]:
    found = ["O"] * tokens
    for span in spans:
        for i in range(span.start, span.end):
            found[i] = ("B-" if i == span.start else "I-") + span.label
    return found


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_seqeval(seed: int) -> None:
    rng = random.Random(seed)
    gold = [random_spans(rng, 20) for _ in range(30)]
    pred = [[s for s in spans if rng.random() < 0.6] or random_spans(rng, 20) for spans in gold]
    report = evaluate(gold, pred)
    true_tags = [tags(s, 20) for s in gold]
    pred_tags = [tags(s, 20) for s in pred]
    for average, ours in (
        ("micro", (report.micro.precision, report.micro.recall, report.micro.f1)),
        ("macro", (report.macro_precision, report.macro_recall, report.macro_f1)),
    ):
        theirs = [
            score(true_tags, pred_tags, average=average, mode="strict", scheme=IOB2)
            for score in (precision_score, recall_score, f1_score)
        ]
        assert ours == pytest.approx(theirs)
    per_type = f1_score(true_tags, pred_tags, average=None, mode="strict", scheme=IOB2)
    assert [s.f1 for s in report.per_type.values()] == pytest.approx(list(per_type))


def test_the_interval_holds_the_score_and_narrows_with_more_sentences() -> None:
    rng = random.Random(0)
    gold = [random_spans(rng, 20) for _ in range(400)]
    pred = [[s for s in spans if rng.random() < 0.7] for spans in gold]
    few = f1_interval(gold[:20], pred[:20])
    many = f1_interval(gold, pred)
    assert 0 <= few[0] <= micro_f1(gold[:20], pred[:20]) <= few[1] <= 1
    assert many[0] < micro_f1(gold, pred) < many[1]
    assert many[1] - many[0] < few[1] - few[0]
    narrow = f1_interval(gold, pred, level=0.5)
    assert many[0] < narrow[0] < narrow[1] < many[1]


def test_the_interval_is_reproducible_and_handles_edges() -> None:
    assert f1_interval(GOLD, PRED, seed=3) == f1_interval(GOLD, PRED, seed=3)
    assert f1_interval([], []) == (0.0, 0.0)
    assert f1_interval([[]], [[]]) == (0.0, 0.0)
    assert f1_interval(GOLD, GOLD) == (1.0, 1.0)


def write(path: Path, rows: list[tuple[str, list[list[object]]]]) -> Path:
    path.write_text("".join(json.dumps({"text": t, "entities": e}) + "\n" for t, e in rows))
    return path


def test_files_are_compared(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", [("Ada met Bo.", [[0, 3, "p"]]), ("None.", [])])
    pred = write(tmp_path / "pred.jsonl", [("Ada met Bo.", [[0, 3, "p"]]), ("None.", [])])
    assert evaluate_files(gold, pred).micro == Score(1, 0, 0)
    short = write(tmp_path / "short.jsonl", [("Ada met Bo.", [])])
    with pytest.raises(SamError, match=r"gold.jsonl has 2 texts and short.jsonl has 1"):
        evaluate_files(gold, short)
    other = write(tmp_path / "other.jsonl", [("Ada met Bo.", []), ("Else.", [])])
    with pytest.raises(SamError, match=r"Text 2 of gold.jsonl is not the same"):
        evaluate_files(gold, other)
