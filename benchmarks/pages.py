"""Blocks of a page that programs write: `<!-- name:start -->` … `<!-- name:end -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["rewrite", "section"]


def section(text: str, name: str) -> str:
    """What stands in the block `name`.

    Raises:
        ValueError: there is no such block.
    """
    found = re.search(rf"<!-- {name}:start -->\n(.*?)\n?<!-- {name}:end -->", text, re.S)
    if found is None:
        raise ValueError(f"The page has no block {name!r}.")
    return found[1]


def rewrite(page: Path, blocks: Mapping[str, str]) -> None:
    """Put new content into blocks of a page.

    Raises:
        ValueError: the page does not have each block once; it is left as it was.
    """
    text = page.read_text("utf-8")
    for name, content in blocks.items():
        pattern = rf"(<!-- {name}:start -->\n).*?(<!-- {name}:end -->)"
        text, count = re.subn(
            pattern, lambda m, new=content: f"{m[1]}{new}\n{m[2]}", text, flags=re.S
        )
        if count != 1:
            raise ValueError(f"{page} has the block {name!r} {count} times.")
    page.write_text(text, "utf-8")
