"""The grammar admits the valid answers and no others, and any reply is read as a valid one."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.decoding import CopyState
from experts.engines.answers import Piece, probability, read_answer
from experts.engines.grammar import text_grammar, token_grammar
from experts.prompt import Prompter
from tests.unit import tiny
from tests.unit.ebnf import Grammar

BYTES = Prompter(tiny.byte_level_tokenizer())
SENTENCEPIECE = Prompter(tiny.sentencepiece_tokenizer())
PROMPTERS = {"bytes": BYTES, "sentencepiece": SENTENCEPIECE}
AWKWARD = ["", "a", "a a a", "a a b a", "aa-aa", 'x"\\x', "é中文é", "New York York"]


def answers(text: str, prompter: Prompter) -> set[tuple[int, ...]]:
    """All that `CopyState` allows."""
    found: set[tuple[int, ...]] = set()
    waiting = [((), CopyState(prompter.text(text), prompter.mention_end, prompter.list_end))]
    while waiting:
        said, state = waiting.pop()
        for token in state.allowed():
            following = copy.deepcopy(state)
            following.push(token, 0.0)
            if following.finished:
                found.add((*said, token))
            else:
                waiting.append(((*said, token), following))
    return found


@pytest.mark.parametrize("kind", PROMPTERS)
@given(
    st.one_of(
        st.sampled_from(AWKWARD), st.text("ab ", max_size=6), st.text(max_size=3).map(str.strip)
    )
)
@settings(max_examples=40, deadline=None)
def test_the_grammar_over_tokens_admits_just_what_the_automaton_does(kind: str, text: str) -> None:
    prompter = PROMPTERS[kind]
    tokens = prompter.text(text)
    grammar = Grammar(token_grammar(tokens, prompter.mention_end, prompter.list_end))
    assert grammar.sentences() == answers(text, prompter)


@given(st.one_of(st.sampled_from(AWKWARD), st.text("ab ", max_size=6)))
@settings(max_examples=40, deadline=None)
def test_the_grammar_over_characters_admits_just_the_same_answers_as_text(text: str) -> None:
    grammar = Grammar(text_grammar(BYTES.text(text), "\n", "\n\n"))
    said = {b"".join(parts).decode() for parts in grammar.sentences()}
    assert said == {BYTES.tokenizer.decode(list(ids)) for ids in answers(text, BYTES)}


def test_an_end_that_no_grammar_names_is_left_out() -> None:
    text = BYTES.text("a b")
    grammar = Grammar(token_grammar(text, BYTES.mention_end, None))
    assert {(*said, BYTES.list_end) for said in grammar.sentences()} == answers("a b", BYTES)


def test_the_grammar_grows_with_the_words_only() -> None:
    for words in (10, 20, 40):
        text = BYTES.text("word " * words)
        for grammar in (token_grammar(text, 1, 2), text_grammar(text, "\n", "\n\n")):
            assert grammar.count("\n") == 2 * words + 2
            assert len(grammar) < 100 * words


def said(text: str, ids: list[int], values: list[float] | None = None) -> list[tuple[str, float]]:
    pieces: list[Piece] = list(zip(ids, values or [-0.5] * len(ids), strict=True))
    tokens = BYTES.text(text)
    return [
        (text[s.start : s.end], s.score or 0.0)
        for m in read_answer(tokens, pieces, BYTES)
        for s in [tokens.span(m.begin, m.end, "x", probability(m))]
    ]


def encode(text: str) -> list[int]:
    return BYTES.tokenizer.encode(text, add_special_tokens=False)


def test_a_reply_in_our_tokens_has_the_probability_of_its_decisions() -> None:
    tokens = BYTES.text("Greens and SDI")
    first = tokens.tokens[: tokens.first[1]]
    reply = [*first, BYTES.mention_end, BYTES.list_end]
    values = [-0.25, *[-9.0] * (len(first) - 1), -0.5, -0.125]
    # Within the word there is no choice; the end of the list is no part of the mention.
    assert said("Greens and SDI", reply, values) == [("Greens", pytest.approx(math.exp(-0.75)))]


def test_other_tokens_of_the_same_text_are_read_as_lines() -> None:
    text = "York, New York (NY) York"
    assert [s for s, _ in said(text, encode(" York\n New York\n York\n\n"))] == [
        "York",
        "New York",
        "York",
    ]
    letters = [i for c in " New York\n\n" for i in encode(c)]
    found = said("in New York", letters, [-0.1] * len(letters))
    assert found == [("New York", pytest.approx(math.exp(-0.1 * 10)))]


def test_what_is_no_answer_is_cut_where_it_begins() -> None:
    text = "The Greens and the SDI"
    for reply, expected in [
        (" Greens\n Blues\n SDI\n\n", ["Greens"]),
        (" SDI\n Greens\n\n", ["SDI"]),
        (" Greens\n SD\n\n", ["Greens"]),
        (" Greens\n the SDI", ["Greens"]),
        (" Greens\n\n SDI\n\n", ["Greens"]),
        ("\n\n Greens\n\n", []),
        ("There are none.\n\n", []),
        ("", []),
    ]:
        assert [s for s, _ in said(text, encode(reply))] == expected, reply
        by_text = read_answer(BYTES.text(text), [(c, -0.1) for c in reply], BYTES)
        assert len(by_text) == len(expected), reply


PIECES = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, len(BYTES.tokenizer) - 1),
            st.sampled_from(sorted({*BYTES.text("a b a c").tokens, *encode("\n a\n\n")})),
            st.text("ab c\n", max_size=5),
            st.text(max_size=5),
        ),
        st.one_of(st.floats(), st.floats(-3, 0)),
    ),
    max_size=12,
)


@given(st.one_of(st.just("a b a c"), st.sampled_from(tiny.TEXTS), st.text(max_size=30)), PIECES)
@settings(max_examples=300, deadline=None)
def test_any_reply_is_read_as_valid_mentions(text: str, pieces: list[Piece]) -> None:
    tokens = BYTES.text(text)
    end = 0
    for mention in read_answer(tokens, pieces, BYTES):
        assert end <= mention.begin < mention.end <= len(tokens.tokens)
        assert {mention.begin, mention.end} <= set(tokens.first)
        assert 0 < probability(mention) <= 1
        end = mention.end
