"""How well experts go together, told from their factors alone: no update is ever formed densely.

For two experts i and j of one layer, ΔW = B·A with the scaling folded in (out×r times r×in):

- cosine: ⟨ΔWᵢ, ΔWⱼ⟩ = tr((BᵢᵀBⱼ)(AⱼAᵢᵀ)), from two small Gram matrices of all experts at once;
- overlap: the mean squared cosine of the principal angles between their column spaces, and between
  their row spaces, each direction weighted by its energy (Björck, Golub 1973); random directions of
  rank r in d dimensions have about r/d;
- conflict: in how many of the entries that both change noticeably (by at least the root mean square
  of their own changes in the layer) they have opposite signs; experts that know nothing of each
  other have about one half. Estimated on seeded samples of rows × columns;
- truncation: which share of ‖Σ wᵢΔWᵢ‖² the best adapter of a rank keeps, exact from the singular
  values of the R×R core.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experts.errors import Cancelled, SamError
from experts.merging.adapters import Adapter, LoraFactors
from experts.merging.compatibility_words import pair_words, rank_words
from experts.merging.conflict import Counts, count_conflicts
from experts.merging.spectra import svd_of_expert

__all__ = ["RANKS", "Compatibility", "ModuleCompatibility", "compare"]

RANKS = (4, 8, 16, 32, 64)
"""Ranks for which the truncation loss is predicted."""

Progress = Callable[[int, int, str], None]
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ModuleCompatibility:
    """One layer. Matrices are n×n and symmetric, in the order of the experts.

    Attributes:
        cosine: in [-1, 1]; 0 where one of the two leaves the layer alone.
        overlap: in [0, 1].
        conflict: in [0, 1]; nan where there is no entry that both change noticeably.
        conflict_error: its standard error; 0 where every entry was looked at.
        retained: rank → share of the weighted sum's energy that this rank keeps, in [0, 1].
    """

    cosine: Matrix
    overlap: Matrix
    conflict: Matrix
    conflict_error: Matrix
    retained: dict[int, float]


@dataclass(frozen=True)
class Compatibility(ModuleCompatibility):
    """All layers together: cosines and truncation of the whole update, overlap and conflicts as
    means over the layers, weighted by the two experts' strength and by size.

    Attributes:
        experts: their names.
        weights: of the weighted sum whose truncation is predicted.
        norms: ‖ΔWᵢ‖ (Frobenius) over all layers; a much stronger expert drowns the others.
        per_module: module path → the same of one layer.
    """

    experts: tuple[str, ...]
    weights: tuple[float, ...]
    norms: tuple[float, ...]
    per_module: dict[str, ModuleCompatibility]

    def pair_sentences(self, titles: Mapping[str, str] | None = None) -> dict[tuple[int, int], str]:
        """(i, j), i < j → what the numbers of this pair mean, for a person."""
        shown = [(titles or {}).get(name, name) for name in self.experts]
        return {
            (i, j): pair_words(
                shown[i], shown[j], cosine=self.cosine[i][j], overlap=self.overlap[i][j],
                conflict=self.conflict[i][j], error=self.conflict_error[i][j],
            )
            for i in range(len(shown))
            for j in range(i + 1, len(shown))
        }  # fmt: skip

    def rank_sentence(self, rank: int) -> str:
        """What an adapter of one of `RANKS` would keep, for a person."""
        return rank_words(rank, self.retained[rank])

    def to_dict(self, *, modules: bool = False) -> dict[str, object]:
        """Ready for JSON (nan becomes null); `modules` adds the layers."""
        document: dict[str, object] = {
            "experts": list(self.experts),
            "weights": list(self.weights),
            "norms": list(self.norms),
            **_plain(self),
            "pairs": [
                {"experts": [self.experts[i], self.experts[j]], "sentence": sentence}
                for (i, j), sentence in self.pair_sentences().items()
            ],
            "ranks": [
                {"rank": rank, "retained": share, "sentence": self.rank_sentence(rank)}
                for rank, share in self.retained.items()
            ],
        }
        if modules:
            document["modules"] = {
                name: {**_plain(module), "retained": module.retained}
                for name, module in self.per_module.items()
            }
        return document


def _plain(part: ModuleCompatibility) -> dict[str, object]:
    names = ("cosine", "overlap", "conflict", "conflict_error")
    return {
        name: [[None if math.isnan(value) else value for value in row] for row in matrix]
        for name, matrix in ((name, getattr(part, name)) for name in names)
    }


@dataclass(frozen=True)
class _Layer:
    """Raw numbers of one layer, float64, before they are put into proportion."""

    inner: Tensor  # (n, n): ⟨ΔWᵢ, ΔWⱼ⟩
    overlap: Tensor  # (n, n)
    counts: Counts
    spectrum: Tensor  # (k,), of the weighted sum


def compare(
    adapters: Sequence[Adapter],
    *,
    weights: Sequence[float] | None = None,
    ranks: Sequence[int] = RANKS,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Compatibility:
    """Compare experts with each other.

    Peak memory: a few copies of one layer's factors; nothing of the size out × in.

    Args:
        adapters: at least two, of one base model, names unique.
        weights: of the merge whose truncation is predicted; 1/n each by default.
        ranks: for the prediction of the truncation.
        seed: of the samples in which signs are compared.
        progress: called with (layers done, layers in all, name of the last one).
        cancelled: asked before every layer.

    Raises:
        SamError: fewer than two experts, a name twice, different base models or shapes.
        Cancelled: `cancelled` said so.
    """
    shares = [1 / len(adapters)] * len(adapters) if weights is None else list(weights)
    _check(adapters, shares)
    names = list(dict.fromkeys(name for adapter in adapters for name in adapter.modules))
    layers: dict[str, _Layer] = {}
    with torch.no_grad():
        for name in names:
            if cancelled is not None and cancelled():
                raise Cancelled
            members = [adapter.modules.get(name) for adapter in adapters]
            layers[name] = _layer(name, members, shares, seed)
            if progress is not None:
                progress(len(layers), len(names), name)
    whole = _put_together(list(layers.values()), ranks)
    inner = torch.stack([layer.inner for layer in layers.values()]).sum(0)
    return Compatibility(
        cosine=whole.cosine,
        overlap=whole.overlap,
        conflict=whole.conflict,
        conflict_error=whole.conflict_error,
        retained=whole.retained,
        experts=tuple(adapter.name for adapter in adapters),
        weights=tuple(shares),
        norms=tuple(inner.diagonal().clamp(min=0).sqrt().tolist()),
        per_module={name: _put_together([layer], ranks) for name, layer in layers.items()},
    )


def _check(adapters: Sequence[Adapter], weights: Sequence[float]) -> None:
    if len(adapters) < 2:
        raise SamError("There is nothing to compare.", "Name at least two experts.")
    if len(weights) != len(adapters):
        raise ValueError("one weight for each expert")
    shapes: dict[str, tuple[tuple[int, int], str]] = {}
    seen: set[str] = set()
    for adapter in adapters:
        if adapter.name in seen:
            raise SamError(f"The expert '{adapter.name}' is named twice.", "Name it once.")
        seen.add(adapter.name)
        if adapter.base_model != adapters[0].base_model:
            raise SamError(
                f"The experts '{adapters[0].name}' and '{adapter.name}' belong to different base "
                "models.",
                "Compare experts of one base model.",
            )
        for module, factors in adapter.modules.items():
            shape, other = shapes.setdefault(module, (factors.shape, adapter.name))
            if shape != factors.shape:
                raise SamError(
                    f"The experts '{other}' and '{adapter.name}' differ in the shape of {module}.",
                    "They belong to different base models; leave one of them out.",
                )
    if not shapes:
        raise SamError("The experts adapt no layer at all.", "Choose other experts.")


def _layer(
    name: str, members: Sequence[LoraFactors | None], weights: Sequence[float], seed: int
) -> _Layer:
    """All about one layer; an expert that leaves it alone has None.

    Each expert is first brought to U·diag(s)·Vᵀ: Gram matrices of orthonormal columns are well
    conditioned, and what the experts' factors look like does not matter.
    """
    n = len(members)
    present = [i for i, factors in enumerate(members) if factors is not None]
    factors = [members[i] for i in present]
    shape = next(f for f in factors if f is not None).shape
    spectra = [svd_of_expert(f) for f in factors if f is not None]
    u = torch.cat([left for left, _, _ in spectra], dim=1)
    s = torch.cat([sizes for _, sizes, _ in spectra])
    v = torch.cat([right for _, _, right in spectra]).T
    owner = torch.tensor(
        [i for i, (_, sizes, _) in zip(present, spectra, strict=True) for _ in range(len(sizes))],
        dtype=torch.int64,
    )
    columns, rows = u.T @ u, v.T @ v  # (R, R)
    inner = _blocks(columns * rows * s[:, None] * s, owner, n)
    inner = (inner + inner.T) / 2  # rounding must not tell (i, j) from (j, i)
    energy = inner.diagonal().clamp(min=0)
    part = s.square() / energy[owner].clamp(min=torch.finfo(s.dtype).tiny)  # sums to 1 an expert
    # Row k of the squared cosines, summed over j's directions: how much of k lies in j's space.
    inside = (columns.square() + rows.square()) / 2 * part[:, None]
    one_way = _blocks(inside, owner, n)
    weighted = s * torch.tensor(weights, dtype=s.dtype)[owner]
    return _Layer(
        inner=inner,
        overlap=((one_way + one_way.T) / 2).clamp(0.0, 1.0),
        counts=count_conflicts(
            u * s, v, owner, n, (energy / (shape[0] * shape[1])).sqrt(), _seed_of(seed, name)
        ),
        spectrum=_spectrum(u * weighted, v),
    )


def _blocks(matrix: Tensor, owner: Tensor, n: int) -> Tensor:
    """(R, R) → (n, n): the sum of each block of two experts."""
    member = torch.nn.functional.one_hot(owner, n).to(matrix.dtype)  # (R, n)
    return member.T @ matrix @ member


def _spectrum(left: Tensor, right: Tensor) -> Tensor:
    """Singular values of left @ right.T, descending, from the core of two QRs."""
    if left.shape[1] == 0:
        return left.new_zeros(0)
    core = torch.linalg.qr(left)[1] @ torch.linalg.qr(right)[1].T
    values: Tensor = torch.linalg.svdvals(core)
    return values


def _seed_of(seed: int, module: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{module}".encode()).digest()[:8], "little") >> 1


def _put_together(layers: Sequence[_Layer], ranks: Sequence[int]) -> ModuleCompatibility:
    inner = torch.stack([layer.inner for layer in layers])  # (modules, n, n)
    norms = inner.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    both = norms[:, :, None] * norms[:, None, :]
    tiny = torch.finfo(inner.dtype).tiny
    total = norms.square().sum(0).sqrt()
    cosine = inner.sum(0) / (total[:, None] * total).clamp(min=tiny)
    shared = torch.stack([layer.overlap for layer in layers])
    overlap = (shared * both).sum(0) / both.sum(0).clamp(min=tiny)
    rate, error = Counts.rate([layer.counts for layer in layers])
    energies = [layer.spectrum.square() for layer in layers]
    everything = sum(float(energy.sum()) for energy in energies)
    retained = {
        rank: sum(float(e[:rank].sum()) for e in energies) / everything if everything > 0 else 1.0
        for rank in ranks
    }
    return ModuleCompatibility(
        cosine=_matrix(cosine.clamp(-1.0, 1.0)),
        overlap=_matrix(overlap),
        conflict=_matrix(rate),
        conflict_error=_matrix(error),
        retained={rank: min(1.0, share) for rank, share in retained.items()},
    )


def _matrix(tensor: Tensor) -> Matrix:
    return tuple(tuple(row) for row in tensor.tolist())
