"""The generated table of docs/pool.md: `python -m tests.pool_tables` rewrites it."""

from __future__ import annotations

import sys

from benchmarks.pages import rewrite
from experts.recipes import load_recipe
from tests.readme_tables import ROOT, _table

__all__ = ["PAGE", "TABLES", "recipes_table"]

PAGE = ROOT / "docs" / "pool.md"


def recipes_table() -> str:
    """One row a recipe of the bundled pool: its own corpora, and how many types they have."""
    rows = []
    for path in sorted((ROOT / "assets" / "recipes").glob("*.toml")):
        plan = load_recipe(path)
        own = [corpus for corpus in plan.data if corpus.role == "domain"]
        names = sum(len(names) for corpus in own for names in corpus.types.values())
        rows.append(
            [
                f"[`{plan.name}`](../assets/recipes/{path.name})",
                plan.description,
                "; ".join(f"{corpus.corpus} ({corpus.licence})" for corpus in own),
                " + ".join(str(len(corpus.types)) for corpus in own),
                str(names),
                f"{plan.sentences:,}",
            ]
        )
    head = ["expert", "reads", "own corpora (licence)", "types", "names", "sentences"]
    return _table(head, rows)


TABLES = {"recipes": recipes_table}


def main() -> int:
    """Rewrite the table in place."""
    rewrite(PAGE, {name: table() for name, table in TABLES.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
