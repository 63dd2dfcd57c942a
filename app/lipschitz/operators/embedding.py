"""How much longer a vector is in one norm than in another: ||x||_r <= n^max(0, 1/r - 1/p) ||x||_p (Hoelder)."""

from __future__ import annotations

from .norm import Norm
from .rounding import up_sqrt

INVERSE: dict[Norm, float] = {"1": 1.0, "2": 0.5, "inf": 0.0}


def embedding(size: int, p: Norm, r: Norm) -> float:
    """The largest ||x||_r over ||x||_p for `size` entries, rounded up."""
    power = max(0.0, INVERSE[r] - INVERSE[p])
    return {0.0: 1.0, 0.5: up_sqrt(float(max(size, 1))), 1.0: float(max(size, 1))}[power]
