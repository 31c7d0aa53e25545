"""The zip with the merged adapter: its card, what the licences ask for, what is written anew."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from experts.errors import SamError
from experts.export.adapter_zip import adapter_files, fingerprint, write_zip
from experts.export.licences import MergedExpert, resulting_licence
from experts.export.model_card import CardScores, model_card
from experts.export.tokenizer_files import tokenizer_folder
from experts.merging.recipe import LearningStep, Recipe
from tests.unit.merging_support import recipe_for

GEMMA = "google/gemma-3-270m"
LAKES = MergedExpert("lakes", "Lakes", "MIT", ("lakes (CC BY-SA 4.0), 20 sentences",))
LAW = MergedExpert("law", "Court\ndecisions", "", ("courts (none stated)",))
SCORES = CardScores(37, 96, 0.875, 0.84375, 0.8591, {"person | who": (0.9, 60), "lake": (0.8, 36)})


def recipe(base: str = GEMMA, criterion: str = "single") -> Recipe:
    return recipe_for({"lakes": 0.6, "law": 0.4}).model_copy(
        update={"base_model": base, "criterion": criterion}
    )


def card(**changes: object) -> str:
    given = {
        "title": "My: “model”\n# of lakes",
        "recipes": [recipe()],
        "types": {"lake": "a body\nof water", "person": ""},
        "experts": [LAKES, LAW],
        "retained_energy": 0.94,
    }
    return model_card(**{**given, **changes})  # type: ignore[arg-type]


def test_the_hub_reads_the_card() -> None:
    data = ModelCard(card(scores=SCORES)).data
    assert data.base_model == GEMMA
    assert (data.library_name, data.pipeline_tag) == ("peft", "token-classification")
    assert data.license == "gemma"
    assert data.model_name == "My: “model” # of lakes"
    results = {result.metric_type: result for result in data.eval_results or []}
    assert {name: result.metric_value for name, result in results.items()} == {
        "f1": 0.8591,
        "precision": 0.875,
        "recall": 0.8438,
    }
    assert "37 sentences corrected" in results["f1"].dataset_name


def test_the_card_says_what_is_in_it_in_lines_of_their_own() -> None:
    lines = card(scores=SCORES).splitlines()
    assert "# My: “model” # of lakes" in lines
    assert "- lake: a body of water" in lines
    assert "| person \\| who | 0.90 | 60 |" in lines
    assert "| all | 0.86 | 96 |" in lines
    assert "- **Court decisions** (law): no licence noted" in lines
    assert "  - courts (none stated)" in lines
    assert any("94.0% of the merged update" in line for line in lines)


def test_without_corrections_there_are_no_scores() -> None:
    text = card()
    assert ModelCard(text).data.eval_results is None
    assert "## Scores" not in text


def test_a_folder_as_base_is_not_named(tmp_path: Path) -> None:
    text = card(recipes=[recipe(str(tmp_path))])
    assert str(tmp_path) not in text
    assert ModelCard(text).data.base_model is None
    assert ModelCard(text).data.license == "other"


def test_what_the_licences_ask_for() -> None:
    found = resulting_licence(GEMMA, [LAKES, LAW])
    terms, alike, credit, ask = found.conditions
    assert found.hub == "gemma"
    assert "Gemma Terms of Use" in terms
    assert alike.startswith("Share alike: Lakes learned")
    assert credit.startswith("Give credit")
    assert "Lakes" in credit
    assert ask.startswith("Ask first")
    assert "Court" in ask
    money = MergedExpert("x", "X", "", ("corpus (CC BY-NC 4.0)",))
    assert any(
        c.startswith("Not for commercial") for c in resulting_licence("a/b", [money]).conditions
    )
    free = MergedExpert("x", "X", "Apache-2.0", ())
    assert len(resulting_licence("a/b", [free]).conditions) == 1
    assert resulting_licence("a/b", [free]).name == "base-model-and-training-data"


def an_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def files(folder: Path, **changes: object) -> dict[str, bytes | Path]:
    given = {
        "adapters": [folder],
        "recipes": [recipe()],
        "types": {"lake": ""},
        "experts": [LAKES],
        "title": "Lakes",
        "retained_energy": 1.0,
    }
    return adapter_files(**{**given, **changes})  # type: ignore[arg-type]


def test_the_zip_has_all_that_predicting_needs(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (base / name).write_text(name)
    made = files(an_adapter(tmp_path / "one"), tokenizer=base)
    write_zip(tmp_path / "lakes.zip", made)
    with zipfile.ZipFile(tmp_path / "lakes.zip") as archive:
        names = {name.removeprefix("lakes/") for name in archive.namelist()}
        script = archive.read("lakes/predict.py").decode()
    assert names == {
        "adapter_config.json", "adapter_model.safetensors", "recipe.json", "labels.json",
        "predict.py", "tokenizer.json", "tokenizer_config.json", "README.md",
    }  # fmt: skip
    assert f"BASE = {GEMMA!r}" in script
    assert json.loads(made["labels.json"]) == [{"name": "lake", "definition": ""}]  # type: ignore[arg-type]


def test_a_dual_merge_has_a_folder_for_each(tmp_path: Path) -> None:
    made = files(
        tmp_path,
        adapters=[an_adapter(tmp_path / "a"), an_adapter(tmp_path / "b")],
        recipes=[recipe(criterion="similarity"), recipe(criterion="probe")],
    )
    assert {"similarity/adapter_config.json", "probe/recipe.json"} <= made.keys()
    assert b"ADAPTERS = ('similarity', 'probe')" in made["predict.py"]  # type: ignore[operator]
    assert b"runs both and unites" in made["README.md"]  # type: ignore[operator]


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "one")
    before = fingerprint(files(folder))
    assert fingerprint(files(folder)) == before
    assert fingerprint(files(folder, title="Rivers")) != before
    assert fingerprint(files(folder, scores=SCORES)) != before
    (folder / "adapter_model.safetensors").write_bytes(b"other weights")
    assert fingerprint(files(folder)) != before


def test_a_damaged_merge_is_refused(tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "one")
    (folder / "adapter_config.json").unlink()
    with pytest.raises(SamError, match=r"lacks adapter_config\.json"):
        files(folder)


def test_the_tokenizer_is_found_without_loading_anything(tmp_path: Path) -> None:
    assert tokenizer_folder("", tmp_path) is None
    made = tmp_path / "models" / "gemma-3-270m-abc-1"
    made.mkdir(parents=True)
    assert tokenizer_folder("", tmp_path) is None
    (made / "tokenizer_config.json").write_text("{}")
    assert tokenizer_folder("", tmp_path) == made
    assert tokenizer_folder(str(made), tmp_path / "other") == made
    assert tokenizer_folder(str(tmp_path), tmp_path) is None
    assert tokenizer_folder("nobody/has-this-model", tmp_path) is None


def test_what_was_learned_goes_along(tmp_path: Path) -> None:
    steps = [
        LearningStep(how="train", sentences=20, f1_before=0.55, f1_after=0.72),
        LearningStep(how="thresholds", sentences=31, thresholds={"lake": 0.4}),
    ]
    made = files(
        an_adapter(tmp_path / "one"),
        recipes=[recipe().model_copy(update={"learned": steps})],
        types={"lake": "", "person": ""},
    )
    said = bytes(made["README.md"]).decode()  # type: ignore[arg-type]
    assert "- trained on 20 corrected sentences: F1 0.55 → 0.72 on those not learned from" in said
    assert "- thresholds chosen by 31 corrected sentences\n" in said
    assert "enough to make it again" not in said
    labels = {label["name"]: label for label in json.loads(made["labels.json"])}  # type: ignore[arg-type]
    assert labels["lake"]["threshold"] == 0.4
    assert "threshold" not in labels["person"]
