"""The downloaded zip finds what the app finds, in a process that knows nothing of this project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from experts.export.adapter_zip import adapter_files, write_zip
from experts.export.tokenizer_files import tokenizer_folder
from experts.pool import Pool
from experts.spans import Example, Span
from sam_ui.services.engine import Engine
from sam_ui.services.recipes import make_recipes
from sam_ui.settings import Settings
from tests.engine.test_experts import labels

SENTENCES, TYPES = 3, 5
# Installing torch anew would take longer than the test: the same packages, without ours.
ALONE = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("experts", "sam_ui", "db"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
for ours in ("experts", "sam_ui", "db"):
    try:
        __import__(ours)
    except ModuleNotFoundError:
        continue
    raise SystemExit(ours + " can be imported")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {name.split(".")[0] for name in sys.modules} & {"experts", "sam_ui", "db"}
"""


def outcome(zipped: Path, base: Path, texts: list[str], folder: Path) -> list[list[Span]]:
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(folder)
    (folder / "texts.txt").write_text("\n".join(texts), "utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = folder / zipped.stem / "predict.py"
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(script), "texts.txt", "--base", str(base),
         "--device", "cpu", "--dtype", "float32"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == texts
    return [[Span(**entity) for entity in row["entities"]] for row in rows]


@pytest.fixture(scope="module")
def exact(settings: Settings, pool: Pool) -> Engine:
    """In full precision: otherwise two ways of computing the same differ in the second decimal."""
    return Engine(settings.model_copy(update={"device": "cpu", "dtype": "float32"}), pool=pool)


@pytest.mark.timeout(1500)  # it loads the model twice, and reads slowly
@pytest.mark.parametrize("dual", [False, True])
def test_predict_py_finds_what_the_app_finds(
    exact: Engine, base_path: Path, samples: dict[str, list[Example]], tmp_path: Path, dual: bool
) -> None:
    examples = samples["lake_sediments" if dual else "museum_catalogue"]
    texts, types = [e.text for e in examples[:SENTENCES]], labels(examples)[:TYPES]
    weights = {"encyclopedia": 0.6, "research-software": 0.4}
    criteria = (["encyclopedia"], ["research-software"]) if dual else None
    recipes = make_recipes(weights, base_model="google/gemma-3-270m", dual=criteria)
    folders = [tmp_path / recipe.criterion for recipe in recipes]
    assert len(exact.merge(recipes, folders)) == 1 + dual
    expected = exact.predict(texts, types, folders)
    tokenizer = tokenizer_folder("", exact.settings.data_dir)
    assert tokenizer == base_path
    files = adapter_files(
        adapters=folders, recipes=recipes, types=dict.fromkeys(types, ""), experts=[],
        title="Sample", retained_energy=1.0, tokenizer=tokenizer,
    )  # fmt: skip
    assert "tokenizer.json" in files
    write_zip(tmp_path / "sample.zip", files)
    found = outcome(tmp_path / "sample.zip", base_path, texts, tmp_path / "elsewhere")
    assert sum(map(len, expected)) > 2
    assert [[s.key for s in spans] for spans in found] == [[s.key for s in x] for x in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert [s.score for s in mine] == pytest.approx([s.score for s in theirs], rel=0.02)
