"""The README's generated tables: settings and bundled experts. `make readme` rewrites them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.pages import rewrite

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def settings_table() -> str:
    """One row a field of `Settings`: variable, default, what it does."""
    from sam_ui.settings import Settings

    prefix = Settings.model_config.get("env_prefix", "")
    rows = []
    for name, field in Settings.model_fields.items():
        if field.default_factory is not None or isinstance(field.default, Path):
            default = "your system's"  # a folder that differs from computer to computer
        elif field.default in ("", None):
            default = ""
        else:
            default = f"`{field.default}`"
        rows.append([f"`{prefix}{name}`".upper(), default, field.description or ""])
    return _table(["variable", "default", "meaning"], rows)


def experts_table(pool: Path = ROOT / "assets" / "experts") -> str:
    """One row an expert of the bundled pool, from its card."""
    cards: list[dict[str, Any]] = [
        json.loads(path.read_text("utf-8")) for path in sorted(pool.glob("*/card.json"))
    ]
    rows = []
    for card in cards:
        types = [entry["name"] for entry in card["types"]]
        shown = ", ".join(types[:6]) + (f" and {len(types) - 6} more" if len(types) > 6 else "")
        data = "; ".join(dict.fromkeys(f"{d['name']} ({d['licence']})" for d in card["data"]))
        score = card.get("dev_f1")
        rows.append(
            [
                f"`{card['name']}`",
                card["domain"],
                shown,
                data,
                "" if score is None else f"{score:.2f}",
            ]
        )
    return _table(
        ["expert", "domain", "types it was asked", "trained on (licence)", "dev F1"], rows
    )


TABLES = {"settings": settings_table, "experts": experts_table}


def main() -> int:
    """Rewrite the tables in place."""
    rewrite(README, {name: table() for name, table in TABLES.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
