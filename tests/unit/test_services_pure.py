"""What needs neither database nor models: the summary, recipes, united predictions, settings."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from experts.errors import SamError
from experts.spans import Span
from sam_ui.services.engine import unite
from sam_ui.services.recipes import make_recipes
from sam_ui.services.summary import summary
from sam_ui.services.views import ExpertScore
from sam_ui.settings import Settings


def score(
    title: str,
    similarity: float,
    f1: float | None = None,
    *,
    enough: bool = True,
    support: int = 24,
) -> ExpertScore:
    return ExpertScore(
        name=title.lower(),
        title=title,
        domain="",
        similarity=similarity,
        f1=f1,
        low=None,
        high=None,
        support=support,
        enough=enough,
        per_type={},
        weight=0.0,
        by_similarity=False,
        by_probe=False,
    )


ASTRO = score("Astronomy", 0.62, 0.61)
ENCYCLOPEDIA = score("Encyclopedia", 0.55, 0.4)
LAW = score("Law", 0.2, 0.7, enough=False)


@pytest.mark.parametrize(
    ("experts", "samples", "gold", "expected"),
    [
        (
            [LAW, ENCYCLOPEDIA, ASTRO],
            10,
            False,
            "Your texts are closest to *Astronomy* and *Encyclopedia*; on 10 sampled sentences "
            "*Astronomy* agreed most with the others (F1 0.61, 24 spans).",
        ),
        (
            [ASTRO, LAW],
            1,
            True,
            "Your texts are closest to *Astronomy*; on 1 sampled sentence *Astronomy* came closest "
            "to your own annotations (F1 0.61, 24 spans).",
        ),
        (
            [LAW],
            10,
            False,
            "Your texts are closest to *Law*; on 10 sampled sentences too few entities were found "
            "to tell the experts apart.",
        ),
        (
            [score("Law", 0.1, 0.0)],
            10,
            False,
            "None of the experts is close to your texts, the nearest is *Law*; on 10 sampled "
            "sentences no expert found anything that another found too.",
        ),
        ([], 10, False, "There are no experts to compare your texts with."),
    ],
)
def test_summary(experts: list[ExpertScore], samples: int, gold: bool, expected: str) -> None:
    assert summary(experts, samples, gold=gold) == expected


def test_united_predictions_keep_the_likelier() -> None:
    one = [Span(0, 3, "person", 0.5), Span(10, 14, "place", 0.4), Span(20, 24, "place", 0.6)]
    two = [Span(0, 3, "person", 0.7), Span(8, 14, "person", 0.5)]
    assert unite([one, two]) == [
        Span(0, 3, "person", 0.7),
        Span(8, 14, "person", 0.5),
        Span(20, 24, "place", 0.6),
    ]
    assert unite([[], []]) == []


def test_single_recipe_leaves_out_experts_without_weight() -> None:
    (recipe,) = make_recipes(
        {"a": 0.5, "b": 0.0, "c": 0.25},
        method="ties",
        parameters={"density": 0.3},
        rank=8,
        base_model="base",
        hashes={"a": "h", "c": ""},
    )
    assert [(e.name, e.weight, e.hash) for e in recipe.experts] == [
        ("a", 0.5, "h"),
        ("c", 0.25, None),
    ]
    assert (recipe.method, recipe.parameters, recipe.rank) == ("ties", {"density": 0.3}, 8)
    assert (recipe.base_model, recipe.criterion) == ("base", "single")
    with pytest.raises(SamError):
        make_recipes({"a": 0.0})


@pytest.mark.parametrize(
    ("dual", "criteria"),
    [
        ((["a"], ["b"]), ["similarity", "probe"]),
        ((["a", "b"], ["a", "b"]), ["single"]),  # the same twice
        ((["a", "b"], ["c"]), ["single"]),  # the person switched off all that the probe chose
        ((["a"], []), ["single"]),  # the probe could not tell
    ],
)
def test_dual_only_where_the_criteria_differ(
    dual: tuple[list[str], list[str]], criteria: list[str]
) -> None:
    recipes = make_recipes({"a": 0.5, "b": 0.5}, dual=dual)
    assert [recipe.criterion for recipe in recipes] == criteria
    for recipe in recipes:
        assert sum(e.weight for e in recipe.experts) == pytest.approx(1.0)


def test_data_stays_out_of_served_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAM_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nowhere/somebody")
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert not settings.data_dir.is_relative_to(Path.cwd())
    assert not settings.data_dir.is_relative_to(tempfile.gettempdir())
    assert settings.data_dir.is_absolute()


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_a_child_process_reads_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(  # type: ignore[call-arg]
        data_dir=tmp_path / "with space", share=True, port=1234, dtype="bfloat16", _env_file=None
    )
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == settings  # type: ignore[call-arg]
    assert "with space/sam.sqlite3" in settings.db_url


def test_services_import_no_heavy_library() -> None:
    code = (
        "import sys, db, sam_ui.services, sam_ui.services.engine, sam_ui.jobs.supervisor\n"
        "heavy = {'torch', 'transformers', 'peft', 'sentence_transformers', 'gradio'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
