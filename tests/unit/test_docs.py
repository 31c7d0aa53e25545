"""docs/merging.md says what the code does."""

from __future__ import annotations

import re

import pytest

from benchmarks.pages import section
from tests.docs_tables import PAGE, TABLES
from tests.unit.laws import LAWS
from tests.unit.test_merging_laws import EXCEPTIONS, METHODS


@pytest.mark.parametrize("name", TABLES)
def test_generated_tables_are_up_to_date(name: str) -> None:
    written = section(PAGE.read_text("utf-8"), name)
    assert written == TABLES[name](), "run `python -m tests.docs_tables`"


def cells(name: str) -> dict[str, list[str]]:
    rows = section(PAGE.read_text("utf-8"), name).splitlines()[2:]
    split = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {row[0].strip("`"): row[1:] for row in split}


def test_the_measured_laws_of_our_methods_are_those_that_the_tests_hold_them_to() -> None:
    measured = cells("sam-laws")
    assert set(measured) == set(METHODS), "run `python -m benchmarks.peft_laws --docs …`"
    for method, row in measured.items():
        for law, cell in zip(LAWS, row, strict=True):
            assert (cell == "holds") == ((method, law.key) not in EXCEPTIONS), (method, law.key)


def test_the_table_of_peft_is_filled() -> None:
    measured = cells("peft-laws")
    assert len(measured) == 11
    assert measured["cat"].count("holds") > measured["linear"].count("holds")
    allowed = re.compile(r"holds|refused|×-?\d+\.\d\d|off by [\d.]+(e-\d+)? %")
    assert all(allowed.fullmatch(cell) for row in measured.values() for cell in row)
