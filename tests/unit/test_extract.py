"""The batched extractor against a plain one that recomputes everything, and for any text."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.base import BaseModel
from experts.decoding import CopyState
from experts.errors import Cancelled, SamError
from experts.extract import Extractor
from experts.merging.adapters import Adapter, LoraFactors
from experts.prompt import Prompter, split_words
from experts.spans import Span
from tests.unit import tiny

TYPES = ["political party", "gene", "person"]
BASES = {
    "gemma": tiny.gemma,
    "llama": tiny.llama,
    "llama-sentencepiece": lambda: tiny.llama(sentencepiece=True),
    "gpt2": tiny.gpt2,
}


def plain_answer(base: BaseModel, text: str, entity_type: str) -> list[Span]:
    """One type of one text, every token a full forward pass."""
    prompter = Prompter(base.tokenizer)
    tokens = prompter.text(text)
    state = CopyState(tokens, prompter.mention_end, prompter.list_end)
    ids = [*prompter.prefix(tokens), *prompter.query(entity_type)]
    with torch.inference_mode():
        while not state.finished:
            logits = base.model(torch.tensor([ids])).logits[0, -1]
            allowed = state.allowed()
            scores = logits[allowed].float().log_softmax(-1)
            best = max(range(len(allowed)), key=lambda i: (float(scores[i]), -allowed[i]))
            state.push(allowed[best], float(scores[best]))
            ids.append(allowed[best])
    return [tokens.span(m.begin, m.end, entity_type, state.probability(m)) for m in state.mentions]


@pytest.mark.parametrize("kind", BASES)
def test_batched_decoding_equals_plain_decoding(kind: str) -> None:
    base = BASES[kind]()
    found = Extractor(base).extract(tiny.TEXTS, TYPES, overlapping=True)
    compared = 0
    for text, spans in zip(tiny.TEXTS, found, strict=True):
        for entity_type in TYPES:
            expected = plain_answer(base, text, entity_type)
            mine = [span for span in spans if span.label == entity_type]
            assert [s.key for s in mine] == [s.key for s in expected]
            for a, b in zip(mine, expected, strict=True):
                assert math.isclose(a.score or 0, b.score or 0, rel_tol=1e-3)
                compared += 1
    assert compared > 0


def test_soft_capped_logits_are_capped() -> None:
    base = tiny.gemma(final_logit_softcapping=2.0)
    found = Extractor(base).extract(tiny.TEXTS[:2], TYPES, overlapping=True)
    expected = [s for t in tiny.TEXTS[:2] for e in TYPES for s in plain_answer(base, t, e)]
    mine = sorted((s for spans in found for s in spans), key=lambda s: (s.label, s.start))
    assert sorted(s.key for s in mine) == sorted(s.key for s in expected)


EXTRACTORS = {kind: Extractor(make()) for kind, make in BASES.items()}


@pytest.mark.parametrize("kind", BASES)
@given(texts=st.lists(st.text(max_size=50), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_every_output_is_valid(kind: str, texts: list[str]) -> None:
    found = EXTRACTORS[kind].extract(texts, TYPES)
    assert len(found) == len(texts)
    for text, spans in zip(texts, found, strict=True):
        starts = {word.start for word in split_words(text)}
        ends = {word.end for word in split_words(text)}
        previous = 0
        for span in spans:
            assert span.label in TYPES
            assert span.start in starts
            assert span.end in ends
            assert previous <= span.start < span.end <= len(text)
            assert 0 <= (span.score or 0) <= 1
            previous = span.end


def test_long_texts_are_read_in_windows_with_offsets_of_the_whole() -> None:
    text = " ".join(f"{word}{i}" for i, word in enumerate(tiny.TEXTS[0].split() * 40))
    found = Extractor(tiny.llama()).extract([text], TYPES)[0]
    assert found
    assert max(span.start for span in found) > 600
    assert all(text[s.start : s.end].strip() == text[s.start : s.end] for s in found)


def test_threshold_and_none_bias_leave_out_the_doubtful() -> None:
    base = tiny.llama()
    everything = Extractor(base).extract(tiny.TEXTS, TYPES, overlapping=True)
    likely = Extractor(base).extract(tiny.TEXTS, TYPES, overlapping=True, threshold=0.2)
    biased = Extractor(base, none_bias=1e4).extract(tiny.TEXTS, TYPES)
    assert sum(map(len, everything)) > sum(map(len, likely))
    assert all((s.score or 0) >= 0.2 for spans in likely for s in spans)
    assert not any(biased)


def random_adapter(base: BaseModel, seed: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for name, module in base.model.named_modules():
        if name.endswith(("q_proj", "down_proj")):
            out, into = module.weight.shape
            a = torch.randn(4, into, generator=generator)
            modules[name] = LoraFactors(a, torch.randn(out, 4, generator=generator), 0.5)
    return Adapter("random", base.name, modules)


def test_an_adapter_changes_the_answers_and_leaves_no_trace() -> None:
    base = tiny.gemma()
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    plain = Extractor(base).extract(tiny.TEXTS, TYPES)
    adapted = Extractor(base).extract(tiny.TEXTS, TYPES, adapter=random_adapter(base, 1))
    assert adapted != plain
    assert all(torch.equal(before[n], p) for n, p in base.model.named_parameters())
    assert Extractor(base).extract(tiny.TEXTS, TYPES) == plain


def test_an_adapter_of_another_model_is_refused() -> None:
    adapter = random_adapter(tiny.gemma(), 0)
    with pytest.raises(SamError, match="which the base model does not have"):
        Extractor(tiny.gpt2()).extract(["a b"], TYPES, adapter=adapter)
    narrow = Adapter("narrow", "x", {"model.layers.0.self_attn.q_proj": LoraFactors(
        torch.zeros(2, 16), torch.zeros(32, 2), 1.0)})  # fmt: skip
    with pytest.raises(SamError, match="32×16, the base model's has 32×32"):
        Extractor(tiny.gemma()).extract(["a b"], TYPES, adapter=narrow)


def test_no_types_and_cancelling() -> None:
    extractor = Extractor(tiny.llama())
    with pytest.raises(SamError, match="No entity types"):
        extractor.extract(["a"], [])
    with pytest.raises(Cancelled):
        extractor.extract(["a"], TYPES, cancelled=lambda: True)


def test_progress_reaches_the_number_of_texts() -> None:
    seen: list[tuple[int, int]] = []
    Extractor(tiny.llama()).extract(
        tiny.TEXTS, TYPES, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (len(tiny.TEXTS), len(tiny.TEXTS))
