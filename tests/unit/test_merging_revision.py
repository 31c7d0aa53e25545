"""The base model's revision: read, carried through a merge, written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from experts.errors import SamError
from experts.merging.adapters import load_adapter, save_adapter
from experts.merging.merge import merge
from experts.merging.unmerge import unmerge
from tests.unit.merging_support import BASE, random_adapter, recipe_for

PIN, OTHER = "0123abcd" * 5, "fedc9876" * 5


def stored(path: Path) -> object:
    return json.loads((path / "adapter_config.json").read_text("utf-8"))["revision"]


def test_a_revision_survives_reading_and_writing(tmp_path: Path) -> None:
    save_adapter(random_adapter("a", 1), tmp_path / "a", revision=PIN)
    read = load_adapter(tmp_path / "a")
    assert read.revision == PIN
    save_adapter(read, tmp_path / "again")
    assert stored(tmp_path / "again") == PIN
    save_adapter(read, tmp_path / "elsewhere", base_model="another/base")
    assert stored(tmp_path / "elsewhere") is None
    save_adapter(read, tmp_path / "pinned", base_model="another/base", revision=OTHER)
    assert stored(tmp_path / "pinned") == OTHER


@pytest.mark.parametrize("second", [PIN, None])
def test_a_merge_names_the_revision_of_its_experts(tmp_path: Path, second: str | None) -> None:
    experts = [
        dataclasses.replace(random_adapter("a", 1), revision=PIN),
        dataclasses.replace(random_adapter("b", 2), revision=second),
    ]
    recipe = recipe_for({"a": 0.5, "b": 0.5})
    result = merge(recipe, experts)
    assert (result.adapter.revision, result.note) == (PIN, "")
    save_adapter(result.adapter, tmp_path / "merged", dtype=torch.float32, base_model=BASE)
    assert stored(tmp_path / "merged") == PIN
    left = unmerge(load_adapter(tmp_path / "merged"), recipe, experts[1])
    assert left.adapter.revision == PIN


def test_experts_of_different_revisions_are_noted() -> None:
    experts = [
        dataclasses.replace(random_adapter("a", 1), revision=PIN),
        dataclasses.replace(random_adapter("b", 2), revision=OTHER),
    ]
    result = merge(recipe_for({"a": 0.5, "b": 0.5}), experts)
    assert result.adapter.revision is None
    assert f"a: {PIN}, b: {OTHER}" in result.note
    # An expert that takes no part has no say.
    assert merge(recipe_for({"a": 0.5, "b": 0.0}), experts).adapter.revision == PIN


def test_a_revision_that_is_no_text_is_refused(tmp_path: Path) -> None:
    save_adapter(random_adapter("a", 1), tmp_path / "a")
    config = tmp_path / "a" / "adapter_config.json"
    document = json.loads(config.read_text("utf-8")) | {"revision": 7}
    config.write_text(json.dumps(document), "utf-8")
    with pytest.raises(SamError, match="revision is '7'"):
        load_adapter(tmp_path / "a")
