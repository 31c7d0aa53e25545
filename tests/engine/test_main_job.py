"""Select, merge, extract on our own sample texts, with everything real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experts.corpus import read_examples
from experts.evaluate import evaluate
from experts.spans import Example
from sam_ui.services.engine import Engine
from sam_ui.services.recipes import make_recipes
from tests.engine.test_experts import assert_valid, labels


@pytest.mark.parametrize("name", ["lake_sediments", "museum_catalogue"])
def test_match_merge_predict(
    engine: Engine, samples: dict[str, list[Example]], tmp_path: Path, name: str
) -> None:
    examples = samples[name]
    texts, types = [e.text for e in examples], labels(examples)
    result = engine.match(texts, types, samples=6, k=2)
    assert len(result.experts) >= 6
    assert sum(result.single.values()) == pytest.approx(1)
    assert set(result.by_similarity) <= set(result.single)
    for answers in result.answers.values():
        assert_valid([texts[i] for i in result.probe], types, answers)
    recipe = make_recipes(result.single, base_model="google/gemma-3-270m")[0]
    merged = engine.merge([recipe], [tmp_path / "merged"])[0]
    assert merged.retained_energy > 0.999
    found = engine.predict(texts, types, [merged.path])
    assert_valid(texts, types, found)
    gold = [e.spans for e in examples]
    assert (
        evaluate(gold, found).micro.f1
        > evaluate(gold, engine.predict(texts, types, [None])).micro.f1
    )


def test_corrected_sentences_are_what_the_probe_is_scored_against(
    engine: Engine, samples: dict[str, list[Example]]
) -> None:
    examples = samples["museum_catalogue"][:12]
    texts, types = [e.text for e in examples], labels(examples)
    result = engine.match(texts, types, samples=6, gold=[e.spans for e in examples])
    support = sum(len(examples[i].spans) for i in result.probe)
    assert {expert.support for expert in result.experts} == {support}


def test_predict_auto_on_the_command_line(
    tmp_path: Path, samples: dict[str, list[Example]]
) -> None:
    examples = samples["lake_sediments"][:8]
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "pred.jsonl"
    records = [{"text": e.text} for e in examples]
    records[2] = {"text": ""}
    records[3] = records[0]
    corpus.write_text("\n".join(json.dumps(r) for r in records), "utf-8")
    types = labels(examples)
    done = subprocess.run(
        [sys.executable, "-m", "sam_ui.cli", "predict", str(corpus), "--types", ", ".join(types),
         "--auto", "--samples", "3", "--k", "1", "--out", str(out), "--json"],
        check=False, capture_output=True, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["texts"] == len(records)
    assert sum(document["weights"].values()) == pytest.approx(1)
    written = read_examples(out)
    assert [e.text for e in written] == [r["text"] for r in records]
    assert written[3].spans == written[0].spans
    assert written[2].spans == ()
    assert {s.label for e in written for s in e.spans} <= set(types)
