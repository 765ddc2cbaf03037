"""Notes of every row that is written, as a chain of hashes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# By name, not from the present schema: this is what there was when the ledger began.
_KEYS = {
    "pool_facts": ["name"],
    "scenarios": ["id"],
    "personas": ["id"],
    "models": ["id"],
    "texts": ["id"],
    "origins": ["id"],
    "status_changes": ["id"],
    "merges": ["duplicate_id"],
    "changes": ["seq"],
    "panels": ["scenario_id", "k", "rank"],
    "calls": ["id"],
    "answers": ["id"],
    "members": ["answer_id", "rank"],
    "answer_calls": ["answer_id", "position"],
    "failures": ["id"],
}


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("row_key", sa.String(), nullable=True),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("salt", sa.String(), nullable=True),
        sa.Column("content", sa.String(), nullable=True),
        sa.Column("link", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_ledger_table_name"), "ledger", ["table_name", "row_key"])
    for table, columns in _KEYS.items():
        op.execute(
            f"INSERT INTO ledger (table_name, row_key, operation) "
            f"SELECT '{table}', json_array({', '.join(columns)}), 'insert' FROM {table} ORDER BY rowid"
        )


def downgrade() -> None:
    for table in _KEYS:
        for operation in ("insert", "update", "delete"):
            op.execute(f"DROP TRIGGER IF EXISTS ledger_{table}_{operation}")
    op.drop_table("ledger")
