"""Captured graphs as files of their own: found, replaced, dropped with their model, and never another tenant's."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from app.jobs.artifacts import GROWTH, SMALL_BYTES, Artifacts
from app.store.artifacts import ArtifactKey, ArtifactRepository
from app.store.blobs import Blobs
from app.store.database import Database
from app.store.tables import artifacts as table

MODEL = "a" * 64


@pytest.fixture
def artifacts(database: Database, tmp_path: Path) -> Artifacts:
    return Artifacts(ArtifactRepository(database), Blobs(tmp_path / "artifacts", 2**30, 0))


def keep(artifacts: Artifacts, key: ArtifactKey, data: bytes, model_bytes: int = 2**20) -> None:
    staged = artifacts.stage()
    staged.write(data)
    artifacts.keep(key, staged, model_bytes)
    staged.close()


def read(artifacts: Artifacts, key: ArtifactKey) -> bytes | None:
    file = artifacts.open(key)
    if file is None:
        return None
    with file:
        return file.read()


def test_a_capture_is_found_by_tenant_model_and_shapes(artifacts: Artifacts) -> None:
    key = artifacts.key("acme", MODEL, None)
    assert read(artifacts, key) is None
    keep(artifacts, key, b"graph")
    assert read(artifacts, key) == b"graph"
    others = [("zeta", MODEL, None), ("acme", "b" * 64, None), ("acme", MODEL, [[1, 2]])]
    assert [read(artifacts, artifacts.key(*other)) for other in others] == [None] * 3
    keep(artifacts, key, b"another")
    assert read(artifacts, key) == b"another"
    artifacts.drop(key)
    assert read(artifacts, key) is None


def test_captures_go_with_their_model_and_files_with_their_last_row(artifacts: Artifacts, tmp_path: Path) -> None:
    shapes = (None, [[1, 2]])
    for tenant in ("acme", "zeta"):
        for inputs in shapes:
            keep(artifacts, artifacts.key(tenant, MODEL, inputs), b"graph")
    artifacts.drop_model("acme", MODEL)
    assert [read(artifacts, artifacts.key("acme", MODEL, inputs)) for inputs in shapes] == [None, None]
    assert [read(artifacts, artifacts.key("zeta", MODEL, inputs)) for inputs in shapes] == [b"graph"] * 2
    artifacts.drop_model("zeta", MODEL)
    assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


def test_captures_that_nobody_uses_go(artifacts: Artifacts, database: Database) -> None:
    key = artifacts.key("acme", MODEL, None)
    keep(artifacts, key, b"graph")
    artifacts.purge(1000)
    assert read(artifacts, key) == b"graph"
    with database.write() as connection:
        connection.execute(update(table).values(used_at=table.c.used_at - 5000))
    assert read(artifacts, key) == b"graph", "which is a use"
    artifacts.purge(1000)
    assert read(artifacts, key) == b"graph"
    with database.write() as connection:
        connection.execute(update(table).values(used_at=table.c.used_at - 5000))
    artifacts.purge(1000)
    assert read(artifacts, key) is None


def test_a_small_program_cannot_fill_the_disk(artifacts: Artifacts) -> None:
    key = artifacts.key("acme", MODEL, None)
    keep(artifacts, key, bytes(SMALL_BYTES + GROWTH * 10 + 1), model_bytes=10)
    assert read(artifacts, key) is None
