"""A child that waits, warm, to replace the child of a CPU slot that had to be killed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .child_factory import StartFailed, WarmChild

logger = logging.getLogger(__name__)

LOOK_S = 1.0


class Spare:
    """At most one child, started by a thread of its own, so that nobody waits for it.

    The first is started when a slot has its own, so that slots never wait for the spare.
    """

    def __init__(self, start: Callable[[], WarmChild], is_stopping: Callable[[], bool], retry_s: float = 30.0) -> None:
        self._start = start
        self._is_stopping = is_stopping
        self._retry_s = retry_s
        self._change = threading.Condition()
        self._child: WarmChild | None = None
        self._is_starting = False
        self._is_lent = False
        self._thread: threading.Thread | None = None

    def want(self) -> None:
        """Have a spare from now on."""
        with self._change:
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="spare", daemon=True)
                self._thread.start()

    def take(self) -> WarmChild | None:
        """The spare, now its taker's; waits while it is being started. None where there is none."""
        with self._change:
            while self._is_starting and not self._is_stopping():
                self._change.wait(LOOK_S)
            warm, self._child = self._child, None
            self._change.notify_all()
        if warm is not None and not warm.child.is_alive():
            warm.child.kill()
            return None
        return warm

    def is_ready(self) -> bool:
        """Whether a child waits."""
        with self._change:
            return self._child is not None and not self._is_stopping()

    def lend(self) -> WarmChild | None:
        """The spare for a while, None where none waits; no other is started before `give_back`."""
        with self._change:
            warm, self._child = self._child, None
            if warm is not None and not warm.child.is_alive():
                warm.child.kill()
                warm = None
            self._is_lent = warm is not None
        return warm

    def give_back(self, warm: WarmChild | None) -> None:
        """Take the spare back; None where it is no more."""
        with self._change:
            self._child, self._is_lent = warm, False
            self._change.notify_all()

    def close(self) -> None:
        """End the thread, once the service stops, and the spare."""
        with self._change:
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _keep(self) -> None:
        while not self._is_stopping():
            with self._change:
                if self._child is not None or self._is_lent:
                    self._change.wait(LOOK_S)
                    continue
                self._is_starting = True
            self._fill()
        if (left := self.take()) is not None:
            left.child.kill()

    def _fill(self) -> None:
        warm, error = None, None
        try:
            warm = self._start()
        except StartFailed as failure:
            error = failure
        with self._change:
            self._child, self._is_starting = warm, False
            self._change.notify_all()
            if error is not None and not self._is_stopping():
                logger.error("the spare worker did not start: %s", error)
                self._change.wait(self._retry_s)
