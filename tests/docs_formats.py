"""The generated table of docs/formats.md, from the registry of export formats."""

from __future__ import annotations

import sys

from benchmarks.pages import rewrite
from tests.readme_tables import ROOT, _table

__all__ = ["PAGE", "TABLES", "formats_table", "main"]

PAGE = ROOT / "docs" / "formats.md"


def formats_table() -> str:
    """One row a format, from its declaration."""
    from experts.export.formats import formats

    rows = [
        [
            f"`{fmt.key}`",
            fmt.title,
            f"`{fmt.ending}`",
            fmt.opens,
            fmt.cannot or "nothing is lost",
            f"`sam-ui[{fmt.extra}]`" if fmt.extra else "",
        ]
        for fmt in formats()
    ]
    return _table(["key", "format", "file", "for", "cannot hold", "needs"], rows)


TABLES = {"formats": formats_table}


def main() -> int:
    """Rewrite the table in place."""
    rewrite(PAGE, {name: table() for name, table in TABLES.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
