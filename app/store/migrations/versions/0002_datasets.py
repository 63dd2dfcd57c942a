"""Data sets, and the jobs that use them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of data sets."""
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("inputs", sa.JSON, nullable=False),
        sa.Column("labels", sa.JSON),
    )
    op.add_column("jobs", sa.Column("dataset", sa.String(64)))
    op.create_index("jobs_by_dataset", "jobs", ["dataset", "status"])


def downgrade() -> None:
    op.drop_index("jobs_by_dataset", "jobs")
    op.drop_column("jobs", "dataset")
    op.drop_table("datasets")
