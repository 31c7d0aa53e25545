"""`benchmarks.interface` runs from beginning to end, on little data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.interface import Figure, table

pytestmark = [pytest.mark.ui, pytest.mark.browser]


@pytest.mark.timeout(900)
def test_a_quick_run_measures_everything(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- interface:start -->\n<!-- interface:end -->\n", "utf-8")
    told = tmp_path / "found.json"
    # In a process of its own, as it starts a browser of its own.
    command = [sys.executable, "-m", "benchmarks.interface", "--quick"]
    command += ["--json", str(told), "--docs", str(page)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(told.read_text("utf-8"))
    figures = {figure["name"]: figure for figure in found["figures"]}
    assert found["quick"]
    assert figures["the same: failed or foreign"]["value"] == 0
    assert figures["3 sessions matching at once: all done"]["note"].startswith("3 finished, 0 saw")
    for step in ("start", "upload", "match", "merge", "review", "share"):
        assert 0 < figures[f"120 sentences, 8 experts: {step} opened"]["value"] < 600
    # Steadiness does not depend on how busy the machine is.
    moved = {name: f["value"] for name, f in figures.items() if name.startswith("layout shift")}
    assert len(moved) == 6
    assert {name: value for name, value in moved.items() if value > 0.1} == {}
    assert "| slider released: preview shown |" in page.read_text("utf-8")


def test_a_missed_target_stands_out() -> None:
    rows = table([Figure("a", 2.0, "s", 1.5), Figure("b", 1.0, "s", 1.5, "note")]).splitlines()
    assert rows[2:] == ["| a | **2 s** | ≤ 1.5 s |  |", "| b | 1 s | ≤ 1.5 s | note |"]
