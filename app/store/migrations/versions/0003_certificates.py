"""Certificates beside the witnesses."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("has_certificate", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("results", sa.Column("certificate", sa.JSON))


def downgrade() -> None:
    op.drop_column("results", "certificate")
    op.drop_column("jobs", "has_certificate")
