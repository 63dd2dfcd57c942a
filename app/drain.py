"""The end of a service: it takes no new work, and those who only wait are woken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Drain:
    """Begun by a signal, rung by the server's loop."""

    def __init__(self) -> None:
        self._begun_at: float | None = None
        self._bells: set[asyncio.Event] = set()

    @property
    def is_on(self) -> bool:
        """Whether the service is stopping."""
        return self._begun_at is not None

    @property
    def age_s(self) -> float:
        """Seconds since the service began to stop; 0 before."""
        return 0.0 if self._begun_at is None else time.monotonic() - self._begun_at

    def begin(self) -> None:
        """Take no new work from now on; a signal handler may call this, as it does not touch the loop."""
        if self._begun_at is None:
            self._begun_at = time.monotonic()

    def ring(self) -> None:
        """Wake everyone who waits."""
        for bell in self._bells:
            bell.set()

    @contextmanager
    def rings(self, bell: asyncio.Event) -> Iterator[None]:
        """Have the bell rung when the service stops inside the block."""
        self._bells.add(bell)
        try:
            yield
        finally:
            self._bells.discard(bell)
