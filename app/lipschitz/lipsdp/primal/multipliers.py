"""From the multipliers that an ascent says to some that are proved, as little above its value as may be.

At the optimum K is singular along with S. So tau = t / rho is shrunk until K is positive definite; the least rho for
that tau is the largest eigenvalue of C K^-1 C^T, and a little more of it is proved by `certificate.sparse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...certificate.balls import Array
from ...certificate.elimination import Plan
from ...certificate.sparse import Inequality
from ...certificate.sparse_system import SparseSystem
from ...deadline import Deadline

Shrinks = Sequence[tuple[float, float]]
SHRINKS = ((1e-3, 0.0), (1e-3, 1e-3), (3e-3, 3e-3), (1e-2, 1e-2), (3e-2, 3e-2), (0.1, 0.1), (0.3, 0.2))
"""By how much tau is shrunk, one after the other: everywhere, and more so from each layer to the next."""
USUAL = (1e-3, 1e-4)
"""The same where only one is tried."""
RAISES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""By how much rho is raised above the least one."""
PROOF = 2
"""Eliminations for which there has to be time left when a feasible point is found."""
KEPT = 1e-5
"""Share of K that neurons without multipliers may take: those that do not matter for the output in question."""
INSIDE = 1e-3
"""The same for a point with room to spare."""


@dataclass(frozen=True, eq=False)
class Point:
    """Multipliers `t` `(M,)` and `weights` `(n,)` of the inputs."""

    weights: Array
    t: Array


@dataclass(eq=False)
class Search:
    """The system with its plan; `layers` are the neurons' ranges in the order in which a signal passes them.

    No elimination is begun that would end after the deadline: the first is predicted to be of so much `work`, the
    others to take as long as the longest before.

    The outputs count all together, or, where they are not taken as a `whole`, each alone.
    """

    system: SparseSystem
    plan: Plan
    layers: Sequence[slice]
    deadline: Deadline
    work: float
    whole: bool = True
    longest: float = 0.0

    def feasible(
        self, weights: Array, tau: Array, least: float = 0.0, shrinks: Shrinks = SHRINKS
    ) -> tuple[Point, Array] | None:
        """The least shrunk tau, from `least` on, that makes K positive definite for these weights, which stay.

        With it C K^-1 C^T, or its diagonal where the outputs stand alone.
        """
        tau = self._floored(weights, tau)
        for shrink, by_layer in shrinks:
            if shrink < least:
                continue
            if not self.go_on(PROOF + 1):
                return None
            point = Point(weights, self._shrunk(tau, shrink, by_layer))
            levels = self.levels(point)
            if levels is not None:
                return point, levels
        return None

    def shrunk(self, weights: Array, tau: Array) -> Point:
        """The point that costs little and that most networks have."""
        return Point(weights, self._shrunk(self._floored(weights, tau), *USUAL))

    def at_level(self, point: Point, level: float) -> tuple[Point, Point] | None:
        """The point times `level`, if that is proved for all outputs together, and one with room to spare."""
        raised = times(point, level)
        return (raised, times(raised, 1.0 + INSIDE)) if bool(self.proves(raised).all()) else None

    def proved(self, point: Point, level: float, raises: Sequence[float]) -> tuple[Point, Point] | None:
        """The point times a little more than `level`, proved for all outputs together, and one with room to spare."""
        for more in raises:
            if not self.go_on(1):
                return None
            proof = self.at_level(point, level * (1.0 + more))
            if proof is not None:
                return proof
        return None

    def proves(self, point: Point) -> NDArray[np.bool_]:
        """Whether the point is proved, for all outputs together `(1,)` or for each `(p,)`."""
        return self._at(point).is_proved(whole=self.whole)

    def _at(self, point: Point) -> Inequality:
        return Inequality(self.system, self.plan, point.weights, point.t)

    def go_on(self, count: int) -> bool:
        """Whether there is time for so many eliminations."""
        if self.longest == 0.0:
            return self.deadline.fits(count * self.work)
        return self.deadline.left > 1.2 * count * self.longest

    def levels(self, point: Point) -> Array | None:
        """C K^-1 C^T, or its diagonal where the outputs stand alone; None where K is not positive definite."""
        begun = self.deadline.clock()
        levels = self._at(point).levels(whole=self.whole)
        self.longest = max(self.longest, self.deadline.clock() - begun)
        return None if levels is None or not bool(np.isfinite(levels).all()) else levels

    def _floored(self, weights: Array, tau: Array) -> Array:
        """Multipliers where there are next to none, so small that they take next to nothing from what they read.

        With f the weights and multipliers before, (v_i xi)^2 <= sum_j v_ij^2 / f_j times sum_j f_j xi_j^2.
        """
        n, floored = self.system.inputs, tau.copy()
        before = np.concatenate([weights, np.full(len(tau), np.inf)])
        squares = self.system.matrix[: len(tau)].power(2)
        steepest = np.maximum(np.abs(self.system.lower), np.abs(self.system.upper)) ** 2
        for layer in filter(_has_neurons, self.layers):
            taken = steepest[layer] * (squares[layer] @ (1.0 / before)) * (layer.stop - layer.start)
            least = KEPT / np.where(taken > 0.0, taken, 1.0)
            # A neuron whose weights have died reads next to nothing: huge multipliers would only magnify rounding.
            floored[layer] = np.maximum(floored[layer], np.minimum(least, max(least.min(), tau[layer].max())))
            before[n + layer.start : n + layer.stop] = floored[layer]
        return floored

    def _shrunk(self, tau: Array, shrink: float, by_layer: float) -> Array:
        shrunk = tau * (1.0 - shrink)
        for depth, layer in enumerate(self.layers):
            shrunk[layer] *= (1.0 - by_layer) ** depth
        return shrunk


def times(point: Point, factor: float) -> Point:
    """All weights and multipliers times a factor, which changes what they say of |C d|^2 alike."""
    return Point(point.weights * factor, point.t * factor)


def _has_neurons(layer: slice) -> bool:
    """Whether an activation has open neurons at all."""
    return bool(layer.stop > layer.start)
