"""Webhooks that go out, and registries' hooks that come in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the jobs' receivers, and the tables."""
    op.add_column("jobs", sa.Column("webhook_url", sa.String(2048)))
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("job", sa.String(36), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("lease_until", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("delivered_at", sa.Float),
    )
    op.create_index("deliveries_due", "deliveries", ["state", "next_at"])
    op.create_index("deliveries_by_job", "deliveries", ["tenant", "job"])
    op.create_index("deliveries_by_time", "deliveries", ["tenant", "created_at", "id"])
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("delivery", sa.String(36), sa.ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.String(512)),
        sa.Column("seconds", sa.Float, nullable=False),
    )
    op.create_index("attempts_by_delivery", "attempts", ["delivery", "id"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(128), nullable=False),
    )
    op.create_table(
        "hooks",
        sa.Column("registry", sa.String(16), primary_key=True),
        sa.Column("delivery", sa.String(128), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("event", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("job", sa.String(36)),
        sa.Column("error", sa.String(1024)),
        sa.Column("tags", sa.JSON),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("lease_until", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("hooks_due", "hooks", ["state", "next_at"])
    op.create_index("hooks_by_time", "hooks", ["tenant", "created_at", "delivery"])


def downgrade() -> None:
    for table in ("hooks", "secrets", "attempts", "deliveries"):
        op.drop_table(table)
    op.drop_column("jobs", "webhook_url")
