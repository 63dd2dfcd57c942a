"""From the multipliers that an ascent says to some that are proved, as little above its value as may be.

At the optimum K is singular along with S. So tau = t / rho is shrunk until K is positive definite; the least rho for
that tau is the largest eigenvalue of C K^-1 C^T, and a little more of it is proved by `certificate.sparse`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.lipschitz.certificate.balls import Array
from app.lipschitz.certificate.elimination import Plan
from app.lipschitz.certificate.sparse import Inequality
from app.lipschitz.certificate.sparse_system import SparseSystem

SHRINKS = ((1e-3, 0.0), (1e-3, 1e-3), (3e-3, 3e-3), (1e-2, 1e-2), (3e-2, 3e-2), (0.1, 0.1), (0.3, 0.2))
"""By how much tau is shrunk, one after the other: everywhere, and more so from each layer to the next."""
RAISES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""By how much rho is raised above the least one."""
INSIDE = 1e-3
"""The same for a point with room to spare."""


@dataclass(frozen=True, eq=False)
class Point:
    """Multipliers `t` `(M,)` and `weights` `(n,)` of the inputs."""

    weights: Array
    t: Array


@dataclass(frozen=True, eq=False)
class Search:
    """The system with its plan; `layers` are the neurons' ranges; `go_on` is asked before each factorisation."""

    system: SparseSystem
    plan: Plan
    layers: Sequence[slice]
    go_on: Callable[[], bool]

    def feasible(self, weights: Array, tau: Array, least: float = 0.0) -> tuple[Point, Array] | None:
        """The least shrunk tau, from `least` on, that makes K positive definite for these weights, which stay.

        With it C K^-1 C^T, or its diagonal where the outputs stand alone.
        """
        for shrink, by_layer in SHRINKS:
            if shrink < least:
                continue
            if not self.go_on():
                return None
            point = Point(weights, self._shrunk(tau, shrink, by_layer))
            levels = self._at(point).levels(whole=True)
            if levels is not None and bool(np.isfinite(levels).all()):
                return point, levels
        return None

    def proved(self, point: Point, level: float) -> tuple[Point, Point] | None:
        """The point times a little more than `level`, proved for all outputs together, and one with room to spare."""
        for more in RAISES:
            if not self.go_on():
                return None
            raised = _times(point, level * (1.0 + more))
            if bool(self._at(raised).is_proved(whole=True)[0]):
                return raised, _times(point, level * (1.0 + more) * (1.0 + INSIDE))
        return None

    def _at(self, point: Point) -> Inequality:
        return Inequality(self.system, self.plan, point.weights, point.t)

    def _shrunk(self, tau: Array, shrink: float, by_layer: float) -> Array:
        found = tau * (1.0 - shrink)
        for depth, layer in enumerate(self.layers):
            found[layer] *= (1.0 - by_layer) ** depth
        return found


def _times(point: Point, factor: float) -> Point:
    return Point(point.weights * factor, point.t * factor)
