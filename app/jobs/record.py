"""What a job is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from sqlalchemy import RowMapping

from ..contract.plain import Json
from ..store.transitions import Fence
from .states import TERMINAL, Status


class Kind(StrEnum):
    """What is asked of the child process."""

    INSPECT = "inspect"
    GRAPH = "graph"
    ANALYZE = "analyze"


READINGS = (Kind.INSPECT, Kind.GRAPH)
"""What somebody waits for while it runs, and nobody asks for later."""


@dataclass(frozen=True)
class JobRecord:
    """One row of the table, as it was when it was read. Times are seconds since the epoch, UTC."""

    id: str
    kind: Kind
    status: Status
    model: str
    blob: str
    request: Json
    metadata: Json
    cached: bool
    priority: int
    timeout_s: float
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    attempt: int
    losses: int
    owner: str | None
    worker: str | None
    device: str | None
    progress: Json | None
    error: Json | None
    has_witness: bool
    has_certificate: bool
    dataset: str | None
    tenant: str
    start_by: float | None
    expired: bool
    quick: bool
    program: bool
    computed_at: float | None
    has_radii: bool
    computed_s: float | None

    @classmethod
    def of(cls, row: RowMapping) -> JobRecord:
        """The record of a row of the jobs table."""
        values = {field.name: row[field.name] for field in fields(cls)}
        return cls(**values | {"kind": Kind(row["kind"]), "status": Status(row["status"])})

    @property
    def is_over(self) -> bool:
        """Whether the status is terminal."""
        return self.status in TERMINAL

    @property
    def fence(self) -> Fence:
        """The hold of the supervisor that claimed the job."""
        return Fence(self.id, self.owner or "", self.attempt)
