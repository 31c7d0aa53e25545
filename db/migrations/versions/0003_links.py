"""Links with hashed tokens in a table of their own; sessions that are deleted but not yet gone.

Revision: 0003
Revises: 0002
"""

from __future__ import annotations

import secrets
import uuid
from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("session_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name=op.f("fk_links_session_id_sessions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_links_token_hash")),
    )
    op.create_index(op.f("ix_links_session_id"), "links", ["session_id"], unique=False)
    _move_tokens()
    with op.batch_alter_table("sessions") as batch:
        batch.add_column(sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
        batch.drop_constraint(op.f("uq_sessions_token"), type_="unique")
        batch.drop_column("token")


def _move_tokens() -> None:
    """Every token becomes an edit link: what people have bookmarked goes on working."""
    sessions = sa.table(
        "sessions", sa.column("id"), sa.column("token"),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )  # fmt: skip
    links = sa.table(
        "links", sa.column("id"), sa.column("session_id"), sa.column("kind"),
        sa.column("token_hash"), sa.column("label"),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )  # fmt: skip
    rows = op.get_bind().execute(sa.select(sessions)).all()
    op.bulk_insert(
        links,
        [
            {
                "id": uuid.uuid4().hex,
                "session_id": row.id,
                "kind": "edit",
                "token_hash": sha256(row.token.encode()).hexdigest(),
                "label": "",
                "created_at": row.created_at,
            }
            for row in rows
        ],
    )


def downgrade() -> None:
    """Sessions get new tokens, which nobody knows: only the hashes of the old ones are there."""
    with op.batch_alter_table("sessions") as batch:
        batch.add_column(sa.Column("token", sa.String(length=64), nullable=True))
    sessions = sa.table("sessions", sa.column("id"), sa.column("token"))
    connection = op.get_bind()
    for ident in connection.execute(sa.select(sessions.c.id)).scalars().all():
        token = secrets.token_urlsafe(24)
        connection.execute(sessions.update().where(sessions.c.id == ident).values(token=token))
    with op.batch_alter_table("sessions") as batch:
        batch.alter_column("token", existing_type=sa.String(length=64), nullable=False)
        batch.create_unique_constraint(op.f("uq_sessions_token"), ["token"])
        batch.drop_column("deleted_at")
    op.drop_index(op.f("ix_links_session_id"), table_name="links")
    op.drop_table("links")
