"""Seconds, memory and error of merges: ours, PEFT's and the dense ways, side by side in one run.

    python -m benchmarks.merging [--shapes embedded|8b] [--layers N] [--only ours …] [--out FILE]

Experts are filled with random numbers, with the exact shapes of the model's linear layers; the time
of a merge does not depend on what is in them. `--layers` takes the first layers of the model only;
figures are then also given for the whole model, scaled by the layers and marked as such. Dense ways
are timed on some modules and scaled by their number. Error is ‖result − ΣwᵢΔWᵢ‖ over the least that
the rank allows (Eckart–Young), 1 at best. The limit is the experts' bytes read and the result's
written, at this machine's copy bandwidth.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.merge import merge
from experts.merging.recipe import Recipe, RecipeExpert
from experts.merging.registry import methods

EXPERTS, RANK = 5, 16
SHAPES: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {
    # layers, module → (out, in)
    "embedded": (
        18,
        {
            "self_attn.q_proj": (1024, 640),
            "self_attn.k_proj": (256, 640),
            "self_attn.v_proj": (256, 640),
            "self_attn.o_proj": (640, 1024),
            "mlp.gate_proj": (2048, 640),
            "mlp.up_proj": (2048, 640),
            "mlp.down_proj": (640, 2048),
        },
    ),
    "8b": (  # Llama 3.1 8B
        32,
        {
            "self_attn.q_proj": (4096, 4096),
            "self_attn.k_proj": (1024, 4096),
            "self_attn.v_proj": (1024, 4096),
            "self_attn.o_proj": (4096, 4096),
            "mlp.gate_proj": (14336, 4096),
            "mlp.up_proj": (14336, 4096),
            "mlp.down_proj": (4096, 14336),
        },
    ),
    "70b": (  # Llama 3.1 70B
        80,
        {
            "self_attn.q_proj": (8192, 8192),
            "self_attn.k_proj": (1024, 8192),
            "self_attn.v_proj": (1024, 8192),
            "self_attn.o_proj": (8192, 8192),
            "mlp.gate_proj": (28672, 8192),
            "mlp.up_proj": (28672, 8192),
            "mlp.down_proj": (8192, 28672),
        },
    ),
}


def modules_of(shapes: str, layers: int) -> Iterator[tuple[str, tuple[int, int]]]:
    for layer in range(layers):
        for name, shape in SHAPES[shapes][1].items():
            yield f"model.layers.{layer}.{name}", shape


def random_experts(shapes: str, layers: int) -> list[Adapter]:
    """LoRA experts of full rank whose updates overlap somewhat, as real ones do."""
    generator = torch.Generator().manual_seed(0)
    experts = []
    for number in range(EXPERTS):
        modules = {}
        for name, (out, into) in modules_of(shapes, layers):
            decay = torch.linspace(1, 0.1, RANK)
            a = torch.randn(RANK, into, generator=generator) * decay[:, None]
            modules[name] = LoraFactors(a, torch.randn(out, RANK, generator=generator), 1.0)
        experts.append(Adapter(f"e{number}", "random", modules))
    return experts


def timed(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds, and the last result."""
    seconds, result = [], None
    for _ in range(repeats):
        began = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), result


def ours(method: str, experts: list[Adapter], rank: int | None, device: str) -> Adapter:
    recipe = Recipe(
        experts=[RecipeExpert(name=e.name, weight=1 / len(experts)) for e in experts],
        method=method,
        rank=rank,
        base_model="random",
    )
    return merge(recipe, experts, device=device).adapter


def dense_svd(experts: list[Adapter], module: str, rank: int, dtype: torch.dtype) -> LoraFactors:
    """What PEFT's ``svd`` (float32) and the KnOTS code (float64) do a layer: ΔW whole, full SVD."""
    delta = sum(e.modules[module].delta().to(dtype) / len(experts) for e in experts)
    assert isinstance(delta, torch.Tensor)
    u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    return LoraFactors(vh[:rank].float(), (u[:, :rank] * s[:rank]).float(), 1.0)


def excess_error(experts: list[Adapter], module: str, found: LoraFactors, rank: int) -> float:
    """‖found − exact‖ over the least error of that rank, on one module, in float64."""
    exact = sum(e.modules[module].delta().double() / len(experts) for e in experts)
    assert isinstance(exact, torch.Tensor)
    tail = float(torch.linalg.svdvals(exact)[rank:].norm())
    error = float((found.delta().double() - exact).norm())
    return error / tail if tail else 1.0 + error


def copy_bandwidth() -> float:
    """Bytes a second, read and written."""
    source = torch.ones(1 << 28, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * len(source) / timed(lambda: target.copy_(source), 5)[0]


def bytes_moved(shapes: str, layers: int) -> int:
    """The experts read and the merged adapter written, in float32."""
    numbers = sum(out + into for _, (out, into) in modules_of(shapes, layers))
    return 4 * RANK * numbers * (EXPERTS + 1)


def dense_rows(experts: list[Adapter], shapes: str, layers: int) -> Iterator[dict[str, Any]]:
    """The dense ways, timed once for each shape and scaled."""
    ways = {"PEFT svd (dense, full SVD)": torch.float32, "KnOTS code (dense, fp64)": torch.float64}
    names = dict(modules_of(shapes, 1))
    for way, dtype in ways.items():
        seconds, error = 0.0, 1.0
        known: dict[tuple[int, int], float] = {}
        for module, shape in names.items():
            if shape not in known and tuple(reversed(shape)) not in known:
                known[shape], found = timed(
                    lambda m=module, d=dtype: dense_svd(experts, m, RANK, d), 1
                )
                if shape[0] * shape[1] < 5e6:
                    error = excess_error(experts, module, found, RANK)
            seconds += known.get(shape) or known[shape[1], shape[0]]
        yield {"way": way, "seconds": seconds * layers, "error": error, "scaled": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", choices=SHAPES, default="embedded")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--dense", action="store_true", help="time the dense ways, too (slow)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/merging.json"))
    options = parser.parse_args()
    layers = min(options.layers or SHAPES[options.shapes][0], SHAPES[options.shapes][0])
    whole = SHAPES[options.shapes][0]
    experts = random_experts(options.shapes, layers)
    limit = bytes_moved(options.shapes, whole) / copy_bandwidth()
    rows: list[dict[str, Any]] = []

    def report(row: dict[str, Any]) -> None:
        row["seconds"] = round(row["seconds"], 4)
        row["share_of_limit"] = round(limit / row["seconds"], 4)
        row["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
        rows.append(row)
        print(json.dumps(row), flush=True)

    small = min(modules_of(options.shapes, 1), key=lambda item: item[1][0] * item[1][1])[0]
    for method in methods():
        if method.needs != "none" or (options.only and method.key not in options.only):
            continue
        for rank in (RANK, None) if method.key == "linear" else (RANK,):
            seconds, merged = timed(
                lambda k=method.key, r=rank: ours(k, experts, r, options.device), options.repeats
            )
            error = None
            if method.key == "linear" and rank is not None:
                error = excess_error(experts, small, merged.modules[small], rank)
            report(
                {
                    "way": f"ours: {method.key}",
                    "rank": rank or "all",
                    "seconds": seconds * whole / layers,
                    "error": error,
                    "scaled": layers != whole,
                }
            )
    if options.dense:
        for row in dense_rows(experts, options.shapes, whole):
            report(row | {"rank": RANK})
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    results[options.shapes] = {"limit_seconds": round(limit, 4), "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
