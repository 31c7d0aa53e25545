"""What the repositories share."""

from __future__ import annotations

import uuid
from dataclasses import fields
from typing import Any, TypeVar

__all__ = ["new_id", "to_record"]

R = TypeVar("R")


def new_id() -> str:
    """A random id, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def to_record(record: type[R], row: Any, **more: Any) -> R:
    """Copy the attributes of an ORM object that `record`, a dataclass, names; `more` overrides."""
    names = [f.name for f in fields(record) if f.name not in more]  # type: ignore[arg-type]
    return record(**{name: getattr(row, name) for name in names}, **more)
