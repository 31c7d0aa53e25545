"""Seconds, memory and error of merges: ours, PEFT's, mergekit's and KnOTS', side by side.

    python -m benchmarks.merging [--shapes embedded 8b 70b] [--device cpu] [--only sam peft:svd …]
                                 [--mergekit PYTHON] [--layers N] [--again] [--out FILE]

Five experts of rank 16 with the exact shapes of a model's linear layers are filled with random
numbers; the time of a merge does not depend on what is in them. Each way runs in a process of its
own, so that its peak memory is its own. Rows that the file has already, from this machine, are not
run again unless asked. What cannot be run on a whole model is run on a part and scaled; `run_on`
says on which. 70B is arithmetic.

Of each row: `seconds` for the whole model and `seconds_run` as run; `error`, ‖result − ΣwᵢΔWᵢ‖ over
‖ΣwᵢΔWᵢ‖; `over_optimum`, the same over the least that the rank allows (Eckart–Young; 1 is best),
both on the first layer and only where the way means to give that sum; `peak_gib` of the process and
`added_gib`, what the merge added to it; `share_of_limit`: the experts' bytes read and the result's
written at this machine's copy bandwidth, over `seconds`. For a figure worth telling, let the
machine do nothing else. `--mergekit` is the interpreter of an environment that has mergekit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.merging_rivals import PEFT_TYPES, knots, mergekit, peak_gib, peft_way, timed
from benchmarks.merging_shapes import (
    EXPERTS,
    LAYERS,
    RANK,
    SHAPES,
    errors,
    modules_of,
    moved_bytes,
    qr_work,
    random_experts,
    svd_work,
)
from experts.merging.adapters import Adapter, load_adapter, save_adapter
from experts.merging.merge import merge
from experts.merging.recipe import Recipe, RecipeExpert
from experts.merging.registry import get_method, methods

H100 = (67e12, 3.35e12)  # float32 operations and bytes a second, as its data sheet has them
DENSE_LAYERS = {"embedded": 18, "8b": 1}  # of our ways that look at every entry
RIVAL_LAYERS = {"embedded": 6, "8b": 1}
REPEATS = 5


def ways(shapes: str, mergekit_python: str) -> list[str]:
    """Keys of all rows: ``who:what@rank``."""
    ours = [f"sam:{m.key}@{RANK}" for m in methods() if m.needs == "none"]
    ours[1:1] = ["sam:linear@all", f"sam:files@{RANK}"]
    if shapes == "embedded":
        ours.insert(3, "sam:live")
    rivals = [f"peft:{kind}" for kind in PEFT_TYPES] + ["knots:svd"]
    return ours + rivals + (["mergekit:linear"] if mergekit_python else [])


# ---- ours -----------------------------------------------------------------------------------


def ours(key: str, shapes: str, layers: int | None, device: str, repeats: int) -> dict[str, Any]:
    """One of our methods; linear also from files (bfloat16, in the page cache), checks included."""
    name, _, wanted = key.partition("@")
    rank = None if wanted == "all" else RANK
    method = "linear" if name == "files" else name
    exact = get_method(method).exact
    count = layers or (LAYERS[shapes] if exact else DENSE_LAYERS[shapes])
    experts = random_experts(shapes, count, device=device)
    before = peak_gib()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    if name == "files":
        seconds, merged = _from_files(experts, rank, device, repeats)
    else:
        seconds, merged = timed(lambda: _merged(method, experts, rank, device), repeats, device)
    row = {
        "seconds_run": seconds, "seconds": seconds * LAYERS[shapes] / count, "before": before,
        "rank": merged.rank,
        "run_on": "all" if count == LAYERS[shapes]
        else f"{count} of {LAYERS[shapes]} layers, scaled",
    }  # fmt: skip
    if name == "linear":
        first = dict(list(merged.modules.items())[: len(SHAPES[shapes])])
        row["error"], row["over_optimum"] = errors(experts, first)
    return row


def _merged(method: str, experts: list[Adapter], rank: int | None, device: str) -> Adapter:
    recipe = Recipe(
        experts=[RecipeExpert(name=e.name, weight=1 / len(experts)) for e in experts],
        method=method,
        rank=rank,
        base_model="random",
    )
    return merge(recipe, experts, device=device).adapter


def _from_files(
    experts: list[Adapter], rank: int | None, device: str, repeats: int
) -> tuple[float, Adapter]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / expert.name for expert in experts]
        for expert, path in zip(experts, paths, strict=True):
            save_adapter(expert, path)

        def run() -> Adapter:
            loaded = [load_adapter(path, name=path.name) for path in paths]
            return _merged("linear", loaded, rank, device)

        return timed(run, repeats, device)


def live(shapes: str, device: str) -> dict[str, Any]:
    """A change of live weights: `LiveMerge.weigh`, and what the next pass does because of it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from experts.base import BaseModel
    from experts.merging.live import LiveMerge
    from tests.unit.tiny import byte_level_tokenizer

    tokenizer = byte_level_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=640, intermediate_size=2048, head_dim=256,
        num_hidden_layers=LAYERS[shapes], num_attention_heads=4, num_key_value_heads=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().to(device)
    experts = random_experts(shapes, LAYERS[shapes], device=device)
    loaded = LiveMerge(BaseModel("random", "random", model, tokenizer), experts)
    stack, before = loaded._stack, peak_gib()
    owners = {owner for *_, owner in stack._stacks.values()}
    seconds = []
    for step in range(200):
        began = time.perf_counter()
        loaded.weigh({e.name: 0.2 + step / 1000 for e in experts})
        stack.weigh(list(loaded.weights.values()))
        for owner in owners:
            stack._gate(owner)
        seconds.append(time.perf_counter() - began)
    typical = statistics.median(seconds)
    return {"seconds_run": typical, "seconds": typical, "run_on": "all", "before": before,
            "rank": EXPERTS * RANK, "slowest": max(seconds)}  # fmt: skip


