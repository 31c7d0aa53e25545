"""Our own sample texts: offsets, coverage, and the same sentences in both files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from experts.corpus import read_corpus, read_examples

SAMPLES = Path(__file__).parents[2] / "assets" / "samples"
TYPES = {
    "lake_sediments": {
        *("lake", "mineral", "dating method", "organism", "time period", "research institute"),
    },
    "museum_catalogue": {"artist", "artwork", "material", "museum", "date", "place"},
}


def test_every_sample_is_known() -> None:
    assert {path.stem for path in SAMPLES.glob("*.jsonl")} == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_sample(name: str) -> None:
    examples = read_examples(SAMPLES / f"{name}.jsonl")
    assert 30 <= len(examples) <= 40
    counts = Counter(span.label for example in examples for span in example.spans)
    assert set(counts) == TYPES[name]
    assert min(counts.values()) >= 5
    for example in examples:
        end = 0
        for span in example.spans:
            assert span.start >= end, f"overlap in {example.text}"
            end = span.end
            surface = example.text[span.start : span.end]
            assert surface == surface.strip()
            around = f" {example.text} "[span.start], f" {example.text} "[span.end + 1]
            assert not any(char.isalnum() for char in around), f"{surface!r} cuts a word"


@pytest.mark.parametrize("name", TYPES)
def test_sentence_splitting_finds_the_sample_sentences(name: str) -> None:
    texts = [example.text for example in read_examples(SAMPLES / f"{name}.jsonl")]
    plain = read_corpus([SAMPLES / f"{name}.txt"])
    assert [s.text for s in plain.sentences] == texts
    assert plain.reports[0].duplicates == 0
    joined = read_corpus([SAMPLES / f"{name}.jsonl"])
    assert [s.text for s in joined.sentences] == texts


@pytest.mark.parametrize("name", TYPES)
def test_sentence_splitting_finds_them_in_running_text(name: str, tmp_path: Path) -> None:
    texts = [example.text for example in read_examples(SAMPLES / f"{name}.jsonl")]
    path = tmp_path / "running.txt"
    path.write_text(" ".join(texts), encoding="utf-8")
    assert [s.text for s in read_corpus([path]).sentences] == texts


def test_same_surface_has_the_same_type() -> None:
    for name in TYPES:
        seen: dict[str, str] = {}
        for example in read_examples(SAMPLES / f"{name}.jsonl"):
            for span in example.spans:
                surface = example.text[span.start : span.end]
                assert seen.setdefault(surface, span.label) == span.label
