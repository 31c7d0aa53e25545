"""The span editor's scripts under node, and offsets between Python and JavaScript."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_ui.span_editor import SCRIPTS, script, span_editor
from sam_ui.span_editor.texts import TEXTS

JS = Path("tests/js")
NODE = shutil.which("node") or "node"
BATCHES, BATCH = 110, 1000

WORDS = """
Bled naïve straße İstanbul ﬁn don’t 3.14 U.S. שָׁלוֹם العَرَبِيَّة نص हिन्दी क्षि தமிழ் ภาษาไทย ລາວ
မြန်မာ ខ្មែរ 東京都 日本語 한국어 𠮷野家 𝔘𝔫𝔦 𐌲𐌿𐍄 ꓘ Ω Ελλάδα Україна
😀 👩🏽‍🚀 👨‍👩‍👧‍👦 🇸🇮 🇬🇧🇫🇷 1️⃣ ☺️ ❤️‍🔥 ( ) . , - – “ … / _
"""
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u3000", "\u2028", "\x00", "\x1f"]
HIDDEN = ["\u200b", "\u200d", "\u200f", "\ufe0f", "\ufeff", "\u00ad", "\U000e0067\U000e007f"]
MARKS = ["\u0301", "e\u0301", "Å\u0323\u0307", "\u1112\u1161\u11ab"]
PIECES = [*WORDS.split(), *SPACES, *HIDDEN, *MARKS]


class Node:
    """One process that answers batches, a line each."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [NODE, str(JS / "roundtrip.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, encoding="utf-8",
        )  # fmt: skip

    def ask(self, cases: list[tuple[str, list[tuple[int, int]]]]) -> list[dict[str, Any]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(cases) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    running = Node()
    yield running
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.process.wait(10) == 0
    running.process.stdout.close()  # type: ignore[union-attr]


def random_case(source: random.Random) -> tuple[str, list[tuple[int, int]]]:
    text = "".join(source.choices(PIECES, k=source.randint(1, 9)))
    ranges = []
    for _ in range(source.randint(1, 3)):
        start = source.randrange(len(text))
        ranges.append((start, source.randint(start + 1, len(text))))
    return text, ranges


def check(text: str, ranges: list[tuple[int, int]], found: dict[str, Any]) -> None:
    assert found["length"] == len(text)
    assert found["packed"] == [list(each) for each in ranges], text
    assert found["surfaces"] == [text[start:end] for start, end in ranges], text
    assert found["whole"], text
    for (start, end), letters, words in zip(ranges, found["letters"], found["words"], strict=True):
        for snapped in (letters, words):
            if snapped is None:
                continue
            low, high = snapped
            assert 0 <= low < high <= len(text), text
            assert low < end, text
            assert start < high, text
            # No accent loses its letter (one without a letter has none to lose).
            for edge in (low, high):
                if 0 < edge < len(text) and unicodedata.category(text[edge]) == "Mn":
                    before = unicodedata.category(text[edge - 1])
                    assert before in ("Cc", "Cf", "Zl", "Zp"), (text, edge)
        if text[start:end].strip() and letters is not None and words is not None:
            assert words[0] <= letters[0], text
            assert letters[1] <= words[1], text


@settings(max_examples=BATCHES, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_no_offset_drifts_between_python_and_javascript(node: Node, seed: int) -> None:
    """110 batches of 1,000 texts: more than 100,000 cases."""
    source = random.Random(seed)
    cases = [random_case(source) for _ in range(BATCH)]
    for (text, ranges), found in zip(cases, node.ask(cases), strict=True):
        check(text, ranges, found)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), data=st.data()
)
def test_nor_does_it_in_any_text_at_all(node: Node, text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    check(text, [(start, end)], node.ask([(text, [(start, end)])])[0])


def test_the_scripts_pass_their_own_tests() -> None:
    ran = subprocess.run([NODE, "--test", f"{JS}/"], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "# fail 0" in ran.stdout


def test_the_component_has_a_constant_template_and_all_scripts() -> None:
    editor = span_editor("editor")
    assert "$" not in editor.html_template
    assert "{" not in editor.html_template
    assert editor.js_on_load == script(*SCRIPTS)
    # What is a text comes into the page as a text.
    for forbidden in ("innerHTML", "insertAdjacentHTML", "outerHTML", "document.write"):
        assert forbidden not in script()


def test_every_text_that_the_scripts_say_exists() -> None:
    import re

    said = set(re.findall(r"\bsay\('(\w+)'", script()))
    said |= {
        key for pair in re.findall(r"\bsay\([^'()]*\? '(\w+)' : '(\w+)'", script()) for key in pair
    }
    assert said
    assert said - TEXTS.keys() == set()
    assert [
        key for key in TEXTS if f"'{key}'" not in script() and not key.startswith(("is_", "save_"))
    ] == []
