# ruff: noqa: F811 (fixtures of a neighbour)
"""``sam-ui predict`` with a threshold and a bias of "no mention"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fakes import FakeEngine
from tests.unit.test_cli import sam, write  # noqa: F401 (a fixture)
from tests.unit.test_cli_contract import engine, jsonl, read_jsonl, run  # noqa: F401 (fixtures)


@pytest.mark.parametrize(
    ("threshold", "names"),
    [
        (None, ["Ada", "Grace"]),
        ("0", ["Ada", "Grace"]),
        ("0.3", ["Ada", "Grace"]),
        ("0.4", ["Grace"]),
        ("1", []),
    ],
)
def test_less_probable_entities_are_left_out(
    run: Any,
    tmp_path: Path,
    threshold: str | None,
    names: list[str],
) -> None:
    corpus = write(tmp_path / "c.jsonl", jsonl({"text": "Ada met Grace."}))
    options = [] if threshold is None else ["--threshold", threshold]
    code, printed, error = run(
        "predict", corpus, "--types", "person", "--out", tmp_path / "o", *options, "--json"
    )
    assert code == 0, error
    assert json.loads(printed)["entities"] == len(names)
    (row,) = read_jsonl(tmp_path / "o")
    assert [row["text"][e["start"] : e["end"]] for e in row["entities"]] == names


def test_the_bias_reaches_the_engine(
    run: Any,
    engine: FakeEngine,
    tmp_path: Path,
) -> None:
    corpus = write(tmp_path / "c.jsonl", jsonl({"text": "Ada left."}))
    arguments = ("predict", corpus, "--types", "person", "--out", tmp_path / "o")
    assert run(*arguments, "--none-bias", "-1.5")[0] == 0
    assert engine.none_bias == -1.5
    assert run(*arguments)[0] == 0
    assert engine.none_bias == 0.0


@pytest.mark.parametrize(
    "options",
    [
        ("--threshold", "1.1"),
        ("--threshold", "-0.1"),
        ("--threshold", "nan"),
        ("--none-bias", "nan"),
        ("--none-bias", "inf"),
        ("--none-bias", "much"),
    ],
)
def test_settings_out_of_range_are_refused_before_the_work(
    run: Any,
    engine: FakeEngine,
    tmp_path: Path,
    options: tuple[str, str],
) -> None:
    corpus = write(tmp_path / "c.jsonl", jsonl({"text": "Ada left."}))
    code, printed, error = run(
        "predict", corpus, "--types", "person", "--out", tmp_path / "o", *options, "--json"
    )
    assert (code, printed) == (2, "")
    assert options[0] in error
    assert not engine.entered.is_set()
    assert not (tmp_path / "o").exists()
