"""How much each persona moved an answer, by methods that were asked for later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attributions",
        sa.Column("answer_id", sa.String(length=32), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("meaning", sa.Text(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["answer_id"], ["answers.id"], name=op.f("fk_attributions_answer_id_answers")),
        sa.PrimaryKeyConstraint("answer_id", "method", name=op.f("pk_attributions")),
    )
    op.create_table(
        "influences",
        sa.Column("answer_id", sa.String(length=32), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("persona_id", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["answer_id", "method"],
            ["attributions.answer_id", "attributions.method"],
            name=op.f("fk_influences_answer_id_attributions"),
        ),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_influences_persona_id_personas")),
        sa.PrimaryKeyConstraint("answer_id", "method", "persona_id", name=op.f("pk_influences")),
    )
    op.create_index(op.f("ix_influences_persona_id"), "influences", ["persona_id"])


def downgrade() -> None:
    op.drop_table("influences")
    op.drop_table("attributions")
