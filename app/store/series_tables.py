"""The tables of versions of models and their answers; as `tables`."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, String, Table

from .tables import metadata

versions = Table(
    "versions",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
)
Index("versions_by_model", versions.c.tenant, versions.c.model)

answers = Table(
    "answers",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("model", String(64), primary_key=True),
    Column("question", String(16), primary_key=True, comment="digest of what was asked"),
    Column("asked", JSON, nullable=False),
    Column("job", String(36), nullable=False),
    Column("at", Float, nullable=False, comment="when the job was over"),
    Column("upper", Float),
    Column("lower", Float),
    Column("layers", JSON, nullable=False),
    Column("radii", JSON(none_as_null=True)),
)
