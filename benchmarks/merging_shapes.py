"""What `benchmarks.merging` merges: shapes of models, random experts, errors, counts of work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from experts.merging.adapters import Adapter, LoraFactors

__all__ = [
    "EXPERTS", "LAYERS", "RANK", "SHAPES", "errors", "modules_of", "moved_bytes", "names_of_layer",
    "qr_work", "random_experts", "svd_work",
]  # fmt: skip

EXPERTS, RANK = 5, 16
Shape = tuple[int, int]


def _llama(hidden: int, inner: int, heads: int, keys: int) -> dict[str, Shape]:
    """The linear layers of one block: name → (out, in)."""
    return {
        "self_attn.q_proj": (heads, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, heads),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


SHAPES = {
    "embedded": _llama(640, 2048, 1024, 256),  # Gemma 3 270M
    "8b": _llama(4096, 14336, 4096, 1024),  # Llama 3.1 8B
    "70b": _llama(8192, 28672, 8192, 1024),  # Llama 3.1 70B
}
LAYERS = {"embedded": 18, "8b": 32, "70b": 80}


def names_of_layer(shapes: str, wanted: Sequence[str] = ()) -> dict[str, Shape]:
    """The modules of one block, or those of them whose names end in one of `wanted`."""
    return {
        name: shape
        for name, shape in SHAPES[shapes].items()
        if not wanted or name.rsplit(".", 1)[1] in wanted
    }


def modules_of(shapes: str, layers: int, wanted: Sequence[str] = ()) -> Iterator[tuple[str, Shape]]:
    for layer in range(layers):
        for name, shape in names_of_layer(shapes, wanted).items():
            yield f"model.layers.{layer}.{name}", shape


def random_experts(
    shapes: str, layers: int, wanted: Sequence[str] = (), device: str = "cpu"
) -> list[Adapter]:
    """Experts of full rank whose directions differ in strength, float32."""
    generator = torch.Generator().manual_seed(0)
    decay = torch.linspace(1, 0.1, RANK)[:, None]
    experts = []
    for number in range(EXPERTS):
        modules = {}
        for name, (out, into) in modules_of(shapes, layers, wanted):
            a = torch.randn(RANK, into, generator=generator) * decay / into**0.5
            b = torch.randn(out, RANK, generator=generator) / out**0.5
            modules[name] = LoraFactors(a, b, 1.0).to(device)
        experts.append(Adapter(f"e{number}", "random", modules))
    return experts


def errors(experts: Sequence[Adapter], found: dict[str, LoraFactors]) -> tuple[float, float | None]:
    """Of the plain mean Σ ΔWᵢ/n, over the modules that were found, in float64.

    Returns:
        ‖found − exact‖ / ‖exact‖, and ‖found − exact‖ over the least that the found rank allows
        (Eckart–Young); None where that rank can hold everything.
    """
    wrong = least = whole = 0.0
    for name, factors in found.items():
        parts = [(e.modules[name].b, e.modules[name].a / len(experts)) for e in experts]
        spectrum = _spectrum(parts)
        least += float(spectrum[factors.rank :].square().sum())
        whole += float(spectrum.square().sum())
        wrong += float(_spectrum([*parts, (-factors.scaling * factors.b, factors.a)]).norm()) ** 2
    over = (wrong / least) ** 0.5 if least > 1e-20 * whole else None
    return float((wrong / whole) ** 0.5), over


def _spectrum(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Singular values of Σ b @ a, from the core of two QRs."""
    b = torch.cat([b.cpu().double() for b, _ in parts], dim=1)
    a = torch.cat([a.cpu().double() for _, a in parts], dim=0)
    core = torch.linalg.qr(b)[1] @ torch.linalg.qr(a.T)[1].T
    values: Tensor = torch.linalg.svdvals(core)
    return values


def moved_bytes(shapes: str) -> int:
    """Every expert read once and a merged adapter of `RANK` written once, in float32."""
    numbers = sum(out + into for _, (out, into) in modules_of(shapes, LAYERS[shapes]))
    return 4 * RANK * numbers * (EXPERTS + 1)


def svd_work(rows: int, columns: int, *, full: bool) -> float:
    """Operations of a dense SVD with its vectors (Golub, Van Loan, Matrix Computations, R-SVD).

    Args:
        full: U and V square, not only as wide as the smaller side.
    """
    m, n = max(rows, columns), min(rows, columns)
    return 4.0 * m * m * n + 22.0 * n**3 if full else 6.0 * m * n * n + 20.0 * n**3


def qr_work(rows: int, columns: int) -> float:
    """Operations of the exact factored merge of one layer, at most: two QRs with their Q (Gram
    matrices take half), a small SVD, and the products that make the merged factors.
    """
    total = EXPERTS * RANK
    return (
        4.0 * (rows + columns) * total**2
        + 26.0 * total**3
        + 2.0 * (rows + columns) * total * (RANK)
    )
