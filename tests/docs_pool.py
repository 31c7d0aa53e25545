"""The generated tables of docs/pool.md, from what `benchmarks.sam` has measured."""

from __future__ import annotations

import json
import sys

from benchmarks.sam_report import TABLES, tables, write_docs
from tests.readme_tables import ROOT

__all__ = ["PAGE", "RESULTS", "TABLES", "main", "measured_tables"]

PAGE = ROOT / "docs" / "pool.md"
RESULTS = ROOT / "benchmarks" / "results" / "sam.json"


def measured_tables() -> dict[str, str]:
    """Every table by the name of its block."""
    return tables(json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {})


def main() -> int:
    """Rewrite the tables in place."""
    write_docs(PAGE, json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
