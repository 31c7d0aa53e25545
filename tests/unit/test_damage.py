"""Damaged experts, corpora and model folders: named, and in nobody else's way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from experts.base import linear_shapes, load_base
from experts.errors import SamError
from experts.pool import Pool
from experts.recipes import CorpusRecipe, TrainingRecipe
from experts.sampling import Sampler, read_split
from experts.train_expert import _check_dev
from tests.unit.fakes import BASE, make_pool


def test_a_damaged_card_hides_one_expert_and_can_be_removed(tmp_path: Path) -> None:
    make_pool(tmp_path / "bundled")
    broken = tmp_path / "own" / "broken"
    broken.mkdir(parents=True)
    (broken / "card.json").write_text("[" * 100_000, "utf-8")
    pool = Pool(tmp_path / "bundled", tmp_path / "own", base_model=BASE)
    assert [expert.name for expert in pool.list()] == ["astro", "lake", "law"]
    with pytest.raises(SamError, match="is not JSON"):
        pool.get("broken")
    pool.remove("broken")
    assert not broken.exists()
    with pytest.raises(SamError, match="no expert named"):
        pool.remove("../bundled/law")


def test_an_expert_of_another_base_is_named_as_such(tmp_path: Path) -> None:
    make_pool(tmp_path / "bundled")
    with pytest.raises(SamError, match=f"was trained on {BASE}"):
        Pool(tmp_path / "bundled", tmp_path / "own", base_model="other/model").get("law")


@pytest.mark.parametrize("damage", ["junk", "fewer exemplars", "other width"])
def test_domain_vectors_that_do_not_fit_are_refused(tmp_path: Path, damage: str) -> None:
    make_pool(tmp_path / "bundled")
    source = tmp_path / "outside"
    shutil.copytree(tmp_path / "bundled" / "law", source)
    card = json.loads((source / "card.json").read_text("utf-8"))
    card["name"] = "law-2"
    if damage == "junk":
        (source / "exemplars.safetensors").write_bytes(b"junk")
    elif damage == "fewer exemplars":
        card["exemplars"] = card["exemplars"][:-1]
    else:
        card["mean"] = card["mean"][:-1]
    (source / "card.json").write_text(json.dumps(card), "utf-8")
    pool = Pool(tmp_path / "bundled", tmp_path / "own", base_model=BASE)
    with pytest.raises(SamError, match="domain of 'law-2' is damaged"):
        pool.add(source)
    assert len(pool.list()) == 3


def corpus(folder: Path, split: str, *rows: dict[str, object]) -> None:
    (folder / "tales").mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "tales" / f"{split}.jsonl").write_text(lines, "utf-8")


def recipe() -> TrainingRecipe:
    data = [CorpusRecipe(corpus="tales", licence="CC0", source="us")]
    return TrainingRecipe(name="tales", title="Tales", description="", data=data)


def test_line_separators_inside_a_string_end_no_record(tmp_path: Path) -> None:
    corpus(tmp_path, "train", {"text": "A\u2028b\u0085c", "entities": []})
    assert [e.text for e in read_split(tmp_path, "tales", "train")] == ["A\u2028b\u0085c"]
    (tmp_path / "tales" / "dev.jsonl").write_bytes(b'{"text": "\xff", "entities": []}\n')
    with pytest.raises(SamError, match=r"Line 1 of .*dev\.jsonl"):
        read_split(tmp_path, "tales", "dev")


def test_what_a_training_lacks_is_said_before_it_begins(tmp_path: Path) -> None:
    corpus(tmp_path, "train", {"text": "Nobody.", "entities": []})
    with pytest.raises(SamError, match="has no entities"):
        Sampler(recipe(), tmp_path)
    with pytest.raises(SamError, match=r"dev\.jsonl does not exist"):
        _check_dev(recipe(), tmp_path)
    corpus(tmp_path, "dev")
    with pytest.raises(SamError, match=r"dev\.jsonl is empty"):
        _check_dev(recipe(), tmp_path)


def test_a_damaged_model_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": "x"}', "utf-8")
    for load in (load_base, linear_shapes):
        with pytest.raises(SamError, match="cannot be loaded"):
            load(str(tmp_path), data_dir=tmp_path)
