"""Versions of models, and their numbers, which outlive jobs and files."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "versions",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("version", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("versions_by_model", "versions", ["tenant", "model"])
    op.create_table(
        "answers",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(64), primary_key=True),
        sa.Column("question", sa.String(16), primary_key=True, comment="digest of what was asked"),
        sa.Column("asked", sa.JSON, nullable=False),
        sa.Column("job", sa.String(36), nullable=False),
        sa.Column("at", sa.Float, nullable=False, comment="when the job was over"),
        sa.Column("upper", sa.Float),
        sa.Column("lower", sa.Float),
        sa.Column("layers", sa.JSON, nullable=False),
        sa.Column("radii", sa.JSON(none_as_null=True)),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("answers")
    op.drop_table("versions")
