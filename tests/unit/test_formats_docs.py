"""docs/formats.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.pages import section
from experts.export.formats import formats
from tests.docs_formats import PAGE, TABLES


@pytest.mark.parametrize("name", TABLES)
def test_the_table_is_up_to_date(name: str) -> None:
    assert section(PAGE.read_text("utf-8"), name) == TABLES[name](), "run `make readme`"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGE.read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(PAGE), "exec"), {})
    assert (tmp_path / "letter.conll").read_text("utf-8").splitlines()[2:4] == [
        "Ada -X- _ B-person",
        "met -X- _ O",
    ]
    keys = {fmt.key for fmt in formats()}
    assert set(re.findall(r"--to (\S+)", page)) <= keys
