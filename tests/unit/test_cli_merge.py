"""``sam-ui merge`` with methods that need more than the experts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sam_ui.services.engine import Engine
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings
from tests.unit import tiny
from tests.unit.merging_data_support import tiny_pool
from tests.unit.test_cli import Command, corpus, sam  # noqa: F401 (fixtures)

ROWS = [
    {"name": "astro", "similarity": 0.6, "f1": 0.5},
    {"name": "lake", "similarity": 0.3, "f1": None},
]


@pytest.fixture
def match(tmp_path: Path) -> Path:
    recommended = {"single": {"astro": 0.5, "lake": 0.5}, "similarity": {"law": 1.0}, "probe": {}}
    path = tmp_path / "match.json"
    path.write_text(json.dumps({"recommended": recommended, "experts": ROWS}), "utf-8")
    return path


def test_scores_come_with_the_match(sam: Command, tmp_path: Path, match: Path) -> None:  # noqa: F811
    out = tmp_path / "merged"
    code, printed, error = sam(
        "merge", "--from", match, "--method", "metrics_weighted", "--param", "by=similarity",
        "--param", "power=1", "--out", out, "--json",
    )  # fmt: skip
    assert code == 0, error
    document = json.loads(printed)
    assert document["weights"] == pytest.approx({"astro": 2 / 3, "lake": 1 / 3})
    assert document["coefficients"] is None
    assert (out / "adapter_model.safetensors").is_file()
    code, printed, _ = sam(
        "merge", "--from", match, "--method", "metrics_weighted", "--out", tmp_path / "again"
    )
    assert "Weights: astro 0." in printed
    code, _, error = sam(
        "merge", "--from", match, "--criterion", "similarity", "--method", "metrics_weighted",
        "--out", tmp_path / "x",
    )  # fmt: skip
    assert code == 2
    assert "scores of law" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "metrics_weighted"], "'metrics_weighted' needs the scores of a match"),
        (["--method", "regmean"], "'regmean' needs texts and entity types"),
        (["--method", "fisher", "--texts", "CORPUS"], '--texts CORPUS --types "a, b"'),
        (["--method", "fisher", "--types", "person"], "'fisher' needs texts"),
        (["--method", "fisher", "--texts", "missing.txt", "--types", "a"], "missing.txt"),
        (["--method", "fisher", "--texts", "CORPUS", "--types", "a", "--gold"], "entities"),
        (["--gold"], "--gold uses the entities of --texts"),
    ],
)
def test_what_a_method_lacks_is_said_with_the_option_that_gives_it(
    sam: Command,  # noqa: F811
    tmp_path: Path,
    corpus: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(corpus) if argument == "CORPUS" else argument for argument in arguments]
    code, printed, error = sam("merge", "--expert", "astro=1", "--out", "m", *given)
    assert (code, printed) == (2, "")
    assert message in error
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("content", ['{"recommended": {"single": {"astro": 1}}}', "[]", "[[[["])
def test_a_match_without_scores(sam: Command, tmp_path: Path, content: str) -> None:  # noqa: F811
    path = tmp_path / "m.json"
    path.write_text(content, "utf-8")
    code, _, error = sam(
        "merge", "--from", path, "--method", "metrics_weighted", "--out", tmp_path / "m"
    )
    assert code == 2
    assert "is not the output of" in error


def test_texts_are_read_with_the_experts(
    sam: Command,  # noqa: F811
    tmp_path: Path,
    corpus: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_pool(tmp_path / "tiny")
    monkeypatch.setenv("SAM_POOL_DIR", str(tmp_path / "tiny"))
    settings = Settings()
    engine = Engine(settings, pool=open_pool(settings))
    engine.__dict__["base"] = tiny.gemma()
    monkeypatch.setattr("sam_ui.cli._engine", lambda: engine)
    for method in ("regmean", "fisher"):
        out = tmp_path / method
        code, printed, error = sam(
            "merge", "--expert", "astro=0.5", "--expert", "law=0.5", "--method", method,
            "--texts", corpus, "--types", "person", "--param", "sentences=1", "--out", out,
            "--json",
        )  # fmt: skip
        assert code == 0, error
        assert json.loads(printed)["weights"] is None
        assert (out / "recipe.json").is_file()


def test_methods_say_what_they_need(sam: Command) -> None:  # noqa: F811
    printed = sam("methods")[1]
    assert 'needs texts and entity types: --texts CORPUS --types "a, b"' in printed
    assert "needs the scores of a match: --from MATCH.json" in printed
    needs = {row["key"]: row["needs"] for row in json.loads(sam("methods", "--json")[1])}
    assert needs["fisher"] == "texts"
    assert needs["metrics_weighted"] == "scores"
    assert needs["linear"] == "none"