def measure(key: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row, in this process."""
    (shapes,) = options.shapes
    who, _, what = key.partition(":")
    layers = options.layers or RIVAL_LAYERS[shapes]
    if key == "sam:live":
        row = live(shapes, options.device)
    elif who == "sam":
        row = ours(what, shapes, options.layers, options.device, options.repeats)
    elif who == "peft":
        row = peft_way(what, shapes, layers, options.device)
    elif who == "knots":
        row = knots(shapes, options.device)
    else:
        row = mergekit(options.mergekit, shapes, layers, options.device)
    row.setdefault("peak_gib", peak_gib())
    if "before" in row:
        row["added_gib"] = row["peak_gib"] - row.pop("before")
    if options.device.startswith("cuda"):
        row["device_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return row


# ---- the machine ----------------------------------------------------------------------------


def machine(device: str) -> dict[str, Any]:
    """What the figures depend on."""
    import peft

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [x for x in info.read_text("utf-8").splitlines() if x.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    return {"device": device, "name": name, "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "torch": torch.__version__,
            "peft": peft.__version__}  # fmt: skip


def copy_bandwidth(device: str) -> float:
    """Bytes a second, read and written."""
    source = torch.ones(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timed(lambda: target.copy_(source), 2, device)
    return 2 * len(source) / timed(lambda: target.copy_(source), 7, device)[0]


def product_rate(device: str) -> float:
    """Float32 operations a second of a large matrix product."""
    side = torch.rand(2048, 2048, device=device)
    timed(lambda: side @ side, 2, device)
    return 2 * 2048**3 / timed(lambda: side @ side, 3, device)[0]


def arithmetic(shapes: str, rate: float, bandwidth: float) -> list[dict[str, Any]]:
    """The least that the operations and bytes of two ways take, at this machine's rates of large
    matrix products and of copying, and at an H100's. No SVD runs at the rate of products.
    """
    layer = list(modules_of(shapes, 1))
    count = LAYERS[shapes]
    exact = sum(qr_work(*shape) for _, shape in layer) * count
    dense = count * sum(
        svd_work(o, i, full=True) + 2.0 * o * i * (RANK + 1) * EXPERTS for _, (o, i) in layer
    )
    # PEFT: each ΔW written and read, their sum written and read, U and V written, in float32.
    traffic = 4.0 * count * sum(2 * (EXPERTS + 1) * o * i + o * o + i * i for _, (o, i) in layer)
    rows = []
    for key, work, moved in (
        (f"sam:linear@{RANK}", exact, float(moved_bytes(shapes))),
        ("peft:svd", dense, traffic),
    ):
        here, there = work / rate + moved / bandwidth, work / H100[0] + moved / H100[1]
        rows.append({"way": key, "rank": RANK, "operations": work, "bytes": moved,
                     "seconds": here, "seconds_h100": there, "run_on": "arithmetic"})  # fmt: skip
    return rows


# ---- the run --------------------------------------------------------------------------------


def _run_one(key: str, shapes: str, options: argparse.Namespace) -> dict[str, Any]:
    """A row from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.merging", "--one", key, "--shapes", shapes,
               "--device", options.device, "--repeats", str(options.repeats)]  # fmt: skip
    command += ["--layers", str(options.layers)] if options.layers else []
    command += ["--mergekit", options.mergekit] if options.mergekit else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = {"way": key, **json.loads(done.stdout.splitlines()[-1])}
    return row


