"""Tells the database of this supervisor's slots, so that every host can show them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from ..store.database import OUTAGES
from ..store.workers import View, WorkerRepository

logger = logging.getLogger(__name__)

CALM_S = 0.05
"""Changes that follow each other within this time are told at once."""
RETRY_S = 1.0


class Publisher:
    """A thread that writes at every change, and every `every_s` seconds: what is not seen for long is not live."""

    def __init__(
        self,
        workers: WorkerRepository,
        supervisor: str,
        host: str,
        every_s: float,
        views: Callable[[], Sequence[View]],
    ) -> None:
        self._workers = workers
        self._supervisor = supervisor
        self._host = host
        self._every_s = every_s
        self._views = views
        self._change = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish_forever, name="publisher", daemon=True)

    def changed(self) -> None:
        """Say that a slot is not what it was; may be called from any thread."""
        self._change.set()

    def start(self) -> None:
        """Publish now and from now on."""
        self._change.set()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and take the slots out of the table."""
        self._stop.set()
        self._change.set()
        self._thread.join()
        try:
            self._workers.forget(self._supervisor)
        except OUTAGES:
            logger.warning("the workers of %s stay in the table until they are missed", self._supervisor)

    def _publish_forever(self) -> None:
        while not self._stop.wait(CALM_S):
            self._change.wait(self._every_s)
            self._change.clear()
            if not self._stop.is_set():
                self._publish()

    def _publish(self) -> None:
        try:
            self._workers.publish(self._supervisor, self._host, self._views())
        except OUTAGES as error:
            logger.warning("the workers cannot be published yet (%s)", type(error).__name__)
            self._stop.wait(RETRY_S)
            self._change.set()
        except Exception:
            logger.exception("the workers could not be published")
