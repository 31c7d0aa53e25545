from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.prompt import Prompter, split_words
from experts.spans import Span
from tests.unit.tiny import TEXTS, byte_level_tokenizer, sentencepiece_tokenizer

TOKENIZERS = {"byte-level": byte_level_tokenizer, "sentencepiece": sentencepiece_tokenizer}


@given(st.text(max_size=80))
def test_words_cover_everything_but_white_space(text: str) -> None:
    words = split_words(text)
    covered = set()
    for word in words:
        assert word.start < word.end
        assert covered.isdisjoint(range(word.start, word.end))
        covered.update(range(word.start, word.end))
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)
    assert words == sorted(words, key=lambda w: w.start)


def test_words_of_several_scripts() -> None:
    text = "Don't 12mg 中文 👩\u200d👩\u200d👧 e\u0301t"
    found = [text[w.start : w.end] for w in split_words(text)]
    assert found == ["Don", "'", "t", "12", "mg", "中", "文", "👩\u200d👩\u200d👧", "e\u0301t"]


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.one_of(st.sampled_from(TEXTS), st.text(max_size=60)))
@settings(max_examples=60, deadline=None)
def test_every_token_belongs_to_one_word(kind: str, text: str) -> None:
    prompter = Prompter(TOKENIZERS[kind]())
    tokens = prompter.text(text)
    assert len(tokens.tokens) == len(tokens.word_of)
    assert len(tokens.first) == len(tokens.words) + 1
    for i in range(len(tokens.words)):
        assert tokens.first[i] < tokens.first[i + 1]
        assert set(tokens.word_of[tokens.first[i] : tokens.first[i + 1]]) == {i}
    assert prompter.mention_end not in tokens.tokens
    assert prompter.list_end not in tokens.tokens


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_words_keep_no_invented_space(kind: str) -> None:
    prompter = Prompter(TOKENIZERS[kind]())
    tokens = prompter.text("joint list (SDI)")
    decoded = prompter.tokenizer.decode(list(tokens.tokens)).strip()
    assert decoded == "joint list (SDI)"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_end_tokens_differ(kind: str) -> None:
    prompter = Prompter(TOKENIZERS[kind]())
    assert prompter.mention_end != prompter.list_end


def test_answer_copies_the_texts_tokens() -> None:
    prompter = Prompter(byte_level_tokenizer())
    text = prompter.text("New York and York.")
    answer = prompter.answer(text, [Span(0, 8, "place"), Span(13, 17, "place")])
    new_york = list(text.tokens[: text.first[2]])
    york = list(text.tokens[text.first[3] : text.first[4]])
    end = prompter.mention_end
    assert answer == [*new_york, end, *york, end, prompter.list_end]
    assert prompter.answer(text, []) == [prompter.list_end]


def test_answer_leaves_out_what_overlaps() -> None:
    prompter = Prompter(byte_level_tokenizer())
    text = prompter.text("New York and York.")
    nested = [Span(0, 8, "place"), Span(4, 8, "place")]
    assert prompter.answer(text, nested) == prompter.answer(text, nested[:1])


def test_slices_keep_offsets_of_the_whole_text() -> None:
    prompter = Prompter(byte_level_tokenizer())
    text = prompter.text("New York and Old York.")
    part = text.slice(3, 5)
    span = part.span(0, len(part.tokens), "place")
    assert text.text[span.start : span.end] == "Old York"
