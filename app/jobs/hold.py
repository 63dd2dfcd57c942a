"""A supervisor's hold on the job that it runs, through times in which the database does not answer.

What must not happen is that two children run one job. So the hold ends, here, when the lease that was last seen to
be prolonged is over, and until then every write is tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from ..contract.plain import Json
from ..store.database import OUTAGES
from ..store.jobs import JobRepository
from ..store.transitions import Fence
from .states import Status

logger = logging.getLogger(__name__)

RETRY_S = 0.5

T = TypeVar("T")


class Lost(Exception):
    """The job is another supervisor's, or must be taken to be."""


class Hold:
    """`since` is a monotonic time before the claim was made."""

    def __init__(self, repository: JobRepository, fence: Fence, lease_s: float, since: float) -> None:
        self._repository = repository
        self._fence = fence
        self._lease_s = lease_s
        self._until = since + lease_s
        self._beat_at = since + lease_s / 3
        self._is_out = False

    def look(self) -> str:
        """The job's status, the lease prolonged when that is due; Lost when the hold is."""
        try:
            status = self._look()
        except OUTAGES as error:
            self._bear(error)
            return Status.RUNNING
        self._is_out = False
        return status

    def report(self, progress: Json) -> bool:
        """Store how far the job has come, if the database answers."""
        try:
            self._repository.report(self._fence, progress)
        except OUTAGES as error:
            self._bear(error)
            return False
        return True

    def keep(self, write: Callable[[], T], gives_up: Callable[[], bool]) -> T:
        """What `write` returns, once it works; Lost when the lease is over first, or `gives_up()`."""
        while True:
            try:
                return write()
            except OUTAGES as error:
                self._bear(error)
            if gives_up():
                raise Lost
            time.sleep(min(RETRY_S, self._lease_s / 10))

    def _look(self) -> str:
        status = self._repository.held_status(self._fence)
        if status is None:
            raise Lost
        now = time.monotonic()
        if now >= self._beat_at:
            if not self._repository.beat(self._fence, self._lease_s):
                raise Lost
            self._until, self._beat_at = now + self._lease_s, now + self._lease_s / 3
        return status

    def _bear(self, error: SQLAlchemyError) -> None:
        """Go on without the database; Lost when that has lasted for too long."""
        if not self._is_out:
            logger.warning("job %s: the database does not answer (%s)", self._fence.job, type(error).__name__)
        self._is_out = True
        if time.monotonic() >= self._until:
            raise Lost from error
