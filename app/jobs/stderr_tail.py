"""What a child writes to its standard error: passed on to the log, within limits, and its end kept."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger(__name__)

READ_BYTES = 2**16
MAX_BYTES = 2**18
KEPT_BYTES = 2**12


class StderrTail:
    """Reads one descriptor without ever waiting. After `MAX_BYTES` since the last `renew` the log hears no more."""

    def __init__(self, descriptor: int, pid: int) -> None:
        self._descriptor = descriptor
        self._pid = pid
        self._tail = b""
        self._line = b""
        self._heard = 0
        os.set_blocking(descriptor, False)

    @property
    def tail(self) -> str:
        """The last few thousand characters."""
        return self._tail.decode("utf-8", "replace")

    @property
    def is_too_much(self) -> bool:
        """Whether more was said than the log hears."""
        return self._heard >= MAX_BYTES

    def renew(self) -> None:
        """A new job begins: what was said before is forgotten."""
        self._tail, self._heard = b"", 0

    def read(self) -> bool:
        """Take what is there; False when nothing will come any more."""
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return True
        self._tail = (self._tail + data)[-KEPT_BYTES:]
        if self._heard < MAX_BYTES:
            self._pass_on(data)
        return bool(data)

    def _pass_on(self, data: bytes) -> None:
        self._heard += len(data)
        *lines, self._line = (self._line + data).split(b"\n")
        if self._heard >= MAX_BYTES:
            lines, self._line = [*lines, b"(more was said and is left out)"], b""
        for line in lines:
            logger.info("worker process %d: %s", self._pid, line.decode("utf-8", "backslashreplace"))
