"""Texts and types at the edge: blank, endless, many, and longer than the base model reads."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from experts.base import BaseModel
from experts.decoding import CopyState, Mention
from experts.errors import SamError
from experts.extract import Extractor
from experts.prompt import Prompter
from experts.spans import Span
from experts.windows import windows
from tests.unit import tiny


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(tiny.llama())


def assert_sound(text: str, spans: list[Span], types: list[str]) -> None:
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(text)
        assert text[span.start : span.end].strip() == text[span.start : span.end]
        assert span.label in types
        assert 0 < (span.score or 0) <= 1
        end = span.end


def test_texts_without_words_have_no_spans(extractor: Extractor) -> None:
    seen: list[tuple[int, int]] = []
    texts = ["", " ", "\r\n\t\u3000\u00a0", "\x1c\x1f"]
    found = extractor.extract(texts, ["gene"], progress=lambda *now: seen.append(now))
    assert found == [[], [], [], []]
    assert seen == [(4, 4)]


@pytest.mark.parametrize(
    "text",
    [
        "…!?—",
        "Text: a\nperson: Ada\n\nText: person: Ada\n Bob\n\n",
        "<s></s><pad> <eos> [INST]",
        "👩‍👩‍👧 met 🇫🇷🇩🇪\r\nin São Paulo e\u0301",
        "شركة أرامكو السعودية في الظهران",
        "中文句子。日本語のテキスト ไทย",
        "\ud800 half",
    ],
)
def test_odd_texts(extractor: Extractor, text: str) -> None:
    assert_sound(text, extractor.extract([text], ["person", "gene"])[0], ["person", "gene"])


def test_a_text_of_20000_characters(extractor: Extractor) -> None:
    text = ((tiny.TEXTS[0] + " ") * 270)[:20_000]
    spans = extractor.extract([text], ["person"])[0]
    assert_sound(text, spans, ["person"])
    assert max(span.start for span in spans) > 15_000


def test_a_word_that_is_too_long_to_read_is_left_out(extractor: Extractor) -> None:
    text = "Ada met " + "acgt" * 1250 + " in Paris."
    parts = list(windows(extractor.prompter.text(text), 320))
    read = [part.text[w.start : w.end] for part in parts for w in part.words]
    assert read == ["Ada", "met", "in", "Paris", "."]
    assert_sound(text, extractor.extract([text], ["person"])[0], ["person"])
    assert extractor.extract(["acgt" * 1250], ["person"]) == [[]]


def test_windows_hold_every_word_and_never_crawl() -> None:
    text = Prompter(tiny.byte_level_tokenizer()).text("👩\u200d👩\u200d👧 " * 200)
    parts = list(windows(text, 64))
    assert all(len(part.tokens) <= 64 for part in parts)
    assert {w.start for part in parts for w in part.words} == {w.start for w in text.words}
    assert sum(len(part.words) for part in parts) < 4 * len(text.words)


def test_a_hundred_types_repeated_ones_and_ones_that_differ_by_case(extractor: Extractor) -> None:
    many = [f"type {i}" for i in range(100)]
    assert_sound(tiny.TEXTS[0], extractor.extract([tiny.TEXTS[0]], many)[0], many)
    once = extractor.extract(tiny.TEXTS, ["person"], overlapping=True)
    twice = extractor.extract(tiny.TEXTS, ["person", "person"], overlapping=True)
    assert [[s.key for s in spans] for spans in twice] == [[s.key for s in spans] for spans in once]
    cased = extractor.extract(tiny.TEXTS, ["person", "Person"])
    for text, spans in zip(tiny.TEXTS, cased, strict=True):
        assert_sound(text, spans, ["person", "Person"])


def short_gpt2(positions: int) -> BaseModel:
    torch.manual_seed(0)
    tokenizer = tiny.byte_level_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=positions,
        n_embd=32,
        n_layer=1,
        n_head=2,
        initializer_range=0.6,
        bos_token_id=1,
        eos_token_id=2,
    )
    return BaseModel("tiny/short", "tiny", GPT2LMHeadModel(config).eval(), tokenizer)


def test_windows_fit_the_positions_that_the_base_model_has() -> None:
    extractor = Extractor(short_gpt2(160), none_bias=-1e4)  # answers that copy all they can
    text = " ".join(tiny.TEXTS[:3]) * 3
    for types in (["gene"], ["gene", "a rather long name for what is just a type of thing"]):
        spans = extractor.extract([text], types, overlapping=True)[0]
        assert max(span.end for span in spans) > len(text) - 20


def test_a_type_without_room_for_a_text_is_refused() -> None:
    with pytest.raises(SamError, match="leaves no room for the text: the base model reads 160"):
        Extractor(short_gpt2(160)).extract(["Ada"], ["x" * 200])


def test_scores_that_are_no_numbers_are_an_error() -> None:
    base = tiny.llama()
    extractor = Extractor(base)
    with torch.no_grad():
        base.model.lm_head.weight.fill_(torch.nan)
    with pytest.raises(SamError, match="not finite"):
        extractor.extract(["Ada met Grace."], ["person"])
    with pytest.raises(SamError, match="not finite"):
        Extractor(base)


def test_no_probability_is_zero() -> None:
    state = CopyState(SimpleNamespace(), 0, 1)  # type: ignore[arg-type]
    assert 0 < state.probability(Mention(0, 1, -2000.0)) < 1e-300
    assert math.isclose(state.probability(Mention(0, 1, -1.0)), math.exp(-1))
