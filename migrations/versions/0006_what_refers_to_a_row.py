"""Indexes on what refers to a row: forgetting and purging look for the rows that nobody refers to any more."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_REFERRING = [
    ("answer_calls", "call_id"),
    ("calls", "completion_id"),
    ("calls", "prompt_id"),
    ("changes", "scenario_id"),
    ("members", "comment_call_id"),
    ("panels", "persona_id"),
]


def upgrade() -> None:
    for table, column in _REFERRING:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def downgrade() -> None:
    for table, column in _REFERRING:
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
