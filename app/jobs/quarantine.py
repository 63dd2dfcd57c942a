"""When a GPU must rest: after a fault of its own, or when it takes one child after another down."""

from __future__ import annotations

import time
from collections import deque

from ..errors import Problem, WorkerCrashed
from ..lipschitz.errors import is_device_fault
from ..refusals import AnalysisFailed

OWN_FAULTS = ("device-side assert", "out of memory")
"""What a model can do to itself on a sound device."""

CRASHES = 3
WINDOW_S = 600.0


def is_fault(error: Problem | None) -> bool:
    """Whether CUDA failed: then the child's context is lost, whoever was at fault."""
    if not isinstance(error, AnalysisFailed):  # refusals hold names that the model's author chose
        return False
    return is_device_fault(error.detail) and "out of memory" not in error.detail.lower()


class Quarantine:
    """One device's. A job that failed for reasons of its own, or was canceled, is no sign."""

    def __init__(self, rest_s: float) -> None:
        self._rest_s = rest_s
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._until = 0.0
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why the device rests; empty when it does not."""
        return self._reason if time.monotonic() < self._until else ""

    def note(self, error: Problem | None) -> None:
        """Learn from how a job ended."""
        now = time.monotonic()
        if error is not None and is_fault(error) and not any(own in error.detail.lower() for own in OWN_FAULTS):
            self._rest(f"the device failed: {error.detail}")
        elif isinstance(error, WorkerCrashed):
            self._crashes.append(now)
            if len(self._crashes) == CRASHES and now - self._crashes[0] <= WINDOW_S:
                self._rest(f"{CRASHES} children died in a row")
        else:
            self._crashes.clear()

    def _rest(self, reason: str) -> None:
        self._reason, self._until = reason, time.monotonic() + self._rest_s
        self._crashes.clear()
