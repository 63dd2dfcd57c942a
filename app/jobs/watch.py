"""Wakes those in this process who wait for a job. Best effort: they also look at the table now and then."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watch:
    """Callbacks by job id, called from whatever thread changed the job."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)

    def changed(self, job_id: str) -> None:
        """Wake everyone who waits for this job."""
        with self._lock:
            callbacks = list(self._callbacks.get(job_id, ()))
        for callback in callbacks:
            callback()

    @contextmanager
    def subscribe(self, job_id: str, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` called at every change of the job inside the block."""
        with self._lock:
            self._callbacks[job_id].add(callback)
        try:
            yield
        finally:
            with self._lock:
                self._callbacks[job_id].discard(callback)
                if not self._callbacks[job_id]:
                    del self._callbacks[job_id]

    @contextmanager
    def bell(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set at every change of the job."""
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        with self.subscribe(job_id, lambda: _ring(loop, event)):
            yield event


def _ring(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)
