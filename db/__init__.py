"""SaM's storage: typed SQLAlchemy models, migrations, and repositories that return plain records.

Nothing outside this package sees an ORM object or writes SQL.
"""

from __future__ import annotations

from db.engine import (
    Database,
    DatabaseError,
    ReadOnlyError,
    UnknownSchemaError,
    is_read_only,
    read_only,
    sqlite_url,
)
from db.migrate import migrate

__all__ = [
    "Database",
    "DatabaseError",
    "ReadOnlyError",
    "UnknownSchemaError",
    "is_read_only",
    "migrate",
    "read_only",
    "sqlite_url",
]
