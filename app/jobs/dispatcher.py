"""How a free slot learns that a job waits. An engine is a doorbell: the table decides who runs what.

A notification may be lost, doubled or reordered, so every dispatcher's slots also look at the table unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .record import Kind


class Slot(Protocol):
    """A place where one job at a time can run."""

    @property
    def kinds(self) -> Sequence[Kind]:
        """What can run here."""

    def prepare(self) -> bool:
        """Whether a job could start now; starts what is missing."""

    def run_next(self) -> bool:
        """Claim the job that is next for it and run it; False when none waits."""


class Dispatcher(Protocol):
    """Carries job ids from those who submit to the slots."""

    def notify(self, job_id: str, priority: int) -> None:
        """Say that a job waits. Best effort, and never slow."""

    def hear(self, job_id: str) -> None:
        """A job waits that was submitted anywhere, or a slot was taken and another may have to step in. Best effort."""

    def serve(self, slots: Sequence[Slot]) -> None:
        """Start to bring jobs to the slots, in threads of its own."""

    def close(self) -> None:
        """Bring no further job; return when every slot is at rest."""
