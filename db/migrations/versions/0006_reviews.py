"""Reviews, their history, and annotators who work separately.

What corrections there are become reviews, with an event each: "accepted" where they say what the
merge predicted last has found, else "changed".

Revision: 0006
Revises: 0005
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)


def _owned(table: str) -> list[Any]:
    """Whose row it is."""
    keys = []
    for column, target in (("session_id", "sessions"), ("sentence_id", "sentences")):
        name = op.f(f"fk_{table}_{column}_{target}")
        keys.append(
            sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete="CASCADE")
        )
    return [
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(length=32), nullable=False),
        sa.Column("sentence_id", sa.Integer(), nullable=False),
        *keys,
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def upgrade() -> None:
    op.create_table(
        "reviews",
        *_owned("reviews"),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("unread", sa.Boolean(), nullable=False),
        sa.Column("picked", sa.String(length=10), nullable=False),
        sa.Column("updated_at", AT, nullable=False),
        sa.UniqueConstraint("sentence_id", name=op.f("uq_reviews_sentence_id")),
    )
    op.create_table(
        "annotations",
        *_owned("annotations"),
        sa.Column("who", sa.String(length=80), nullable=False),
        sa.Column("spans", sa.JSON(), nullable=False),
        sa.Column("types", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated_at", AT, nullable=False),
        sa.UniqueConstraint("sentence_id", "who", name=op.f("uq_annotations_sentence_id")),
    )
    op.create_table(
        "events",
        *_owned("events"),
        sa.Column("annotator", sa.String(length=80), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("action", sa.String(length=12), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("bulk", sa.String(length=32), nullable=True),
        sa.UniqueConstraint(
            "sentence_id", "annotator", "revision", name=op.f("uq_events_sentence_id")
        ),
    )
    for table in ("reviews", "annotations", "events"):
        op.create_index(op.f(f"ix_{table}_session_id"), table, ["session_id"], unique=False)
    op.create_index(op.f("ix_events_bulk"), "events", ["bulk"], unique=False)
    _review_what_was_corrected()


def downgrade() -> None:
    op.drop_index(op.f("ix_events_bulk"), table_name="events")
    for table in ("events", "annotations", "reviews"):
        op.drop_index(op.f(f"ix_{table}_session_id"), table_name=table)
        op.drop_table(table)


def _review_what_was_corrected() -> None:
    connection = op.get_bind()
    tables = sa.MetaData()
    tables.reflect(connection, only=["corrections", "predictions", "reviews", "runs", "events"])
    corrections, reviews, events = (tables.tables[t] for t in ("corrections", "reviews", "events"))
    shown: dict[str, str] = {}  # session -> the merge predicted last
    runs = tables.tables["runs"]
    predicted = sa.select(runs.c.session_id, runs.c.merge_id).where(runs.c.kind == "predict")
    for session_id, merge_id in connection.execute(predicted.order_by(runs.c.created_at)):
        shown[session_id] = merge_id
    for row in list(connection.execute(sa.select(corrections)).mappings()):
        found = _found(connection, tables.tables["predictions"], row, shown.get(row["session_id"]))
        spans, types = _value(row["spans"]), _value(row["types"])
        same = sorted(s[:3] for s in spans) == sorted(s for s in found if s[2] in types)
        status = "accepted" if same and row["session_id"] in shown else "changed"
        whose = {name: row[name] for name in ("session_id", "sentence_id", "who")}
        connection.execute(
            reviews.insert().values(
                **whose, status=status, revision=1, unread=False, picked="",
                updated_at=row["updated_at"],
            )
        )  # fmt: skip
        state = {"types": types, "unread": False, "picked": ""}
        connection.execute(
            events.insert().values(
                **whose, annotator="", revision=1, at=row["updated_at"], action="edit",
                before=state | {"status": "open", "spans": found},
                after=state | {"status": status, "spans": spans},
            )
        )  # fmt: skip


def _found(
    connection: sa.Connection, table: sa.Table, row: Any, merge_id: str | None
) -> list[list[Any]]:
    columns = (table.c.start, table.c.end, table.c.label)
    query = sa.select(*columns).where(table.c.merge_id == merge_id)
    query = query.where(table.c.sentence_id == row["sentence_id"])
    return [list(span) for span in connection.execute(query.order_by(*columns))]


def _value(column: Any) -> list[Any]:
    """A reflected JSON column is read as text by some databases."""
    value: list[Any] = json.loads(column) if isinstance(column, str) else column
    return value
