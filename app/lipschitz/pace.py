"""How fast this machine multiplies matrices at the moment: measured by a small product, never assumed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

SMALL = 2e8
"""Work below this many multiplications takes no time worth measuring."""
CAUTION = 2.0
"""Predictions are that much longer than the measured rate says: other shapes and other processes slow work down."""
CHOLESKY, EIGENVALUES = 2.0, 30.0
"""Multiplications that a factorisation of side n is worth, over n^3: how long it takes beside a product."""
_SIDE = 320
_STALE_S = 5.0

_measured: dict[str, tuple[float, float]] = {}
"""By device: when the rate was measured, and the rate."""


@dataclass(frozen=True)
class Pace:
    """Predicts durations; a given `rate`, in multiplications a second, is for tests."""

    rate: float | None = None

    def seconds(self, work: float) -> float:
        """How long so many multiplications take, likely at most."""
        if self.rate is not None:
            return work / self.rate
        return 0.0 if work < SMALL else CAUTION * work / _current()


def _current() -> float:
    """Multiplications a second of the default device, not older than some seconds."""
    device, now = str(torch.get_default_device()), time.monotonic()
    when, rate = _measured.get(device, (-_STALE_S, 0.0))
    if now - when > _STALE_S or rate == 0.0:
        rate = _rate()
        _measured[device] = now, rate
    return rate


def _rate() -> float:
    """The best of four products: the first one waits for threads to wake, others for other processes."""
    a = torch.ones(_SIDE, _SIDE, dtype=torch.float64)
    best = float("inf")
    for _ in range(4):
        begun = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - begun)
    return float(_SIDE) ** 3 / max(best, 1e-9)
