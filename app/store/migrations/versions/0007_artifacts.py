"""Captured graphs, which later questions about a model are answered from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(64), primary_key=True),
        sa.Column("shapes", sa.String(64), primary_key=True, comment="SHA-256 of the input shapes that were asked for"),
        sa.Column("engine", sa.String(64), primary_key=True, comment="the version that captured it"),
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of its file"),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    op.create_index("artifacts_by_digest", "artifacts", ["digest"])
    op.create_index("artifacts_by_use", "artifacts", ["used_at"])


def downgrade() -> None:
    """Drop it; the files go with the models' folder."""
    op.drop_table("artifacts")
