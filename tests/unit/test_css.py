"""Gradio repeats every rule for its own container, and cuts selectors at every comma to do so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SHEETS = sorted(Path("assets/css").glob("*.css"))


def selectors(css: str) -> list[str]:
    bare = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    return [part.strip() for part in re.findall(r"([^{};]+)\{", bare)]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_no_selector_has_a_comma_in_parentheses(sheet: Path) -> None:
    found = selectors(sheet.read_text("utf-8"))
    assert found
    for selector in found:
        if not selector.startswith("@"):
            depth = 0
            for char in selector:
                depth += (char == "(") - (char == ")")
                assert not (char == "," and depth), selector