def _group(shapes: str, options: argparse.Namespace, results: dict[str, Any]) -> dict[str, Any]:
    """The results of one model on one device; begun anew if the machine or `--layers` differs."""
    here = machine(options.device) | {"layers": options.layers}
    name = f"{shapes}/{options.device.partition(':')[0]}"
    group: dict[str, Any] = results.get(name, {})
    if group.get("machine") != here:
        bandwidth, rate = copy_bandwidth(options.device), product_rate(options.device)
        group = results[name] = {
            "machine": here, "copy_gb_s": round(bandwidth / 1e9, 1),
            "product_gflops": round(rate / 1e9), "bytes": moved_bytes(shapes),
            "limit_seconds": moved_bytes(shapes) / bandwidth, "rows": [],
        }  # fmt: skip
    return group


def _write(results: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.5g}"))
    path.write_text(json.dumps(rounded, indent=1, ensure_ascii=False) + "\n", "utf-8")


def run_all(options: argparse.Namespace) -> None:
    """Every row that is wanted and not there yet; the file is written after each."""
    there = options.out.is_file()
    results: dict[str, Any] = json.loads(options.out.read_text("utf-8")) if there else {}
    for shapes in options.shapes:
        group = _group(shapes, options, results)
        if shapes == "70b":
            group["rows"] = arithmetic(
                shapes, group["product_gflops"] * 1e9, group["copy_gb_s"] * 1e9
            )
            print(json.dumps(group["rows"]), flush=True)
            _write(results, options.out)
            continue
        order = ways(shapes, options.mergekit)
        for key in order:
            known = any(row["way"] == key for row in group["rows"])
            chosen = not options.only or any(key.startswith(start) for start in options.only)
            if not chosen or (known and not options.again):
                continue
            row = _run_one(key, shapes, options)
            if key != "sam:live":  # which moves no experts
                row["share_of_limit"] = group["limit_seconds"] / row["seconds"]
            group["rows"] = [r for r in group["rows"] if r["way"] != key] + [row]
            rank = {way: place for place, way in enumerate(order)}
            group["rows"].sort(key=lambda r: rank.get(r["way"], len(rank)))
            print(shapes, json.dumps(row), flush=True)
            _write(results, options.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--layers", type=int, help="fewer layers than usual, to try the benchmark")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", help="beginnings of rows' keys, such as peft:svd")
    parser.add_argument("--again", action="store_true", help="also rows that the file has")
    parser.add_argument("--mergekit", default="", metavar="PYTHON")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/merging.json"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options)))
    else:
        run_all(options)


if __name__ == "__main__":
    main()
