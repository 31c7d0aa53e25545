"""Names and terms that recur in texts."""

from __future__ import annotations

import time

from experts.phrases import Phrase, frequent_phrases


def texts(*sentences: str) -> list[str]:
    """With others around that have nothing to say, as in a corpus."""
    return [*sentences, *(f"it was day {n} and {'abcdefghij'[n % 10]}{n}." for n in range(30))]


def found(*sentences: str) -> list[str]:
    return [phrase.text for phrase in frequent_phrases(texts(*sentences))]


def test_names_come_first_and_whole() -> None:
    phrases = frequent_phrases(
        texts(
            "The Geological Survey of Northmark met Ada.",
            "We asked the Geological Survey of Northmark.",
            "Later the Geological Survey of Northmark and Ada agreed.",
            "Nobody saw Ada, and sediment cores were lost.",
            "Old sediment cores tell much.",
        )
    )
    assert phrases[:2] == [
        Phrase("Geological Survey of Northmark", 3, True),
        Phrase("Ada", 3, True),
    ]
    assert Phrase("sediment cores", 2, False) in phrases
    assert not {"Geological Survey", "Northmark", "Survey"} & {p.text for p in phrases}


def test_a_capital_that_only_begins_a_sentence_is_no_name() -> None:
    sentences = ("Rain fell.", "Rain came.", "We saw rain and Rain Lake.", "Rain!")
    assert found(*sentences) == ["Rain Lake"]


def test_a_part_that_stands_alone_too_is_kept() -> None:
    assert {"Lake Bled", "Bled"} <= set(
        found("At Lake Bled.", "In Lake Bled.", "In Bled.", "From Bled.", "To Bled.")
    )


def test_function_words_numbers_and_single_letters_are_no_phrases() -> None:
    assert (
        found("Of the 12 and A of II.", "Of the 12 and A of II.", "of the one", "of the one") == []
    )


def test_other_languages_and_scripts() -> None:
    assert "Deutsche Bahn" in found("Die Deutsche Bahn fuhr.", "Mit der Deutsche Bahn kam sie.")
    assert "東京大学" in found("彼は東京大学に行った。", "東京大学で学んだ。")


def test_what_occurs_once_fills_up_when_little_recurs() -> None:
    assert found("Annelie Brandt painted it with Teodor.") == ["Annelie Brandt"]
    assert frequent_phrases([]) == []


def test_a_large_corpus_is_sampled() -> None:
    sentences = [f"Ada Lovelace wrote letter {n} to Charles Babbage." for n in range(20_000)]
    began = time.process_time()
    phrases = frequent_phrases(sentences, limit=2)
    assert time.process_time() - began < 5
    assert {p.text for p in phrases} == {"Ada Lovelace", "Charles Babbage"}
    assert all(p.count == 2000 for p in phrases)
