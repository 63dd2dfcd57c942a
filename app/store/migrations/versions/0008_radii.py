"""Radii of the rows of a data set, as a file."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("has_radii", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("results", sa.Column("radii", sa.LargeBinary))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("results", "radii")
    op.drop_column("jobs", "has_radii")
