"""Answers of the probe.

Revision: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "probe_answers",
        sa.Column("expert_hash", sa.String(length=64), nullable=False),
        sa.Column("text_hash", sa.String(length=64), nullable=False),
        sa.Column("types_hash", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("spans", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "expert_hash", "text_hash", "types_hash", "version", name=op.f("pk_probe_answers")
        ),
    )
    op.create_index(
        op.f("ix_probe_answers_last_used_at"), "probe_answers", ["last_used_at"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_probe_answers_last_used_at"), table_name="probe_answers")
    op.drop_table("probe_answers")
