"""The parts of benchmarks.sam that need no model: rows, targets, probes, ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sam_probes import PROBES, against
from benchmarks.sam_ranks import rank_sum, ranks, spearman
from benchmarks.sam_rows import GENERALIST, Select, all_rows, chosen_rows
from benchmarks.sam_targets import read_target
from experts.errors import SamError
from experts.spans import Span
from tests.unit.test_benchmark_sam import write_corpus


def test_probes_without_labels() -> None:
    a, b, c = (Span(0, 1, "x", 0.5), Span(2, 3, "x", 0.7), Span(4, 5, "x", 0.9))
    answers = {"p": [[a, b]], "q": [[b]], "r": [[a, c]], "s": [[]]}
    found = {title: probe(answers) for title, probe in PROBES.items()}
    assert found["confidence"] == pytest.approx({"p": 0.6, "q": 0.7, "r": 0.7, "s": 0.0})
    assert found["two votes"] == pytest.approx({"p": 1.0, "q": 2 / 3, "r": 0.5, "s": 0.0})
    assert found["mean agreement"]["p"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    # the others give b ⅓, a ⅓ and c ⅓: 2·(⅓ + ⅓) / (2 + 1)
    assert found["soft votes"]["p"] == pytest.approx(4 / 9)
    assert found["weighted votes"]["p"] == 1.0
    assert found["weighted votes"]["s"] == 0.0
    assert against(answers, [[c]]) == pytest.approx({"p": 0.0, "q": 0.0, "r": 2 / 3, "s": 0.0})
    assert set(PROBES["weighted votes"]({"p": [[]], "q": [[]]}).values()) == {0.0}


def test_spearman() -> None:
    assert ranks([3.0, 1.0, 3.0, 0.5]) == [3.5, 2.0, 3.5, 1.0]
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]
    assert spearman(a, b) == pytest.approx(1 - 6 * 4 / (5 * 24))  # 1 − 6·Σd² / (n·(n² − 1))
    assert spearman(a, [-x for x in a]) == pytest.approx(-1)
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1, 2], [1, 2]) is None
    assert rank_sum({"a": 0.1, "b": 0.9}, {"a": 0.5, "b": 0.2}) == {"a": 3.0, "b": 3.0}


def test_targets_ask_for_the_most_frequent_types(tmp_path: Path) -> None:
    write_corpus(tmp_path / "dev.jsonl", ["b", "a", "b", "c", "a", "b"])
    target = read_target(tmp_path, "dev", 3, max_types=2, leave_out=["a"])
    assert target.types == ("b", "c")
    assert target.all_types == 2
    assert [len(spans) for spans in target.gold] == [1, 0, 1]
    renamed = read_target(tmp_path, "dev", 3, names={"b": "bird", "c": "bird"})
    assert renamed.types == ("a", "bird")
    assert [span.label for spans in renamed.gold for span in spans] == ["bird", "a", "bird"]
    with pytest.raises(SamError, match=r"test\.jsonl"):
        read_target(tmp_path, "test", 3)


def test_rows_are_chosen_by_name_and_group() -> None:
    rows = all_rows(["a", "b"], generalist=True, methods=["linear"])
    assert len({row.name for row in rows}) == len(rows)
    assert [row.name for row in chosen_rows(rows, ["single", "SaM d*"])] == [
        "SaM dual", "a", "b", "SaM dual, generalist in the pool"
    ]  # fmt: skip
    assert [row.name for row in chosen_rows(rows, ["growth"])] == [
        "pool of 1 (order 0)", "pool of 2 (order 0)"
    ]  # fmt: skip
    assert any(row.how == Select(without="b") for row in rows)
    with pytest.raises(SamError, match="nothing-such"):
        chosen_rows(rows, ["nothing-such"])
    without = all_rows(["a", "b"], generalist=False, methods=[])
    assert not any(GENERALIST in row.name for row in without)
