"""The tables. Times are seconds since the epoch, UTC, by the database's clock; JSON holds no NaN.

A tenant is the owner of a key; without keys everything belongs to the tenant with the empty name.
"""

from __future__ import annotations

from typing import Any

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
    Text,
    false,
)

Values = dict[str, Any]
"""What a row is given, by the names of its columns."""
metadata = MetaData()

models = Table(
    "models",
    metadata,
    Column("tenant", String(64), primary_key=True, server_default=""),
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
    Column("tenant", String(64), primary_key=True, server_default=""),
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("labels", JSON(none_as_null=True)),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("model", String(64), primary_key=True),
    Column("shapes", String(64), primary_key=True, comment="SHA-256 of the input shapes that were asked for"),
    Column("engine", String(64), primary_key=True, comment="the version that captured it"),
    Column("digest", String(64), nullable=False, comment="SHA-256 of its file"),
    Column("used_at", Float, nullable=False),
)
Index("artifacts_by_digest", artifacts.c.digest)
Index("artifacts_by_use", artifacts.c.used_at)

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
    Column("tenant", String(64), nullable=False, server_default=""),
    Column("start_by", Float, comment="end of the wait in the queue"),
    Column("expired", Boolean, nullable=False, server_default=false(), comment="result and events are gone"),
    Column("webhook_url", String(2048)),
    Column("quick", Boolean, nullable=False, server_default=false(), comment="expected to be over soon"),
    Column("program", Boolean, nullable=False, server_default=false(), comment="its file is a program"),
    Column("computed_at", Float, comment="of an answer from the store: when it was computed"),
    Column("computed_s", Float, comment="of an answer from the store: in what time"),
    Column("has_radii", Boolean, nullable=False, server_default=false()),
)
Index(
    "jobs_queue",
    *(jobs.c.status, jobs.c.kind, jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id, jobs.c.tenant, jobs.c.quick),
)

turns = Table(
    "turns",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("served_at", Float, nullable=False, comment="when a job of that kind was last taken"),
)
Index("jobs_by_start", jobs.c.status, jobs.c.start_by)
Index("jobs_by_model", jobs.c.model, jobs.c.status)
Index("jobs_by_dataset", jobs.c.dataset, jobs.c.status)
Index("jobs_by_time", jobs.c.tenant, jobs.c.created_at, jobs.c.id)
Index("jobs_by_cache_key", jobs.c.cache_key, jobs.c.status)
Index("jobs_by_expiry", jobs.c.expired, jobs.c.expires_at)

results = Table(
    "results",
    metadata,
    Column("job", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("result", JSON, nullable=False),
    Column("witness", LargeBinary),
    Column("certificate", JSON(none_as_null=True)),
    Column("radii", LargeBinary),
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

workers = Table(
    "workers",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("supervisor", String(128), primary_key=True),
    Column("host", String(128), nullable=False),
    Column("kinds", String(64), nullable=False, comment="a list with commas"),
    Column("device", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("job", String(36)),
    Column("pid", Integer),
    Column("confinement", String(16), nullable=False),
    Column("details", JSON, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
)
Index("workers_by_supervisor", workers.c.supervisor)

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True, comment="SHA-256 of the secret, in hexadecimal"),
    Column("scopes", String(64), nullable=False, comment="a list with commas"),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
    Column("max_priority", Integer, nullable=False, server_default="5"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("job", String(36)),
    Column("status", Integer),
    Column("headers", JSON(none_as_null=True)),
    Column("body", Text),
    Column("created_at", Float, nullable=False),
    Column("renewed_at", Float, nullable=False),
)
Index("idempotency_by_time", idempotency.c.created_at)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("job", String(36), nullable=False),
    Column("url", String(2048), nullable=False),
    Column("type", String(32), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("lease_until", Float),
    Column("created_at", Float, nullable=False),
    Column("delivered_at", Float),
)
Index("deliveries_due", deliveries.c.state, deliveries.c.next_at)
Index("deliveries_by_job", deliveries.c.tenant, deliveries.c.job)
Index("deliveries_by_time", deliveries.c.tenant, deliveries.c.created_at, deliveries.c.id)

attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("delivery", String(36), ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float, nullable=False),
    Column("status", Integer),
    Column("error", String(512)),
    Column("seconds", Float, nullable=False),
)
Index("attempts_by_delivery", attempts.c.delivery, attempts.c.id)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(128), nullable=False),
)

hooks = Table(
    "hooks",
    metadata,
    Column("registry", String(16), primary_key=True),
    Column("delivery", String(128), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("event", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("job", String(36)),
    Column("error", String(1024)),
    Column("tags", JSON(none_as_null=True)),
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("lease_until", Float),
    Column("created_at", Float, nullable=False),
)
Index("hooks_due", hooks.c.state, hooks.c.next_at)
Index("hooks_by_time", hooks.c.tenant, hooks.c.created_at, hooks.c.delivery)
