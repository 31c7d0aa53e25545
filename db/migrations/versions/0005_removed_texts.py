"""Texts that were removed can be brought back.

Revision: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("uploads") as batch:
        batch.add_column(sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("removed_revision", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM uploads WHERE removed_at IS NOT NULL")
    with op.batch_alter_table("uploads") as batch:
        batch.drop_column("removed_revision")
        batch.drop_column("removed_at")
