"""What the repositories share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, TypeVar

__all__ = ["AT_ONCE", "in_parts", "new_id", "to_record"]

AT_ONCE = 500
"""Values in a statement: databases bound the number of parameters (older SQLite: 999)."""

R = TypeVar("R")
T = TypeVar("T")


def in_parts(items: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """Cut what a statement is to name into pieces that it may name at once."""
    return (items[first : first + size] for first in range(0, len(items), size))


def new_id() -> str:
    """A random id, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def to_record(record: type[R], row: Any, **more: Any) -> R:
    """Copy the attributes of an ORM object that `record`, a dataclass, names; `more` overrides."""
    names = [f.name for f in fields(record) if f.name not in more]  # type: ignore[arg-type]
    return record(**{name: getattr(row, name) for name in names}, **more)
