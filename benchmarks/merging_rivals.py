"""The other ways to merge LoRA experts that `benchmarks.merging` times beside ours.

PEFT and mergekit are run themselves; of the KnOTS recipe the costly part is done as its paper gives
it. What a dense way needs for a whole large model would take hours, so that it is run on some
modules, and scaled: by the number of layers, and where not all modules of a layer are run by the
operations of their SVDs. Each row says so.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.merging_shapes import (
    EXPERTS,
    LAYERS,
    RANK,
    SHAPES,
    errors,
    names_of_layer,
    random_experts,
    svd_work,
)
from experts.merging.adapters import Adapter, LoraFactors, save_adapter

__all__ = ["PEFT_TYPES", "knots", "mergekit", "peft_way", "timed"]

PEFT_TYPES = ("cat", "linear", "svd", "ties_svd")
DENSITY = 0.3
# Modules of a layer that a dense SVD is run on; () for all. All of a large layer take many minutes.
SVD_MODULES: dict[str, tuple[str, ...]] = {"embedded": (), "8b": ("q_proj", "k_proj")}
TIES_MODULES: dict[str, tuple[str, ...]] = {"embedded": (), "8b": ("k_proj",)}
KNOTS_MODULES: dict[str, tuple[str, ...]] = {"embedded": ("q_proj", "k_proj"), "8b": ("k_proj",)}
KNOTS_LAYERS = 1
ENOUGH_S = 4.0


def timed(run: Callable[[], Any], repeats: int, device: str = "cpu") -> tuple[float, Any]:
    """Median seconds, and the last result; the first run, which may warm up, counts only alone.

    Args:
        repeats: at most; none is begun after `ENOUGH_S` seconds.
    """
    seconds: list[float] = []
    result = None
    while len(seconds) < repeats and sum(seconds) < ENOUGH_S:
        result = None  # not two results at a time
        _wait(device)
        began = time.perf_counter()
        result = run()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:] or seconds), result


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _scaled(
    shapes: str, layers: int, wanted: Sequence[str], work: Callable[[int, int], float]
) -> tuple[float, str]:
    """By how much the whole model is more than what was run, and what was run, in words."""
    count = len(names_of_layer(shapes, wanted))
    scale = LAYERS[shapes] / layers
    words = f"{count * layers} of {len(SHAPES[shapes]) * LAYERS[shapes]} modules"
    if wanted:
        scale *= sum(work(*shape) for shape in SHAPES[shapes].values())
        scale /= sum(work(*shape) for shape in names_of_layer(shapes, wanted).values())
        return scale, f"{words} ({', '.join(wanted)}), scaled by the SVDs' operations"
    return scale, "all" if scale == 1 else f"{words}, scaled"


# ---- PEFT -----------------------------------------------------------------------------------


def peft_way(kind: str, shapes: str, layers: int, device: str) -> dict[str, Any]:
    """PEFT's `add_weighted_adapter`, on linear layers of the model's names and shapes."""
    wanted = {"svd": SVD_MODULES, "ties_svd": TIES_MODULES}.get(kind, {}).get(shapes, ())
    experts = random_experts(shapes, layers, wanted, device)
    model = _with_experts(experts, device)
    options = {"density": DENSITY} if kind.startswith("ties") else {}
    names = [expert.name for expert in experts]
    weights = [1 / len(experts)] * len(experts)
    before = peak_gib()

    def run() -> None:
        model.base_model.add_weighted_adapter(
            names, weights, "merged", combination_type=kind, **options
        )

    seconds, _ = timed(run, 1, device)
    found = {
        name: LoraFactors(
            layer.lora_A["merged"].weight.detach(), layer.lora_B["merged"].weight.detach(),
            layer.scaling["merged"],
        )
        for name in experts[0].modules
        for layer in [model.base_model.model.get_submodule(name)]
    }  # fmt: skip
    scale, words = _scaled(shapes, layers, wanted, lambda o, i: svd_work(o, i, full=True))
    row = {"seconds_run": seconds, "seconds": seconds * scale, "run_on": words, "before": before}
    if kind != "ties_svd":  # which does not mean to be the sum
        row["error"], row["over_optimum"] = errors(experts, found)
    return row | {"rank": max(factors.rank for factors in found.values())}


def _with_experts(experts: Sequence[Adapter], device: str) -> Any:
    """Bare linear layers, their weights unset (merging never reads them), and the experts."""
    from peft import LoraConfig, get_peft_model

    warnings.filterwarnings("ignore", module="peft")
    root = nn.Module()
    for path, factors in experts[0].modules.items():
        place = root
        *folders, last = path.split(".")
        for part in folders:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        out, into = factors.shape
        place.add_module(last, nn.utils.skip_init(nn.Linear, into, out, bias=False, device=device))
    model: Any = None
    for expert in experts:
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(expert.modules))
        if model is None:
            model = get_peft_model(root, config, adapter_name=expert.name)
        else:
            model.add_adapter(expert.name, config)
        for path, factors in expert.modules.items():
            layer = model.base_model.model.get_submodule(path)
            layer.lora_A[expert.name].weight.data = factors.a
            layer.lora_B[expert.name].weight.data = factors.b
    return model


# ---- KnOTS ----------------------------------------------------------------------------------


def knots(shapes: str, device: str) -> dict[str, Any]:
    """The recipe's SVD of [ΔW₁ … ΔWₙ], dense and in float64 (Stoica et al. 2024, section 4)."""
    wanted = KNOTS_MODULES[shapes]
    experts = random_experts(shapes, KNOTS_LAYERS, wanted, device)
    before = peak_gib()

    def run() -> None:
        for name in experts[0].modules:
            deltas = [expert.modules[name].delta().double() for expert in experts]
            u, s, vh = torch.linalg.svd(torch.cat(deltas, dim=1), full_matrices=False)
            merged = sum(part / EXPERTS for part in vh.chunk(EXPERTS, dim=1))
            u @ (s[:, None] * merged)

    seconds, _ = timed(run, 1, device)
    scale, words = _scaled(
        shapes, KNOTS_LAYERS, wanted, lambda o, i: svd_work(o, EXPERTS * i, full=False)
    )
    return {
        "seconds_run": seconds, "seconds": seconds * scale, "run_on": words, "before": before,
        "rank": "dense",
    }  # fmt: skip


