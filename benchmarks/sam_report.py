"""Markdown tables of what `benchmarks.sam` has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.pages import rewrite

__all__ = ["NOT_YET", "TABLES", "tables", "write_docs"]

NOT_YET = "*Not measured yet.*"

Record = Mapping[str, Any]
Targets = dict[str, Record]

_ABLATIONS = ("criterion", "k", "n", "labels", "votes", "weights", "method", "removal")
_LEFT_OUT = {
    "generalist": "generalist",
    "best expert by similarity": "best by similarity",
    "best expert by probe": "best by probe",
    "oracle: best expert by gold": "oracle best",
    "uniform merge of all experts": "uniform",
    "SaM single": "SaM single",
    "SaM dual": "SaM dual",
    "SaM single, generalist in the pool": "SaM single + generalist",
}
_AGAINST = {
    "generalist": "the generalist",
    "best expert by similarity": "the best expert by similarity",
    "best expert by probe": "the best expert by probe",
    "oracle: best expert by gold": "the best expert by gold",
    "uniform merge of all experts": "all experts merged",
}


def targets_table(results: Mapping[str, Any]) -> str:
    """The main comparison: a row a way, a column a target."""
    return _by_rows(_targets(results, left_out=False), ("core", "generalist", "single"))


def ablations_table(results: Mapping[str, Any]) -> str:
    """One thing changed at a time."""
    named = _targets(results, left_out=False)
    return _by_rows(named, _ABLATIONS, first=("SaM single",))


def growth_table(results: Mapping[str, Any]) -> str:
    """F1 as the pool grows, beside the best expert by gold of the same pool."""
    named = _targets(results, left_out=False)
    names = _row_names(named, ("growth",))
    if not names:
        return NOT_YET
    head = ["", *(f"{name}: {what}" for name in named for what in ("SaM", "oracle best expert"))]
    rows = []
    for name in names:
        cells = [name]
        for record in named.values():
            row = record["rows"].get(name)
            alone = [record["rows"].get(expert) for expert in (row or {}).get("pool", ())]
            best = [single["f1"] for single in alone if single and _known(single)]
            whole = bool(best) and len(best) == len(alone)
            cells += [_f1(row), f"{max(best):.3f}" if whole else ""]
        rows.append(cells)
    return _table(head, rows)


def leave_one_out_table(results: Mapping[str, Any]) -> str:
    """One row a target, the experts of its domain left out; the last row is the mean."""
    named = _targets(results, left_out=True)
    columns = [row for row in _LEFT_OUT if any(row in r["rows"] for r in named.values())]
    if not named or not columns:
        return NOT_YET
    rows = []
    for name, record in named.items():
        seen = len(record["mixed"])
        title = f"{name}{f' ({seen} experts have read a share of it)' if seen else ''}"
        rows.append([title, *(_f1(record["rows"].get(row)) for row in columns)])
    full = [r["rows"] for r in named.values() if all(_known(r["rows"].get(c)) for c in columns)]
    if full:
        means = [f"**{fmean(r[c]['f1'] for r in full):.3f}**" for c in columns]
        rows.append([f"**mean of {len(full)}**", *means])
    return _table(["target", *(_LEFT_OUT[row] for row in columns)], rows)


def claims_table(results: Mapping[str, Any]) -> str:
    """F1 of SaM's default against each baseline, over the targets that have both."""
    rows = []
    for left_out, title in ((False, "targets"), (True, "leave-one-out")):
        named = _targets(results, left_out=left_out)
        for baseline, words in _AGAINST.items():
            for ours in ("SaM single", "SaM dual"):
                pairs = [
                    (r["rows"][ours]["f1"], r["rows"][baseline]["f1"])
                    for r in named.values()
                    if _known(r["rows"].get(ours)) and _known(r["rows"].get(baseline))
                ]
                if pairs:
                    rows.append([title, ours, words, *_compared(pairs)])
    head = ["over", "", "against", "ratio of mean F1", "mean difference", "at least as good"]
    return _table(head, rows) if rows else NOT_YET


def _compared(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """Ratio of the means; mean difference with its interval over targets; how often the first wins.

    The interval is a 95 % percentile bootstrap that resamples targets; of fewer than five there is
    none.
    """
    mine, theirs = np.asarray(pairs).T
    ratio = f"{mine.mean() / theirs.mean():.2f}" if theirs.any() else ""
    difference = f"{(mine - theirs).mean():+.3f}"
    if len(pairs) >= 5:
        drawn = np.random.default_rng(0).integers(len(pairs), size=(2000, len(pairs)))
        low, high = np.quantile((mine - theirs)[drawn].mean(1), [0.025, 0.975])
        difference += f" ({low:+.3f} to {high:+.3f})"
    return [ratio, difference, f"{int((mine >= theirs).sum())} of {len(pairs)}"]


def ranks_table(results: Mapping[str, Any]) -> str:
    """Spearman of every score with gold F1: a row a score, a column a target, and the mean."""
    named = {n: r for n, r in results.get("targets", {}).items() if r.get("ranks")}
    titles = dict.fromkeys(t for r in named.values() for t in r["ranks"]["spearman"])
    if not titles:
        return NOT_YET
    rows = []
    for title in titles:
        values = [record["ranks"]["spearman"].get(title) for record in named.values()]
        told = [value for value in values if value is not None]
        mean = f"**{fmean(told):.2f}**" if told else ""
        rows.append([title, *("" if v is None else f"{v:.2f}" for v in values), mean])
    return _table(["score", *named, "mean"], rows)


TABLES = {
    "pool-targets": targets_table,
    "pool-claims": claims_table,
    "pool-leave-one-out": leave_one_out_table,
    "pool-ablations": ablations_table,
    "pool-growth": growth_table,
    "pool-ranks": ranks_table,
}
"""Name of the block in docs/pool.md → its table."""


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Every table, by the name of its block."""
    return {name: table(results) for name, table in TABLES.items()}


def write_docs(page: Path, results: Mapping[str, Any]) -> None:
    """Rewrite the tables in their blocks of a page; raises as `rewrite`."""
    rewrite(page, tables(results))


def _targets(results: Mapping[str, Any], *, left_out: bool) -> Targets:
    found = results.get("targets", {})
    return {n: r for n, r in found.items() if r.get("rows") and bool(r["left_out"]) == left_out}


def _row_names(named: Targets, groups: Sequence[str], first: Sequence[str] = ()) -> list[str]:
    """Names of the rows of some groups, in the order of the groups, then as they were made."""
    found = {
        name: row["group"] for record in named.values() for name, row in record["rows"].items()
    }
    of_groups = [name for group in groups for name, its in found.items() if its == group]
    return [*(name for name in first if of_groups and name in found), *of_groups]


def _by_rows(named: Targets, groups: Sequence[str], first: Sequence[str] = ()) -> str:
    names = _row_names(named, groups, first)
    if not names:
        return NOT_YET
    rows = []
    for name in names:
        found = [record["rows"].get(name) for record in named.values()]
        seconds = [sum(row["seconds"].values()) for row in found if row and _known(row)]
        spent = f"{fmean(seconds):.0f}" if seconds else ""
        rows.append([name, *(_f1(row, interval=True) for row in found), spent])
    return _table(["", *named, "seconds"], rows)


def _known(row: Mapping[str, Any] | None) -> bool:
    return row is not None and "f1" in row


def _f1(row: Mapping[str, Any] | None, *, interval: bool = False) -> str:
    if row is None:
        return ""
    if "f1" not in row:
        return "refused"
    text = f"{row['f1']:.3f}"
    return f"{text} ({row['low']:.2f}–{row['high']:.2f})" if interval else text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
