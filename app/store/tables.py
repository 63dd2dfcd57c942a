"""The tables. Times are seconds since the epoch, UTC, by the database's clock; JSON holds no NaN."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    false,
)

metadata = MetaData()

models = Table(
    "models",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("format", String(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("inspection", JSON, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("labels", JSON(none_as_null=True)),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("model", String(64), nullable=False),
    Column("blob", String(128), nullable=False),
    Column("request", JSON, nullable=False),
    Column("methods", String(1024), nullable=False, comment="names asked for, a comma on either side"),
    Column("metadata", JSON, nullable=False),
    Column("cache_key", String(64), nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("timeout_s", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("expires_at", Float),
    Column("attempt", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("owner", String(128)),
    Column("lease_until", Float),
    Column("worker", String(128)),
    Column("device", String(64)),
    Column("progress", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("has_witness", Boolean, nullable=False),
    Column("dataset", String(64)),
    Column("has_certificate", Boolean, nullable=False, server_default=false()),
)
Index("jobs_queue", jobs.c.status, jobs.c.kind, jobs.c.priority, jobs.c.created_at)
Index("jobs_by_model", jobs.c.model, jobs.c.status)
Index("jobs_by_dataset", jobs.c.dataset, jobs.c.status)
Index("jobs_by_time", jobs.c.created_at, jobs.c.id)
Index("jobs_by_cache_key", jobs.c.cache_key, jobs.c.status)

results = Table(
    "results",
    metadata,
    Column("job", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("result", JSON, nullable=False),
    Column("witness", LargeBinary),
    Column("certificate", JSON(none_as_null=True)),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("job", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float, nullable=False),
    Column("type", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)
Index("events_by_job", events.c.job, events.c.id)
