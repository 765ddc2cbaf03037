"""Who is generating what, and which request an answer answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_leases")),
    )
    # As plain ALTERs: a batch would copy the whole table, which SQLite does not need for a column without a value.
    op.add_column("answers", sa.Column("request", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_answers_request"), "answers", ["request"])


def downgrade() -> None:
    op.drop_index(op.f("ix_answers_request"), "answers")
    op.drop_column("answers", "request")
    op.drop_table("leases")
