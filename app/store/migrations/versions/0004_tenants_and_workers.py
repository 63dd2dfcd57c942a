"""Tenants, workers of every host, keys, idempotency; waiting and keeping have their ends."""

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPLOADS = ("models", "datasets")
PRIMARY_KEY = {"pk": "%(table_name)s_pkey"}
"""PostgreSQL names its keys so; SQLite, which copies the table to change its key, gives them no name to go by."""


def upgrade() -> None:
    """Give every row the tenant without a name, and add the tables."""
    for table in UPLOADS:
        with op.batch_alter_table(table, naming_convention=PRIMARY_KEY) as batch:
            batch.add_column(sa.Column("tenant", sa.String(64), nullable=False, server_default=""))
            _set_key(batch, table, ["tenant", "id"])
    op.add_column("jobs", sa.Column("tenant", sa.String(64), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("start_by", sa.Float, comment="end of the wait in the queue"))
    expired = sa.Column(
        "expired", sa.Boolean, nullable=False, server_default=sa.false(), comment="result and events are gone"
    )
    op.add_column("jobs", expired)
    for index in ("jobs_by_time", "jobs_queue"):
        op.drop_index(index, "jobs")
    op.create_index("jobs_by_time", "jobs", ["tenant", "created_at", "id"])
    op.create_index("jobs_queue", "jobs", ["status", "kind", sa.text("priority DESC"), "created_at", "id"])
    op.create_index("jobs_by_start", "jobs", ["status", "start_by"])
    op.create_index("jobs_by_expiry", "jobs", ["expired", "expires_at"])
    _create_workers()
    _create_keys()
    _create_idempotency()


def downgrade() -> None:
    """Drop them; what other tenants uploaded cannot stay."""
    for table in ("idempotency", "keys", "workers"):
        op.drop_table(table)
    for index in ("jobs_by_expiry", "jobs_by_start", "jobs_by_time", "jobs_queue"):
        op.drop_index(index, "jobs")
    op.create_index("jobs_queue", "jobs", ["status", "kind", "priority", "created_at"])
    op.create_index("jobs_by_time", "jobs", ["created_at", "id"])
    for column in ("expired", "start_by", "tenant"):
        op.drop_column("jobs", column)
    for table in UPLOADS:
        op.execute(f"DELETE FROM {table} WHERE tenant <> ''")  # noqa: S608 (our own names)
        with op.batch_alter_table(table, naming_convention=PRIMARY_KEY) as batch:
            _set_key(batch, table, ["id"])
            batch.drop_column("tenant")


def _set_key(batch: BatchOperations, table: str, columns: list[str]) -> None:
    batch.drop_constraint(f"{table}_pkey", type_="primary")
    batch.create_primary_key(f"{table}_pkey", columns)


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("supervisor", sa.String(128), primary_key=True),
        sa.Column("host", sa.String(128), nullable=False),
        sa.Column("kinds", sa.String(64), nullable=False, comment="a list with commas"),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("job", sa.String(36)),
        sa.Column("pid", sa.Integer),
        sa.Column("confinement", sa.String(16), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
    op.create_index("workers_by_supervisor", "workers", ["supervisor"])


def _create_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True, comment="SHA-256 of the secret, in hexadecimal"),
        sa.Column("scopes", sa.String(64), nullable=False, comment="a list with commas"),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float),
    )


def _create_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("job", sa.String(36)),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.JSON),
        sa.Column("body", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("renewed_at", sa.Float, nullable=False),
    )
    op.create_index("idempotency_by_time", "idempotency", ["created_at"])
