"""A merged adapter works in a process that knows PEFT and nothing of this project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from experts.merging.adapters import load_adapter, save_adapter
from experts.merging.merge import merge
from experts.merging.recipe import Recipe, RecipeExpert
from experts.pool import Pool

SENTENCE = "The minister met researchers of the university in Geneva."

ELSEWHERE = """
import sys
from pathlib import Path
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, sentence, out = sys.argv[1:]
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter).eval()
assert list(model.peft_config) == ["default"]
assert not any(name.split(".")[0] in ("experts", "sam_ui", "db") for name in sys.modules)
ids = AutoTokenizer.from_pretrained(base)(sentence, return_tensors="pt").input_ids
with torch.no_grad():
    save_file({"logits": model(ids).logits.contiguous()}, out)
"""


@pytest.mark.parametrize(("method", "rank"), [("linear", None), ("ties", 8)])
def test_same_logits_as_the_dense_update(
    pool: Pool, base_path: Path, tmp_path: Path, method: str, rank: int | None
) -> None:
    experts = pool.list()[:3]
    assert len(experts) == 3
    adapters = [load_adapter(expert.path, name=expert.name) for expert in experts]
    recipe = Recipe(
        experts=[RecipeExpert(name=expert.name, weight=1 / 3) for expert in experts],
        method=method,
        rank=rank,
        base_model=adapters[0].base_model,
    )
    result = merge(recipe, adapters)
    assert result.retained_energy > (0.999 if rank is None else 0.05)
    save_adapter(result.adapter, tmp_path / "merged", dtype=torch.float32)

    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, str(base_path), str(tmp_path / "merged"), SENTENCE,
         str(tmp_path / "logits.safetensors")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = load_file(tmp_path / "logits.safetensors")["logits"]

    model = AutoModelForCausalLM.from_pretrained(base_path, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(base_path)(SENTENCE, return_tensors="pt").input_ids
    with torch.no_grad():
        before = model(ids).logits
        for module, factors in result.adapter.modules.items():
            model.get_submodule(module).weight += factors.delta()
        here = model(ids).logits
    assert float((there - here).abs().max()) < 1e-3
    assert float((there - before).abs().max()) > 0.1
