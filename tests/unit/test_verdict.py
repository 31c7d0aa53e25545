"""Which of several types a mention has."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experts.base import BaseModel
from experts.extract import Extractor
from experts.head import CandidateHead
from experts.prompt import Prompter
from experts.spans import Span
from experts.verdict import TypeNames, contested, settle
from tests.unit import tiny

NAMES = ["political party", "politician", "person", "political party member", "gene"]


def test_the_probabilities_of_all_types_sum_to_one() -> None:
    base = tiny.llama()
    prompter = Prompter(base.tokenizer)
    names = TypeNames(prompter, NAMES)
    paths = names.paths(NAMES)
    assert paths == list(names.nodes)
    assert () in paths
    hidden = torch.randn(len(paths), 32, generator=torch.Generator().manual_seed(0))
    said = names.log_probabilities(CandidateHead(base.model), hidden, paths)
    answers = dict(zip(paths, said, strict=True))
    total = sum(math.exp(names.score(name, answers)) for name in NAMES)
    assert math.isclose(total, 1.0, rel_tol=1e-5)


def test_only_the_nodes_on_the_way_are_asked() -> None:
    names = TypeNames(Prompter(tiny.byte_level_tokenizer()), NAMES)
    few, many = names.paths(["gene"]), names.paths(["political party", "political party member"])
    assert few == [()]
    assert len(few) < len(many) < len(names.nodes) + 1
    assert TypeNames(Prompter(tiny.byte_level_tokenizer()), ["gene", "gene"]).nodes == {}


def plain_verdict(base: BaseModel, text: str, span: Span, types: list[str]) -> float:
    """The same question, asked with a full forward pass for every token."""
    prompter = Prompter(base.tokenizer)
    tokens = prompter.text(text)
    inside = [t for t, w in zip(tokens.tokens, tokens.word_of, strict=True)
              if span.start <= tokens.words[w].start < span.end]  # fmt: skip

    def score(ids: list[int]) -> float:
        names = {n: [*prompter.phrase(f" {n}"), prompter.mention_end] for n in types}
        mine, total = names[span.label], 0.0
        for i, token in enumerate(mine):
            after = sorted({n[i] for n in names.values() if n[:i] == mine[:i]})
            with torch.inference_mode():
                logits = base.model(torch.tensor([[*ids, *mine[:i]]])).logits[0, -1]
            total += float(logits[after].float().log_softmax(-1)[after.index(token)])
        return total

    ask = prompter.phrase(" is a")
    said = score([*prompter.prefix(tokens), *inside, *ask])
    nothing = score([*prompter.prefix(prompter.text("")), *prompter.phrase(" It"), *ask])
    return said - 0.5 * nothing


@pytest.mark.parametrize("make", [tiny.gemma, tiny.llama, tiny.gpt2])
def test_the_extractor_settles_as_plain_questions_do(make: type) -> None:
    base = make()
    types = ["political party", "person", "politician"]
    extractor = Extractor(base)
    settled = 0
    for text in tiny.TEXTS[:4]:
        raw = extractor.extract([text], types, overlapping=True)[0]
        verdicts = {s.key: plain_verdict(base, text, s, types) for s in raw
                    if any(s.overlaps(o) and s.label != o.label for o in raw)}  # fmt: skip
        settled += len(verdicts)
        mine = extractor.extract([text], types)[0]
        expected = settle(raw, verdicts)
        assert [s.key for s in mine] == [s.key for s in expected]
        assert [s.score for s in mine] == pytest.approx([s.score for s in expected], rel=2e-2)
    assert settled > 0


def test_a_text_that_is_read_row_by_row_gets_the_same_verdicts() -> None:
    base = tiny.llama()
    packed, plain = Extractor(base), Extractor(base)
    plain.packed = False
    types = ["political party", "person", "politician"]
    assert [[s.key for s in spans] for spans in packed.extract(tiny.TEXTS, types)] == [
        [s.key for s in spans] for spans in plain.extract(tiny.TEXTS, types)
    ]


def test_contested_mentions_are_those_that_overlap_another_type() -> None:
    claims = {"a": [(0, 2), (5, 6)], "b": [(0, 2), (1, 3)], "c": [(8, 9)]}
    cases = {(c.begin, c.end): c.types for c in contested(claims)}
    assert cases == {(0, 2): ("a", "b"), (1, 3): ("b",)}
    assert contested({"a": [(0, 2), (1, 3)]}) == []
    assert contested({}) == []


def test_the_longest_stays_then_the_likeliest() -> None:
    a, b, c = Span(0, 3, "a", 0.5), Span(0, 3, "b", 0.9), Span(0, 8, "c", 0.1)
    assert [s.label for s in settle([a, b], {})] == ["b"]
    assert [s.label for s in settle([a, b], {a.key: -0.1, b.key: -2.0})] == ["a"]
    assert [s.label for s in settle([a, b, c], {})] == ["c"]
    alone = Span(20, 22, "a", 0.4)
    assert settle([a, alone], {})[1] is alone


SPANS = st.lists(
    st.builds(
        lambda start, length, label, score: Span(start, start + length, label, score),
        st.integers(0, 20), st.integers(1, 5), st.sampled_from("abc"), st.floats(0, 1),
    ),
    max_size=12, unique_by=lambda s: s.key,
)  # fmt: skip


@given(spans=SPANS, seed=st.integers(0, 99))
def test_what_is_settled_does_not_overlap_and_nothing_without_rivals_is_lost(
    spans: list[Span], seed: int
) -> None:
    verdicts = {s.key: -float((seed * (i + 1)) % 7) for i, s in enumerate(spans)}
    kept = settle(spans, verdicts)
    assert kept == sorted(kept)
    assert all(a.end <= b.start for a, b in itertools.pairwise(kept))
    by_key = {s.key: s for s in spans}
    for span in kept:
        assert 0 <= (span.score or 0) <= (by_key[span.key].score or 0) + 1e-12
    for span in spans:
        if not any(span.overlaps(o) for o in spans if o is not span):
            assert span in kept
