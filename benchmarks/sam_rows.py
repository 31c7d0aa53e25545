"""The rows of `benchmarks.sam` as data: a name, a group, and how the adapter is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

from benchmarks.sam_probes import PROBES
from experts.errors import SamError

__all__ = [
    "ABLATIONS",
    "BARE_ROW",
    "CORE",
    "GENERALIST",
    "GROUPS",
    "LEAVE_ONE_OUT",
    "SIZES",
    "Best",
    "How",
    "One",
    "Row",
    "Select",
    "Uniform",
    "all_rows",
    "chosen_rows",
]

GENERALIST = "generalist"
SIZES = (5, 10, 20, 50)


@dataclass(frozen=True)
class One:
    """One adapter: an expert by name, or the bare base model (None)."""

    expert: str | None


@dataclass(frozen=True)
class Best:
    """The one expert that is best by a criterion; "gold" sees the answers (an oracle)."""

    by: Literal["similarity", "probe", "gold"]
    generalist: bool = False


@dataclass(frozen=True)
class Uniform:
    """All experts with the same weight."""

    generalist: bool = False


@dataclass(frozen=True)
class Select:
    """What SaM recommends, by `Engine.match`; what is None is the product's default.

    Attributes:
        criterion: which part of the recommendation is merged; "dual" unites the answers of two
            merges.
        generalist: whether it is one of the pool.
        k: experts by each criterion.
        samples: sentences of the probe.
        labels: whether the probe knows the true entities of its sentences.
        votes: key of `benchmarks.sam_probes.PROBES` in place of the product's pseudo-labels.
        weights: of the selected experts; "similarity" and "probe": softmax of that score.
        method: of the merge.
        pool: so many experts only, the first of a seeded order.
        without: an expert that is not in the pool.
    """

    criterion: Literal["single", "dual", "similarity", "probe"] = "single"
    generalist: bool = False
    k: int | None = None
    samples: int | None = None
    labels: bool = False
    votes: str = ""
    weights: Literal["uniform", "similarity", "probe"] = "uniform"
    method: str = "linear"
    pool: int | None = None
    order: int = 0
    without: str | None = None


How = One | Best | Uniform | Select


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        group: what it belongs to, see `GROUPS`.
        seeded: whether it depends on the seed of the sampling and is run for each; otherwise seed 0.
    """

    name: str
    group: str
    how: How
    seeded: bool = False


BARE_ROW = Row("bare base model", "core", One(None))

CORE = (
    BARE_ROW,
    Row("generalist", "core", One(GENERALIST)),
    Row("best expert by similarity", "core", Best("similarity")),
    Row("best expert by probe", "core", Best("probe"), seeded=True),
    Row("oracle: best expert by gold", "core", Best("gold")),
    Row("uniform merge of all experts", "core", Uniform()),
    Row("SaM single", "core", Select(), seeded=True),
    Row("SaM dual", "core", Select("dual"), seeded=True),
)

WITH_GENERALIST = (
    Row("best by similarity, generalist in the pool", "generalist", Best("similarity", True)),
    Row("best by probe, generalist in the pool", "generalist", Best("probe", True), seeded=True),
    Row("oracle, generalist in the pool", "generalist", Best("gold", True)),
    Row("uniform merge, generalist in the pool", "generalist", Uniform(True)),
    Row("SaM single, generalist in the pool", "generalist", Select(generalist=True), seeded=True),
    Row(
        "SaM dual, generalist in the pool",
        "generalist",
        Select("dual", generalist=True),
        seeded=True,
    ),
)

ABLATIONS = (
    Row("similarity only", "criterion", Select("similarity")),
    Row("probe only", "criterion", Select("probe"), seeded=True),
    *(Row(f"k = {k}", "k", Select(k=k), seeded=True) for k in range(1, 6)),
    *(Row(f"n = {n}", "n", Select(samples=n), seeded=True) for n in SIZES),
    Row("probe against gold", "labels", Select(labels=True), seeded=True),
    *(Row(f"votes: {v}", "votes", Select(votes=v), seeded=True) for v in PROBES),
    Row("weights: softmax of similarity", "weights", Select(weights="similarity"), seeded=True),
    Row("weights: softmax of probe F1", "weights", Select(weights="probe"), seeded=True),
)

GROUPS = {
    "core": "the main comparison",
    "generalist": "the same with the generalist in the pool",
    "single": "every expert alone",
    "criterion": "one criterion only",
    "k": "experts by each criterion",
    "n": "sampled sentences",
    "labels": "gold in place of pseudo-labels",
    "votes": "other ways to count what experts found in the sample",
    "weights": "weights by score",
    "method": "merge methods",
    "growth": "experts added one at a time",
    "removal": "experts removed one at a time",
    "ranks": "whether similarity and probe rank experts as gold does",
}
"""What `--only` takes beside names of rows."""

LEAVE_ONE_OUT = ("core", "single", "generalist", "ranks")
"""Groups that are run by default where an expert's own domain is the target."""


def all_rows(
    experts: Sequence[str], *, generalist: bool, methods: Sequence[str], orders: int = 1
) -> list[Row]:
    """Every row for a pool.

    Args:
        experts: names, without the generalist's.
        generalist: whether there is one.
        methods: keys of merge methods that need nothing, or scores only.
        orders: seeded orders in which the pool grows.
    """
    rows = [*CORE]
    rows += [Row(name, "single", One(name)) for name in experts]
    rows += [*WITH_GENERALIST, *ABLATIONS]
    rows += [Row(f"method: {key}", "method", Select(method=key)) for key in methods]
    for order in range(orders):
        rows += [
            Row(f"pool of {size} (order {order})", "growth", Select(pool=size, order=order))
            for size in range(1, len(experts) + 1)
        ]
    rows += [Row(f"without {name}", "removal", Select(without=name)) for name in experts]
    return rows if generalist else [row for row in rows if not needs_generalist(row)]


def needs_generalist(row: Row) -> bool:
    """Whether there is no such row without a generalist."""
    return row.how == One(GENERALIST) or getattr(row.how, "generalist", False)


def chosen_rows(rows: Iterable[Row], only: Sequence[str] | None) -> list[Row]:
    """The rows of the named groups, and those whose names fit (``SaM*``).

    Raises:
        SamError: a name that fits nothing.
    """
    listed = list(rows)
    if only is None:
        return listed
    for name in only:
        fits = name in GROUPS or any(fnmatch(row.name, name) for row in listed)
        if not fits:
            raise SamError(f"{name!r} is no row and no group.", f"Groups: {', '.join(GROUPS)}.")
    return [
        row for row in listed if row.group in only or any(fnmatch(row.name, name) for name in only)
    ]
