"""SaM's storage: typed SQLAlchemy models, migrations, and repositories that return plain records.

Nothing outside this package sees an ORM object or writes SQL.
"""

from __future__ import annotations

from db.engine import Database, DatabaseError, UnknownSchemaError, sqlite_url
from db.migrate import migrate

__all__ = ["Database", "DatabaseError", "UnknownSchemaError", "migrate", "sqlite_url"]