# ---- mergekit -------------------------------------------------------------------------------


def mergekit(python: str, shapes: str, layers: int, device: str) -> dict[str, Any]:
    """The way that mergekit's README gives for LoRA: each `base+lora` merged into a whole model,
    these models merged linearly, their difference from the base by `mergekit-extract-lora`.

    Args:
        python: interpreter of an environment with mergekit (it has its own ideas of versions).
    """
    wanted = SVD_MODULES[shapes]
    experts = random_experts(shapes, layers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_models(folder, shapes, layers, experts)
        cuda = ["--cuda"] if device.startswith("cuda") else []
        common = ["--no-copy-tokenizer", "--no-write-model-card", "--quiet", *cuda]
        merge = _program(
            python, folder,
            ["mergekit.scripts.run_yaml", "./m.yml", "./out", "--lora-merge-cache", "./c", *common],
        )  # fmt: skip
        chosen = "|".join(wanted) or "_proj"
        extract = _program(
            python, folder,
            ["mergekit.scripts.extract_lora", "--model", "./out", "--base-model", "./base",
             "--out-path", "./lora", "--max-rank", str(RANK), "--include-regex", chosen, *common],
        )  # fmt: skip
        start = _program(python, folder, [])  # last: its files are in the page cache by now
        error, over = errors(experts, _read(folder / "lora"))
        peak = max(map(int, (folder / "peak").read_text("utf-8").split())) / 2**20
    scale, words = _scaled(shapes, layers, wanted, lambda o, i: svd_work(o, i, full=False))
    work, svd = max(0.0, merge - start), max(0.0, extract - start)
    return {
        "seconds_run": merge + extract,
        "seconds": 2 * start + work * LAYERS[shapes] / layers + svd * scale,
        "run_on": f"{layers} of {LAYERS[shapes]} layers; SVD: {words}" if wanted else words,
        "rank": RANK, "error": error, "over_optimum": over, "peak_gib": peak,
        "stages": {"start": start, "merge": merge, "extract": extract},
    }  # fmt: skip


def _write_models(folder: Path, shapes: str, layers: int, experts: Sequence[Adapter]) -> None:
    """A random Llama of these shapes with next to no vocabulary, the experts, and the YAML."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = SHAPES[shapes]
    head = 256 if shapes == "embedded" else 128
    config = LlamaConfig(
        vocab_size=64, hidden_size=shape["self_attn.q_proj"][1], num_hidden_layers=layers,
        intermediate_size=shape["mlp.gate_proj"][0], head_dim=head,
        num_attention_heads=shape["self_attn.q_proj"][0] // head,
        num_key_value_heads=shape["self_attn.k_proj"][0] // head,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    lines = ["merge_method: linear", "dtype: float32", "models:"]
    for expert in experts:
        save_adapter(expert, folder / expert.name, dtype=torch.float32, base_model="./base")
        lines += [f"- model: ./base+./{expert.name}", f"  parameters: {{weight: {1 / EXPERTS}}}"]
    (folder / "m.yml").write_text("\n".join(lines) + "\n", "utf-8")


# Runs a module and leaves the most memory that the process had, in kB, in the file "peak".
_RUN = """
import atexit, runpy, sys
def leave():
    lines = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    open("peak", "a").write(lines[0].split()[1] + "\\n")
atexit.register(leave)
sys.argv = sys.argv[1:]
if sys.argv:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    import mergekit.scripts.extract_lora
"""


def _program(python: str, folder: Path, arguments: Sequence[str]) -> float:
    """Seconds of one of mergekit's programs, from its start to its end; none: only its imports."""
    began = time.perf_counter()
    done = subprocess.run(
        [python, "-c", _RUN, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"mergekit: {done.stderr[-2000:]}")
    return time.perf_counter() - began


def _read(folder: Path) -> dict[str, LoraFactors]:
    """An extracted adapter, with the scaling of its configuration."""
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    tensors = load_file(folder / "adapter_model.safetensors")
    scaling = config["lora_alpha"] / config["r"]
    found = {}
    for key, a in tensors.items():
        if key.endswith(".lora_A.weight"):
            b = tensors[key.replace(".lora_A.", ".lora_B.")]
            path = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            found[path] = LoraFactors(a.float(), b.float(), scaling)
    return found


def peak_gib() -> float:
    """Most memory that this process has had, in GiB.

    Of Linux's two figures the one that a new program begins at zero: `ru_maxrss` begins with what
    the process that started it had.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = [x for x in status.read_text("utf-8").splitlines() if x.startswith("VmHWM")]
        return int(lines[0].split()[1]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS counts bytes
