"""How fast a child may speak: one that sends without end must not keep its supervisor reading without end."""

from __future__ import annotations

import time

MOST = 200
"""Messages in one second."""


class Pace:
    """Counts messages by the second."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0

    def note(self) -> None:
        """One more message came."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1

    def rest_s(self) -> float:
        """How long to leave the pipe unread; 0 for a child that keeps within the limit."""
        return max(0.0, self._second + 1 - time.monotonic()) if self._count >= MOST else 0.0
