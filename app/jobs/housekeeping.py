"""The ends of waiting and of keeping: queue deadlines, results past their time, rows that nobody asks for."""

from __future__ import annotations

from ..contract.plain import Json
from ..errors import QueueDeadline
from ..store.retention import RetentionRepository
from ..store.workers import WorkerRepository
from .artifacts import Artifacts
from .record import READINGS
from .states import OVERDUE, TERMINAL

READING_KEPT_S = 60.0
UNSEEN_LEASES = 10
"""For how many leases a silent worker stays in the table."""


class Housekeeping:
    """Every supervisor does it; they do not stand in each other's way. Times in seconds."""

    def __init__(
        self,
        retention: RetentionRepository,
        workers: WorkerRepository,
        artifacts: Artifacts,
        retention_s: float,
        lease_s: float,
    ) -> None:
        self._retention = retention
        self._workers = workers
        self._artifacts = artifacts
        self._retention_s = retention_s
        self._unseen_s = UNSEEN_LEASES * lease_s

    def run(self) -> list[str]:
        """Do all that is due; the ids of jobs that were ended."""
        ended = self._retention.close_overdue(OVERDUE, self._retention_s, _overdue)
        self._retention.expire()
        self._retention.forget(self._retention_s)
        for kind in READINGS:
            self._retention.purge(kind, TERMINAL, READING_KEPT_S)
        self._workers.purge(self._unseen_s)
        self._artifacts.purge(self._retention_s)
        return ended


def _overdue(job_id: str) -> Json:
    return QueueDeadline("No worker took the job before its wait was over.").document(f"/v1/jobs/{job_id}")
