"""The generated tables of docs/merging.md: `python -m tests.docs_tables` rewrites them.

The tables of measured laws are rewritten by ``benchmarks/peft_laws.py --docs docs/merging.md``; the
table of costs is made from what ``benchmarks/merging.py`` has measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages import rewrite
from tests.readme_tables import ROOT, _table

__all__ = ["COSTS", "PAGE", "TABLES", "costs_table", "laws_table", "methods_table", "quality_table"]

PAGE = ROOT / "docs" / "merging.md"
COSTS = ROOT / "benchmarks" / "results" / "merging.json"
QUALITY = ROOT / "benchmarks" / "results" / "merging_quality.json"

_NEEDS = {"none": "", "scores": "a match's scores"}


def methods_table() -> str:
    """One row a merge method, from its declaration."""
    from experts.merging.registry import methods

    rows = [
        [
            f"`{m.key}`",
            m.name,
            m.summary,
            "yes" if m.exact else "",
            _NEEDS.get(m.needs, m.needs),
            ", ".join(f"`{p.name}={p.default}`" for p in m.parameters),
            m.paper,
        ]
        for m in methods()
    ]
    return _table(["key", "name", "what it does", "exact", "needs", "parameters", "paper"], rows)


def laws_table() -> str:
    """One row a law."""
    from tests.unit.laws import LAWS

    return _table(["law", "what it says"], [[law.title, law.meaning] for law in LAWS])


MODELS = {"embedded": "embedded base (Gemma 3 270M)", "8b": "8B Llama", "70b": "70B Llama"}
_WHO = {"sam": "SaM", "peft": "PEFT", "knots": "KnOTS", "mergekit": "mergekit"}
_WHAT = {
    "sam:files": "`linear`, read from files",
    "sam:live": "live weights, one change",
    "knots:svd": "SVD of [ΔW₁ … ΔWₙ], fp64",
    "mergekit:linear": "`linear`, then `extract-lora`",
}


def costs_table(path: Path = COSTS) -> str:
    """One table for each model and device that was measured; says so where none was."""
    if not path.is_file():
        return "Not measured yet."
    results = json.loads(path.read_text("utf-8"))
    return "\n\n".join(_costs_of(name, group) for name, group in sorted(results.items(), key=_size))


def _size(item: tuple[str, Any]) -> tuple[int, str]:
    shapes, _, device = item[0].partition("/")
    return list(MODELS).index(shapes), device


def _costs_of(name: str, group: Mapping[str, Any]) -> str:
    shapes = name.partition("/")[0]
    machine = group["machine"]
    where = (
        f"{machine['name']}, {machine['cores']} cores, PyTorch {machine['torch']}, "
        f"PEFT {machine['peft']}; copies {group['copy_gb_s']:.1f} GB/s"
    )
    if machine["device"] == "cpu":
        where += f", {machine['threads']} threads"
    if shapes == "70b":
        head = ["way", "operations", "bytes", "here, at best", "H100, at best"]
        rows = [
            [
                _way(row), f"{row['operations'] / 1e12:.3g}·10¹²", f"{row['bytes'] / 1e9:.3g}·10⁹",
                _seconds(row["seconds"]), _seconds(row["seconds_h100"]),
            ]
            for row in group["rows"]
        ]  # fmt: skip
        return f"**{MODELS[shapes]}**, by arithmetic. {where}.\n\n{_table(head, rows)}"
    head = ["way", "rank", "time", "memory", "error", "of the least", "of the limit", "run on"]
    rows = [_cost(row) for row in group["rows"]]
    limit = f"limit {_seconds(group['limit_seconds'])}"
    return f"**{MODELS[shapes]}**. {where}; {limit}.\n\n{_table(head, rows)}"


def _cost(row: Mapping[str, Any]) -> list[str]:
    memory = row.get("device_gib", row["peak_gib"])
    error, over, share = (row.get(key) for key in ("error", "over_optimum", "share_of_limit"))
    return [
        _way(row),
        str(row["rank"]),
        ("" if row["run_on"] == "all" else "≈ ") + _seconds(row["seconds"]),
        f"{memory:.1f} GiB",
        "" if error is None else "0" if error < 1e-5 else f"{error:.3f}",
        "" if over is None else f"×{over:.3f}",
        "" if share is None else f"{100 * share:.2g} %" if share >= 1e-4 else "< 0.01 %",
        row["run_on"],
    ]


def _way(row: Mapping[str, Any]) -> str:
    key = row["way"].partition("@")[0]
    who, _, what = key.partition(":")
    return f"{_WHO[who]} {_WHAT.get(key, f'`{what}`')}"


def _seconds(value: float) -> str:
    if value < 1:
        return f"{1000 * value:.2g} ms" if value < 0.1 else f"{1000 * value:.0f} ms"
    if value < 7200:
        return f"{value:.3g} s" if value < 300 else f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h"


def quality_table(path: Path = QUALITY) -> str:
    """F1 with its interval of every method and expert on each target, the best mean first."""
    if not path.is_file():
        return "Not measured yet."
    results = json.loads(path.read_text("utf-8"))
    names = {name for target in results.values() for name in target["rows"]}

    def mean(name: str) -> float:
        return sum(t["rows"].get(name, {}).get("f1", 0.0) for t in results.values()) / len(results)

    def cell(row: Mapping[str, Any] | None) -> str:
        return f"{row['f1']:.3f} ({row['low']:.3f}–{row['high']:.3f})" if row else ""

    rows = []
    for name in sorted(names, key=lambda name: (-mean(name), name)):
        told = [target["rows"].get(name) for target in results.values()]
        seconds = max(row["seconds"] for row in told if row)
        merges = "" if name.startswith("expert ") else f"{seconds:.1f} s"
        shown = name if name.startswith("expert ") else f"`{name}`"
        rows.append([shown, *map(cell, told), f"{mean(name):.3f}" if all(told) else "", merges])
    return _table(["", *(f"{n}, F1" for n in results), "mean", "merging took"], rows)


TABLES = {
    "methods": methods_table,
    "laws": laws_table,
    "costs": costs_table,
    "quality": quality_table,
}


def main() -> int:
    """Rewrite the tables in place."""
    rewrite(PAGE, {name: table() for name, table in TABLES.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
