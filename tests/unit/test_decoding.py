from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.decoding import CopyState
from experts.prompt import Prompter
from tests.unit.tiny import TEXTS, byte_level_tokenizer

PROMPTER = Prompter(byte_level_tokenizer())


def state_for(text: str) -> CopyState:
    return CopyState(PROMPTER.text(text), PROMPTER.mention_end, PROMPTER.list_end)


@given(st.one_of(st.sampled_from(TEXTS), st.text(max_size=60)), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_any_choice_gives_a_valid_answer(text: str, rng: random.Random) -> None:
    state = state_for(text)
    for _ in range(4 * len(state.text.tokens) + 4):
        if state.finished:
            break
        allowed = state.allowed()
        assert allowed
        assert len(set(allowed)) == len(allowed)
        state.push(rng.choice(allowed), -0.5)
    assert state.finished
    end = 0
    for mention in state.mentions:
        assert end <= mention.begin < mention.end
        end = mention.end
        span = state.text.span(mention.begin, mention.end, "x")
        surface = text[span.start : span.end]
        assert surface.strip() == surface != ""
        assert 0 < state.probability(mention) <= 1


def push_word(state: CopyState, index: int) -> None:
    text = state.text
    for token in text.tokens[text.first[index] : text.first[index + 1]]:
        state.push(token, -0.1)


def test_repeated_mentions_map_to_successive_occurrences() -> None:
    text = "York or York or York"
    state = state_for(text)
    for index in (0, 2):
        push_word(state, index)
        state.push(PROMPTER.mention_end, 0.0)
    spans = [state.text.span(m.begin, m.end, "x") for m in state.mentions]
    assert [(s.start, s.end) for s in spans] == [(0, 4), (8, 12)]


def test_a_shared_beginning_is_resolved_by_what_follows() -> None:
    text = "in New York and New Zealand"
    state = state_for(text)
    push_word(state, 4)
    push_word(state, 5)
    state.push(PROMPTER.mention_end, 0.0)
    span = state.text.span(state.mentions[0].begin, state.mentions[0].end, "x")
    assert text[span.start : span.end] == "New Zealand"


def test_probability_is_the_product_of_the_decisions() -> None:
    state = state_for("York")
    push_word(state, 0)
    steps = len(state.text.tokens)
    state.push(PROMPTER.mention_end, -0.2)
    assert math.isclose(state.probability(state.mentions[0]), math.exp(-0.1 * steps - 0.2))


def test_a_mention_cannot_end_inside_a_word() -> None:
    state = state_for("Zealandic")
    assert len(state.text.tokens) > 1
    state.push(state.text.tokens[0], 0.0)
    assert PROMPTER.mention_end not in state.allowed()
    with pytest.raises(ValueError, match="inside a word"):
        state.push(PROMPTER.mention_end, 0.0)


def test_tokens_of_no_word_are_refused() -> None:
    state = state_for("York")
    with pytest.raises(ValueError, match="not allowed"):
        state.push(max(state.text.tokens) + 1, 0.0)


def test_forced_tokens_need_no_decision() -> None:
    state = state_for("Zealandic")
    state.push(state.text.tokens[0], -1.0)
    forced = state.forced()
    rest = [*state.text.tokens[1:], PROMPTER.mention_end, PROMPTER.list_end]
    assert forced == rest
    assert state.finished
