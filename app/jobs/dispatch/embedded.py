"""Jobs for the slots of this process, without a broker."""

from __future__ import annotations

from collections.abc import Sequence

from ..dispatcher import Slot
from .slot_threads import SlotThreads


class EmbeddedDispatcher:
    """Slots are woken by `notify`, and by `hear` where the database brings news."""

    def __init__(self, poll_s: float) -> None:
        self._threads = SlotThreads(poll_s)

    def notify(self, job_id: str, priority: int) -> None:  # noqa: ARG002 (the table knows both)
        """Wake every idle slot."""
        self._threads.ring()

    def hear(self, job_id: str) -> None:  # noqa: ARG002 (the table knows it)
        """Wake every idle slot."""
        self._threads.ring()

    def serve(self, slots: Sequence[Slot]) -> None:
        """Start one thread a slot."""
        self._threads.open(slots)

    def close(self) -> None:
        """Let the threads end; the supervisor stops what still runs in them."""
        self._threads.close()
