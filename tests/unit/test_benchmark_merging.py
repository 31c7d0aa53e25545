"""What the benchmark of merges says of its rows, on a model small enough to check densely."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import merging, merging_rivals, merging_shapes
from benchmarks.merging_shapes import EXPERTS, RANK, errors, random_experts, svd_work
from experts.merging.adapters import LoraFactors
from tests.docs_tables import costs_table

TINY = {
    "self_attn.q_proj": (104, 96),
    "self_attn.k_proj": (96, 96),
    "mlp.up_proj": (128, 96),
    "mlp.down_proj": (96, 128),
}
LAYERS = 4


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(merging_shapes.SHAPES, "tiny", TINY)
    monkeypatch.setitem(merging_shapes.LAYERS, "tiny", LAYERS)
    monkeypatch.setitem(merging_rivals.KNOTS_MODULES, "tiny", ("k_proj",))


def test_errors_are_those_of_the_dense_matrices() -> None:
    experts = random_experts("tiny", 1)
    name = next(iter(experts[0].modules))
    exact = sum((e.modules[name].delta().double() / EXPERTS for e in experts), torch.zeros(()))
    found = LoraFactors(experts[0].modules[name].a, experts[1].modules[name].b, 0.5)
    wrong = float((found.delta().double() - exact).norm())
    relative, over = errors(experts, {name: found})
    assert relative == pytest.approx(wrong / float(exact.norm()), rel=1e-5)
    least = float(torch.linalg.svdvals(exact)[RANK:].norm())
    assert over == pytest.approx(wrong / least, rel=1e-5)


def test_the_ways_of_peft_are_run_and_told_apart() -> None:
    rows = {kind: merging_rivals.peft_way(kind, "tiny", 2, "cpu") for kind in ("svd", "linear")}
    assert rows["svd"]["over_optimum"] == pytest.approx(1, abs=1e-4)
    assert rows["linear"]["over_optimum"] > 1.1
    assert rows["svd"]["run_on"] == "8 of 16 modules, scaled"
    assert rows["svd"]["seconds"] == pytest.approx(2 * rows["svd"]["seconds_run"])
    whole = merging_rivals.peft_way("cat", "tiny", LAYERS, "cpu")
    assert (whole["rank"], whole["over_optimum"], whole["run_on"]) == (EXPERTS * RANK, None, "all")
    assert whole["error"] < 1e-5
    assert "error" not in merging_rivals.peft_way("ties_svd", "tiny", 1, "cpu")


def test_ours_is_the_best_of_its_rank() -> None:
    best = merging.ours(f"linear@{RANK}", "tiny", LAYERS, "cpu", 1)
    assert best["over_optimum"] == pytest.approx(1, abs=1e-3)
    assert best["run_on"] == "all"
    assert merging.ours("linear@all", "tiny", LAYERS, "cpu", 1)["error"] < 1e-5
    assert merging.ours(f"files@{RANK}", "tiny", LAYERS, "cpu", 1)["rank"] == RANK
    part = merging.ours(f"linear@{RANK}", "tiny", 1, "cpu", 1)
    assert part["seconds"] == pytest.approx(LAYERS * part["seconds_run"])


def test_what_is_run_on_some_modules_is_scaled_by_their_operations() -> None:
    row = merging_rivals.knots("tiny", "cpu")
    work = {n: svd_work(o, EXPERTS * i, full=False) for n, (o, i) in TINY.items()}
    factor = LAYERS * sum(work.values()) / work["self_attn.k_proj"]
    assert row["seconds"] == pytest.approx(row["seconds_run"] * factor)
    assert row["run_on"] == "1 of 16 modules (k_proj), scaled by the SVDs' operations"


def test_a_table_is_made_of_every_kind_of_row(tmp_path: Path) -> None:
    assert costs_table(tmp_path / "none.json") == "Not measured yet."
    machine = {"device": "cpu", "name": "A processor", "cores": 2, "threads": 2, "torch": "2",
               "peft": "0.21"}  # fmt: skip
    group = {"machine": machine, "copy_gb_s": 10.0, "limit_seconds": 0.05}
    run = {"way": "peft:svd", "rank": 16, "seconds": 4000.0, "peak_gib": 1.25, "error": 0.7,
           "over_optimum": 1.0, "share_of_limit": 1e-6,
           "run_on": "2 of 224 modules, scaled"}  # fmt: skip
    live = {"way": "sam:live", "rank": 80, "seconds": 0.00004, "peak_gib": 0.5, "run_on": "all"}
    counted = merging.arithmetic("70b", 1e11, 1e10)
    results = {"70b/cpu": group | {"rows": counted}, "8b/cpu": group | {"rows": [run, live]}}
    path = tmp_path / "merging.json"
    path.write_text(json.dumps(results), "utf-8")
    text = costs_table(path)
    assert text.index("8B Llama") < text.index("70B Llama")
    assert "| PEFT `svd` | 16 | ≈ 67 min | 1.2 GiB | 0.700 | ×1.000 | < 0.01 % | 2 of" in text
    assert "| SaM live weights, one change | 80 | 0.04 ms | 0.5 GiB |  |  |  | all |" in text
    ours, theirs = counted
    assert ours["operations"] < theirs["operations"] / 1000
    assert ours["seconds"] < theirs["seconds"] / 1000
