"""What becomes of the jobs of a supervisor that is gone.

A supervisor holds a lock file for as long as its process lives, so on its own host its death shows at once;
from other hosts it shows when its leases run out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import RowMapping

from ..errors import WorkerLost
from ..store.jobs import JobRepository
from ..store.locks import is_abandoned
from ..store.transitions import Fence
from ..store.workers import WorkerRepository
from .states import CANCELED, FAIL, HELD, REQUEUE, Status


class Recovery:
    """Finds the jobs of lost supervisors and returns them to the queue, to a limit."""

    def __init__(self, repository: JobRepository, workers: WorkerRepository, locks: Path, max_losses: int) -> None:
        self._repository = repository
        self._workers = workers
        self._locks = locks
        self._max_losses = max_losses

    def recover(self, on_change: Callable[[str], None]) -> None:
        """Move every job whose supervisor is lost; `on_change` is called with the id of each."""
        dead = {path.name: path for path in self._locks.iterdir() if is_abandoned(path)}
        for row in self._repository.held(HELD):
            if row["lease_is_over"] or row["owner"] in dead:
                self._move_on(row)
                on_change(row["id"])
        for owner, path in dead.items():
            self._workers.forget(owner)
            path.unlink(missing_ok=True)

    def _move_on(self, row: RowMapping) -> None:
        fence = Fence(row["id"], row["owner"], row["attempt"])
        if row["status"] == Status.CANCELING:
            self._repository.finish(fence, CANCELED)
        elif row["losses"] < self._max_losses:
            self._repository.release(fence, REQUEUE, losses=1)
        else:
            error = WorkerLost(f"The worker was lost {row['losses'] + 1} times while it ran this job.")
            self._repository.finish(fence, FAIL, error=error.document(f"/v1/jobs/{row['id']}"))
