"""Entity types as people type them."""

from __future__ import annotations

import pytest

from experts.entity_types import EntityType, check_types, parse_types
from experts.errors import SamError


def names(text: str, *, lines: bool = True) -> list[str]:
    return [t.name for t in parse_types(text, lines=lines)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("person, place", ["person", "place"]),
        (" person ,political party,, Person ", ["person", "political party"]),
        ("person\nplace; date\r\n\r\n", ["person", "place", "date"]),
        ("人物、地点，日期", ["人物", "地点", "日期"]),
    ],
)
def test_types_are_parsed(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_types_have_definitions() -> None:
    assert parse_types("lake: standing water, salt or fresh\nmineral\nMineral: a crystal") == [
        EntityType("lake", "standing water, salt or fresh"),
        EntityType("mineral", "a crystal"),
    ]
    assert parse_types("a, b: second, c", lines=False) == [
        EntityType("a"),
        EntityType("b", "second"),
        EntityType("c"),
    ]


@pytest.mark.parametrize("text", ["", " ", ",", "\n;\n"])
def test_no_types_are_refused(text: str) -> None:
    with pytest.raises(SamError, match="No entity types") as caught:
        parse_types(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given_names", "message"),
    [
        ([], "No entity types"),
        (["person", ""], "has no name"),
        ([" "], "has no name"),
        (["political\nparty"], "“political party” has a line break"),
        (["political\u2028party"], "has a line break"),
        (["person\n"], "has a line break"),
        (["political\tparty"], "has a tab or another control character"),
        (["bell\x07"], "control character"),
        (["half \ud83d"], "control character"),
        (["x" * 201], "is 201 characters long"),
        ([f"type {i}" for i in range(101)], "101 entity types are more"),
    ],
)
def test_types_that_cannot_be_asked_for(given_names: list[str], message: str) -> None:
    with pytest.raises(SamError, match=message) as caught:
        check_types(given_names)
    assert caught.value.hint.endswith(".")
    caught.value.what.encode()  # can be printed


def test_check_types_keeps_the_first_of_equals() -> None:
    assert check_types([" Person", "place", "PERSON", "straße", "STRASSE"]) == [
        "Person",
        "place",
        "straße",
    ]


def test_a_line_break_in_a_command_line_option_is_refused() -> None:
    assert names(" a, b\n", lines=False) == ["a", "b"]
    with pytest.raises(SamError, match="has a line break"):
        parse_types("political\nparty, person", lines=False)
    with pytest.raises(SamError, match="has no name"):
        parse_types(": a definition of nothing", lines=False)
