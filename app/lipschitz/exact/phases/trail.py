"""The bracket over time: told to the job as it shrinks, thinned out for the report."""

from __future__ import annotations

import time

from ...problem import Details, Progress

SAMPLED = 50
"""Points of the report at most."""
NEWS_EVERY = 0.25
"""Seconds between two events."""


class Trail:
    """Points (seconds, upper, lower)."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._begun, self._reported = progress, time.monotonic(), 0.0
        self._points: list[tuple[float, float, float]] = []

    def record(self, upper: float, lower: float) -> None:
        """Note the bracket, and tell it a few times a second."""
        now = time.monotonic()
        if not self._points or self._points[-1][1:] != (upper, lower):
            self._points.append((round(now - self._begun, 3), upper, lower))
        if now - self._reported > NEWS_EVERY:
            self._reported = now
            self._progress({"method": "exact", "upper": upper, "lower": lower})

    def details(self) -> Details:
        """The trail for the report, the last point always in it."""
        every = max(1, -(-len(self._points) // (SAMPLED - 1)))
        return {"trail": [list(point) for point in (*self._points[:-1:every], self._points[-1])]}
