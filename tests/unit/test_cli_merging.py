# ruff: noqa: F401, F811 (pytest gives the fixture `sam` by its name)
"""``sam-ui compare``, ``sam-ui unmerge`` and ``sam-ui merge --full``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experts.merging.adapters import load_adapter, save_adapter
from experts.merging.merge import merge
from experts.merging.recipe import Recipe
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings
from tests.unit import tiny
from tests.unit.fakes import BASE, FakeEngine
from tests.unit.merging_support import dense, relative_error
from tests.unit.test_cli import Command, sam


@pytest.fixture
def engine(sam: Command, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    settings = Settings()
    fake = FakeEngine(settings, open_pool(settings))
    monkeypatch.setattr("sam_ui.cli._engine", lambda: fake)
    return fake


def merged(sam: Command, out: Path, *options: str) -> Path:
    code, _, error = sam(
        "merge", "--expert", "astro=0.5", "--expert", "law=0.3", "--out", out, *options
    )
    assert code == 0, error
    return out


def test_compare_tells_pairs_and_ranks(sam: Command) -> None:
    code, printed, _ = sam("compare", "astro", "law", "lake")
    assert code == 0
    assert "astro + law" in printed
    assert "Astronomy and Court decisions:" in printed
    assert "of the places they both change" in printed
    assert "Merged at rank 4 they keep" in printed
    code, printed, _ = sam("compare", "astro", "law", "--json", "--modules")
    document = json.loads(printed)
    assert code == 0
    assert document["experts"] == ["astro", "law"]
    assert document["cosine"][0][0] == pytest.approx(1)
    assert list(document["modules"]) == ["model.q_proj"]


@pytest.mark.parametrize(
    ("names", "said"),
    [(["astro"], "at least two"), (["astro", "astro"], "named twice"), (["astro", "lav"], "law")],
)
def test_compare_refuses(sam: Command, names: list[str], said: str) -> None:
    code, printed, error = sam("compare", *names)
    assert (code, printed) == (2, "")
    assert said in error
    assert "Traceback" not in error


def test_unmerge_leaves_the_other_expert(
    sam: Command,
    engine: FakeEngine,
    tmp_path: Path,
) -> None:
    folder = merged(sam, tmp_path / "merged")
    assert (folder / "mergekit.yml").read_text("utf-8").count("- model:") == 2
    out = tmp_path / "less"
    code, printed, error = sam("unmerge", folder, "--expert", "law", "--out", out, "--json")
    assert code == 0, error
    document = json.loads(printed)
    assert [e["name"] for e in document["recipe"]["experts"]] == ["astro"]
    assert document["rerun"] is False
    assert 0 < document["error"] < 0.02
    astro = load_adapter(engine.pool.get("astro").path, name="astro").modules["model.q_proj"]
    left = load_adapter(out).modules["model.q_proj"]
    assert relative_error(dense(left), 0.5 * dense(astro)) < 0.02
    assert Recipe.load(out / "recipe.json").experts[0].weight == 0.5

    exact = tmp_path / "again"
    code, printed, error = sam(
        "unmerge", folder, "--expert", "law", "--out", exact, "--rerun", "--renormalise"
    )
    assert code == 0, error
    assert "Took law out" in printed
    again = load_adapter(exact).modules["model.q_proj"]
    assert relative_error(dense(again), 0.8 * dense(astro)) < 0.01


def test_unmerge_keeps_float32(sam: Command, engine: FakeEngine, tmp_path: Path) -> None:
    folder = merged(sam, tmp_path / "merged")
    recipe = Recipe.load(folder / "recipe.json")
    experts = [load_adapter(engine.pool.get(n).path, name=n) for n in ("astro", "law")]
    precise = merge(recipe, experts).adapter
    save_adapter(precise, folder, dtype=torch.float32, base_model=BASE, overwrite=True)
    recipe.save(folder / "recipe.json")
    out = tmp_path / "less"
    assert sam("unmerge", folder, "--expert", "law", "--out", out)[0] == 0
    wanted = 0.5 * dense(experts[0].modules["model.q_proj"])
    assert relative_error(dense(load_adapter(out).modules["model.q_proj"]), wanted) < 1e-5


def test_unmerge_refuses_before_anything_is_written(
    sam: Command,
    engine: FakeEngine,
    tmp_path: Path,
) -> None:
    folder = merged(sam, tmp_path / "merged")
    ties = merged(sam, tmp_path / "ties", "--method", "ties")
    cut = merged(sam, tmp_path / "cut", "--rank", "1")
    out = tmp_path / "less"
    cases = [
        (["unmerge", folder, "--expert", "lake"], "does not contain"),
        (["unmerge", ties, "--expert", "law"], "only a weighted sum can be undone"),
        (["unmerge", cut, "--expert", "law"], "cut to rank 1"),
        (["unmerge", tmp_path, "--expert", "law"], "no recipe.json"),
    ]
    for command, said in cases:
        code, printed, error = sam(*command, "--out", out)
        assert (code, printed) == (2, "")
        assert said in error
        assert "Traceback" not in error
        assert not out.exists()
    code, _, error = sam("unmerge", folder, "--expert", "law", "--out", folder)
    assert code == 2
    assert "not empty" in error
    assert sam("unmerge", ties, "--expert", "law", "--out", out, "--rerun")[0] == 0


def test_a_full_model_lies_beside_the_adapter(
    sam: Command,
    engine: FakeEngine,
    tmp_path: Path,
) -> None:
    base: Any = tiny.llama()
    engine.__dict__["base"] = base
    base.model.model.q_proj = torch.nn.Linear(6, 4)  # what the stand-in experts adapt
    with torch.no_grad():
        before = base.model.model.q_proj.weight.clone()
    folder = merged(sam, tmp_path / "merged", "--full")
    assert (folder / "full" / "config.json").is_file()
    assert (folder / "full" / "recipe.json").is_file()
    assert list((folder / "full").glob("*.safetensors"))
    assert torch.equal(base.model.model.q_proj.weight, before)


def test_a_quantized_base_has_no_full_model(
    sam: Command,
    engine: FakeEngine,
    tmp_path: Path,
) -> None:
    engine.settings.dtype = "int8"
    code, _, error = sam("merge", "--expert", "astro=1", "--out", tmp_path / "merged", "--full")
    assert code == 2
    assert "no full weights" in error
    assert not (tmp_path / "merged").exists()
