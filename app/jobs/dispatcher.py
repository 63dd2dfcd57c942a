"""How a free slot learns that a job waits. An engine is a doorbell: the table decides who runs what.

A notification may be lost, doubled or reordered, so every dispatcher's slots also look at the table unasked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from app.jobs.record import Kind
from app.jobs.states import Status
from app.store.jobs import JobRepository

logger = logging.getLogger(__name__)


class Slot(Protocol):
    """A place where one job at a time can run."""

    @property
    def kinds(self) -> Sequence[Kind]:
        """What can run here."""

    def prepare(self) -> bool:
        """Whether a job could start now; starts what is missing."""

    def run(self, job_id: str) -> None:
        """Claim and run the job; nothing happens when another slot was faster."""


class Dispatcher(Protocol):
    """Carries job ids from those who submit to the slots."""

    def notify(self, job_id: str, priority: int) -> None:
        """Say that a job waits. Best effort."""

    def serve(self, slots: Sequence[Slot]) -> None:
        """Start to bring jobs to the slots, in threads of its own."""

    def close(self) -> None:
        """Bring no further job; return when every slot is at rest."""


class EmbeddedDispatcher:
    """One thread a slot, in this process: woken by `notify`, else looking every `poll_s` seconds."""

    def __init__(self, repository: JobRepository, poll_s: float) -> None:
        self._repository = repository
        self._poll_s = poll_s
        self._bell = threading.Condition()
        self._rings = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def notify(self, job_id: str, priority: int) -> None:  # noqa: ARG002 (the table knows both)
        """Wake every idle slot."""
        with self._bell:
            self._rings += 1
            self._bell.notify_all()

    def serve(self, slots: Sequence[Slot]) -> None:
        """Start one thread a slot."""
        for slot in slots:
            thread = threading.Thread(target=self._serve, args=(slot,), name=f"slot {slot}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Let the threads end; the supervisor stops what still runs in them."""
        with self._bell:
            self._closed = True
            self._bell.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self, slot: Slot) -> None:
        heard = 0
        while not self._closed:
            try:
                found = slot.prepare() and self._run_next(slot)
            except Exception:
                logger.exception("slot %s failed and will try again", slot)
                found = False
            if not found:
                heard = self._listen(heard)

    def _run_next(self, slot: Slot) -> bool:
        job_id = self._repository.next_in(Status.QUEUED, slot.kinds)
        if job_id is not None:
            slot.run(job_id)
        return job_id is not None

    def _listen(self, heard: int) -> int:
        """Wait for a ring after ring number `heard`; rings that came meanwhile count."""
        with self._bell:
            self._bell.wait_for(lambda: self._closed or self._rings > heard, self._poll_s)
            return self._rings
