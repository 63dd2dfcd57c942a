"""Rows for tests of the repositories."""

from __future__ import annotations

import itertools
from typing import Any

from app.jobs.artifacts import Artifacts
from app.jobs.record import JobRecord, Kind
from app.jobs.states import CLAIM, Status
from app.store.admission import QueueTerms
from app.store.artifacts import ArtifactRepository
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.line import Wanted
from app.store.transitions import Fence
from app.store.uploads import model_repository

ROOMY = QueueTerms(max_queued=10_000, max_per_tenant=10_000, wait_s=60)
MODEL = "a" * 64
ANALYSES = Wanted((Kind.ANALYZE,))

numbers = itertools.count()


def values_of(**given: Any) -> dict[str, Any]:
    """A new job's row."""
    return {
        "id": f"job-{next(numbers)}", "kind": Kind.ANALYZE, "status": Status.QUEUED, "model": MODEL, "blob": "b",
        "request": {}, "methods": "", "metadata": {}, "cache_key": "", "cached": False, "dataset": None,
        "priority": 5, "timeout_s": 1.0, "attempt": 0, "losses": 0, "has_witness": False, "tenant": "",
    } | given  # fmt: skip


def queued(repository: JobRepository, **given: Any) -> str:
    """The id of a new job."""
    return str(repository.insert(values_of(**given))["id"])


def claimed(repository: JobRepository, job: str, owner: str = "me", lease_s: float = 30) -> Fence:
    """The hold on a queued job, which is the next of all."""
    row = repository.claim(CLAIM, Wanted(tuple(Kind)), owner, lease_s, worker="w", device="d")
    assert row is not None
    assert row["id"] == job
    return JobRecord.of(row).fence


def add_model(database: Database, tenant: str = "", sha256: str = MODEL) -> None:
    """A model of the tenant's, without a file."""
    values = {"tenant": tenant, "id": sha256, "name": "n", "format": "onnx", "size_bytes": 3, "inspection": {}}
    model_repository(database).add(values, lambda: None)


def status_of(repository: JobRepository, job: str, tenant: str = "") -> Status:
    """The job's status."""
    row = repository.get(tenant, job)
    assert row is not None
    return Status(row["status"])


class NoFiles:
    """A store of files that are none."""

    def remove(self, digest: str) -> None:
        raise AssertionError(digest)


def no_artifacts(database: Database) -> Artifacts:
    """Captured graphs of which there are none."""
    return Artifacts(ArtifactRepository(database), NoFiles())  # type: ignore[arg-type]
