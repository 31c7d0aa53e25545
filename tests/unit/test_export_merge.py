"""A merge in mergekit's words, and as a full model."""

from __future__ import annotations

import json
import re
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experts.base import BaseModel
from experts.errors import SamError
from experts.export.full_model import check_space, full_model_bytes, save_full_model
from experts.export.mergekit import mergekit_yaml, write_mergekit
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.registry import methods
from tests.unit import tiny
from tests.unit.merging_support import recipe_for


def yaml(text: str) -> dict[str, Any]:
    """The subset of YAML that is written: nested mappings, one list, JSON scalars."""
    assert "\t" not in text
    values: dict[str, Any] = {"models": []}
    target: dict[str, Any] = values
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        matched = re.fullmatch(r"( *)(- )?([a-z_]+):(?: (.+))?", line)
        assert matched, line
        indent, item, key, value = matched.groups()
        if item:
            values["models"].append({"parameters": {}})
            target = values["models"][-1]
        elif key == "parameters":
            owner = values["models"][-1] if indent else values
            target = owner.setdefault("parameters", {})
            continue
        elif not indent:
            target = values
        if value is not None:
            plain = re.fullmatch(r"[a-z_0-9]+", value) and value not in ("true", "false")
            target[key] = value if plain and not value.isdigit() else json.loads(value)
    return values


def test_a_weighted_sum_is_task_arithmetic() -> None:
    recipe = recipe_for({"law": 0.6, "lake-2": -0.25})
    document = yaml(mergekit_yaml(recipe))
    assert document == {
        "merge_method": "task_arithmetic",
        "base_model": "example/base",
        "models": [
            {"model": "example/base+experts/law", "parameters": {"weight": 0.6}},
            {"model": "example/base+experts/lake-2", "parameters": {"weight": -0.25}},
        ],
        "parameters": {"normalize": False},
        "dtype": "bfloat16",
    }


@pytest.mark.parametrize(
    ("method", "parameters", "name", "shared", "each"),
    [
        ("ties", {}, "ties", {"normalize": True}, {"density": 0.3}),
        ("ties", {"average": False, "strength": 0.7}, "ties",
         {"normalize": False, "lambda": 0.7}, {"density": 0.3}),
        ("dare_linear", {"drop": 0.75}, "dare_linear", {"normalize": False, "rescale": True},
         {"density": 0.25}),
        ("dare_ties", {"drop": 0.75}, "dare_ties", {"normalize": True, "rescale": True},
         {"density": 0.25}),
        ("della", {}, "della", {"normalize": True}, {"density": 0.5, "epsilon": 0.1}),
        ("breadcrumbs", {}, "breadcrumbs", {"normalize": False},
         {"density": 0.14, "gamma": 0.01}),
    ],
)  # fmt: skip
def test_methods_that_mergekit_has(
    method: str, parameters: dict[str, Any], name: str, shared: Any, each: dict[str, float]
) -> None:
    recipe = recipe_for({"a": 1.0}, method=method, parameters=parameters, rank=8)
    text = mergekit_yaml(recipe)
    document = yaml(text)
    assert document["merge_method"] == name
    assert document["parameters"] == shared
    got = document["models"][0]["parameters"]
    assert got == {"weight": 1, **{key: pytest.approx(value) for key, value in each.items()}}
    assert "brought the result to rank 8" in text


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("iso_c", {}),
        ("knots_ties", {}),
        ("dare_ties", {"density": 0.5}),
        ("della", {"drop": 0.05, "epsilon": 0.2}),
        ("breadcrumbs", {"small": 0.9, "large": 0.2}),
    ],
)
def test_what_mergekit_cannot_do_is_said(method: str, parameters: dict[str, Any]) -> None:
    text = mergekit_yaml(recipe_for({"a": 1.0}, method=method, parameters=parameters))
    assert f"mergekit has no method that does what '{method}' does" in text
    assert all(line.startswith("#") for line in text.splitlines())


def test_every_method_has_a_file(tmp_path: Path) -> None:
    for method in methods():
        path = write_mergekit(recipe_for({"a": 1.0}, method=method.key), tmp_path)
        assert path.read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["mergekit.yml"]
    with pytest.raises(SamError, match="cannot be written"):
        write_mergekit(recipe_for({"a": 1.0}), tmp_path / "nowhere")


def an_adapter(base: BaseModel, size: float = 0.3) -> Adapter:
    generator = torch.Generator().manual_seed(1)
    modules = {}
    for path, module in base.model.named_modules():
        if path.endswith(("q_proj", "down_proj")):
            out, into = module.weight.shape  # type: ignore[union-attr,misc]
            modules[path] = LoraFactors(
                a=torch.randn(2, into, generator=generator) * size,  # type: ignore[arg-type]
                b=torch.randn(out, 2, generator=generator) * size,  # type: ignore[arg-type]
                scaling=2.0,
            )
    return Adapter("merged", "tiny/gemma", modules)


def test_the_full_model_is_base_plus_merge(tmp_path: Path) -> None:
    base = tiny.gemma()
    adapter = an_adapter(base)
    tokens = torch.arange(16)[None]
    with torch.inference_mode():
        before = base.model(tokens).logits
        with base.adapted(adapter.products()):
            wanted = base.model(tokens).logits
    path = tmp_path / "full"
    save_full_model(base, adapter, path, recipe_json="{}\n")
    loaded: Any = AutoModelForCausalLM.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    with torch.inference_mode():
        assert torch.allclose(loaded(tokens).logits, wanted, atol=1e-5)
        assert torch.equal(base.model(tokens).logits, before)
    assert tokenizer("The Greens").input_ids == base.tokenizer("The Greens").input_ids
    assert (path / "recipe.json").read_text() == "{}\n"
    card = (path / "README.md").read_text()
    assert 'base_model: "tiny/gemma"' in card
    assert "Gemma Terms of Use" in card
    written = [p for p in path.iterdir() if p.suffix in (".json", ".md")]
    assert not any(str(tmp_path) in p.read_text("utf-8") for p in written)
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    size = sum(p.stat().st_size for p in path.glob("*.safetensors"))
    assert abs(size - full_model_bytes(base)) < 20_000


def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.gemma()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2**20))
    with pytest.raises(SamError, match=r"needs \d+ MiB and the disk .* has 1 MiB free"):
        save_full_model(base, an_adapter(base), tmp_path / "full")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2**40))
    check_space(base, tmp_path / "deep" / "full")


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    base = tiny.gemma()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("x")
    with pytest.raises(SamError, match="exists already"):
        save_full_model(base, an_adapter(base), tmp_path / "taken")
    stranger = Adapter(
        "x", "y", {"model.nothing": LoraFactors(torch.ones(1, 2), torch.ones(2, 1), 1)}
    )
    with pytest.raises(SamError, match="does not have"):
        save_full_model(base, stranger, tmp_path / "full")
    base.quantization = "int8"
    with pytest.raises(SamError, match="int8"):
        save_full_model(base, an_adapter(base), tmp_path / "full")
    base.quantization = ""
    with pytest.raises(SamError, match="cannot hold"):
        save_full_model(base, an_adapter(base, 1e30), tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
