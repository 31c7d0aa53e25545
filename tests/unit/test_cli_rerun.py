# ruff: noqa: F401, F811 (pytest gives the fixtures by their names)
"""``sam-ui unmerge --rerun`` of methods that need more than the experts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experts.merging.adapters import load_adapter
from experts.merging.recipe import Recipe
from sam_ui.services.engine import Engine
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings
from tests.unit import tiny
from tests.unit.merging_support import dense, relative_error
from tests.unit.test_cli import Command, sam
from tests.unit.test_cli_merge import corpus, tiny_pool


@pytest.fixture
def engine(sam: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    tiny_pool(tmp_path / "tiny")
    monkeypatch.setenv("SAM_POOL_DIR", str(tmp_path / "tiny"))
    settings = Settings()
    engine = Engine(settings, pool=open_pool(settings))
    engine.__dict__["base"] = tiny.gemma()
    monkeypatch.setattr("sam_ui.cli._engine", lambda: engine)
    return engine


def test_a_merge_that_read_texts_is_made_anew_from_them(
    sam: Command, engine: Engine, tmp_path: Path, corpus: Path
) -> None:
    reading = ("--texts", corpus, "--types", "person")
    settings = ("--method", "regmean", "--param", "sentences=1")
    both, alone, out = tmp_path / "both", tmp_path / "alone", tmp_path / "less"
    pair = ("--expert", "astro=0.5", "--expert", "law=0.5")
    assert sam("merge", *pair, *settings, *reading, "--out", both)[0] == 0
    assert sam("merge", "--expert", "astro=0.5", *settings, *reading, "--out", alone)[0] == 0
    code, printed, error = sam(
        "unmerge", both, "--expert", "law", "--out", out, "--rerun", *reading, "--json"
    )
    assert code == 0, error
    assert json.loads(printed)["rerun"] is True
    assert [member.name for member in Recipe.load(out / "recipe.json").experts] == ["astro"]
    wanted, found = load_adapter(alone), load_adapter(out)
    for module, factors in wanted.modules.items():
        assert relative_error(dense(found.modules[module]), dense(factors)) < 1e-6


def test_what_is_missing_is_said_before_anything_is_written(
    sam: Command, engine: Engine, tmp_path: Path, corpus: Path
) -> None:
    reading = ("--texts", corpus, "--types", "person")
    both, out = tmp_path / "both", tmp_path / "less"
    code, _, error = sam(
        "merge", "--expert", "astro=0.5", "--expert", "law=0.5", "--method", "regmean",
        "--param", "sentences=1", *reading, "--out", both,
    )  # fmt: skip
    assert code == 0, error
    cases = [
        (["--rerun"], "'regmean' needs texts and entity types"),
        (["--rerun", "--texts", str(corpus)], '--texts CORPUS --types "a, b"'),
        (["--rerun", "--gold"], "--gold uses the entities of --texts"),
        ([*map(str, reading)], "are for merging anew"),
        (["--rerun", "--texts", "missing.txt", "--types", "a"], "missing.txt"),
    ]
    for options, said in cases:
        code, printed, error = sam("unmerge", both, "--expert", "law", "--out", out, *options)
        assert (code, printed) == (2, ""), error
        assert said in error
        assert "Traceback" not in error
        assert not out.exists()
