"""The generated tables of docs/merging.md: `python -m tests.docs_tables` rewrites them.

The tables of measured laws are rewritten by ``benchmarks/peft_laws.py --docs docs/merging.md``.
"""

from __future__ import annotations

import sys

from tests.readme_tables import ROOT, _table, fill

__all__ = ["PAGE", "TABLES", "laws_table", "methods_table"]

PAGE = ROOT / "docs" / "merging.md"

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


TABLES = {"methods": methods_table, "laws": laws_table}


def main() -> int:
    """Rewrite the tables in place."""
    text = PAGE.read_text("utf-8")
    for name, table in TABLES.items():
        text = fill(text, name, table())
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
