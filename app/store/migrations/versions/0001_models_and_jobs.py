"""Models, jobs, results, events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "models",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("inspection", sa.JSON, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("blob", sa.String(128), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("methods", sa.String(1024), nullable=False, comment="names asked for, a comma on either side"),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("cache_key", sa.String(64), nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("timeout_s", sa.Float, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.Column("expires_at", sa.Float),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(128)),
        sa.Column("lease_until", sa.Float),
        sa.Column("worker", sa.String(128)),
        sa.Column("device", sa.String(64)),
        sa.Column("progress", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("has_witness", sa.Boolean, nullable=False),
    )
    op.create_index("jobs_queue", "jobs", ["status", "kind", "priority", "created_at"])
    op.create_index("jobs_by_model", "jobs", ["model", "status"])
    op.create_index("jobs_by_time", "jobs", ["created_at", "id"])
    op.create_index("jobs_by_cache_key", "jobs", ["cache_key", "status"])
    op.create_table(
        "results",
        sa.Column("job", sa.String(36), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("witness", sa.LargeBinary),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("job", sa.String(36), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_job", "events", ["job", "id"])


def downgrade() -> None:
    """Drop the first tables."""
    for table in ("events", "results", "jobs", "models"):
        op.drop_table(table)
