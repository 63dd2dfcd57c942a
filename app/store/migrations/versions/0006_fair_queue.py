"""A fair queue: turns of tenants, quick jobs, programs; how urgent a key's jobs may be. When answers were computed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

QUEUE: list[str | sa.TextClause] = ["status", "kind", sa.text("priority DESC"), "created_at", "id"]


def upgrade() -> None:
    """Add them; the queue's index holds all that the order asks for."""
    for name, meaning in (("quick", "expected to be over soon"), ("program", "its file is a program")):
        column = sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false(), comment=meaning)
        op.add_column("jobs", column)
    for name, meaning in (("computed_at", "when it was computed"), ("computed_s", "in what time")):
        op.add_column("jobs", sa.Column(name, sa.Float, comment=f"of an answer from the store: {meaning}"))
    op.add_column("keys", sa.Column("max_priority", sa.Integer, nullable=False, server_default="5"))
    op.create_table(
        "turns",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("served_at", sa.Float, nullable=False, comment="when a job of that kind was last taken"),
    )
    op.drop_index("jobs_queue", "jobs")
    op.create_index("jobs_queue", "jobs", [*QUEUE, "tenant", "quick"])


def downgrade() -> None:
    op.drop_index("jobs_queue", "jobs")
    op.create_index("jobs_queue", "jobs", QUEUE)
    op.drop_table("turns")
    op.drop_column("keys", "max_priority")
    for name in ("computed_s", "computed_at", "program", "quick"):
        op.drop_column("jobs", name)
