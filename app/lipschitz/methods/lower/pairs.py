"""Pairs of points as witnesses of a lower bound, and the steepest one seen.

A pair attains ||f(x) - f(y)||_p / ||x - y||_p exactly, smooth or not, where a Jacobian from autodiff can be wrong
at a kink. What its evaluation in float64 may lose is taken off: a share of the values that cancel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import vector_norm
from app.lipschitz.methods.lower.jacobian import Function, batches
from app.lipschitz.operators.norm import Norm
from app.lipschitz.problem import Problem, Witness

SAFETY = 1.0 - 1e-9
"""Reported value over attained value: covers the rounding in evaluating the pair."""

CANCELLED = 2.0**-47
"""What rounding may change in f(x), relative to ||f(x)|| and to the slope times ||x||."""

LADDER = tuple(10.0**-k for k in range(1, 7))
"""Distances that are tried around a point, relative to its reach: a linear piece may be small."""

TINY = torch.finfo(torch.float64).tiny


def slopes(function: Function, x: Tensor, y: Tensor, p: Norm) -> Tensor:
    """The slope of every pair, `(B,)`, less what its rounding may have added; 0 where x is y."""
    with torch.no_grad():
        value_x, value_y = function(torch.cat([x, y])).split(len(x))
    return safe_slopes(x, y, value_x, value_y, p)


def safe_slopes(x: Tensor, y: Tensor, value_x: Tensor, value_y: Tensor, p: Norm) -> Tensor:
    """The same from known values."""
    distance = vector_norm(y - x, p).clamp(min=TINY)
    slope = vector_norm(value_y - value_x, p) / distance
    cancelled = vector_norm(value_x, p) + vector_norm(value_y, p)
    cancelled = cancelled + slope * (vector_norm(x, p) + vector_norm(y, p))
    safe = torch.nan_to_num(slope - CANCELLED * cancelled / distance, nan=0.0, posinf=0.0, neginf=0.0)
    return safe.clamp(min=0.0)


def ends(problem: Problem, middle: Tensor, direction: Tensor, distance: float | Tensor) -> tuple[Tensor, Tensor]:
    """The pairs m - h v/2 and m + h v/2 within the domain, `(B, n)` each."""
    half = 0.5 * distance * direction
    return problem.domain.project(middle - half), problem.domain.project(middle + half)


class Best:
    """The steepest pair seen so far by one method."""

    def __init__(self, problem: Problem, method: str) -> None:
        self._problem = problem
        self._method = method
        self._pair: tuple[Tensor, Tensor] | None = None
        self._slope = -1.0

    def offer(self, x: Tensor, y: Tensor, slope: Tensor | None = None) -> None:
        """Consider pairs `(B, n)`, whose slopes may be known."""
        if slope is None:
            slope = slopes(self._problem.network, x, y, self._problem.p)
        position = int(slope.argmax())
        if float(slope[position]) > self._slope:
            self._slope = float(slope[position])
            self._pair = (x[position].detach().clone(), y[position].detach().clone())
            self._problem.progress({"method": self._method, "lower": self._slope})

    def offer_around(self, points: Tensor, directions: Tensor, reach: Tensor, deadline: Deadline) -> None:
        """Consider pairs around `points` along `directions`, `(B, n)`, at distances up to `reach`, `(B, 1)`.

        One pair of the first point's is considered in any case, the others until the deadline.
        """
        for part in batches(self._problem.network, len(points)):
            if part.start and deadline.passed:
                break
            for step in LADDER:
                if self._pair is not None and deadline.passed:
                    break
                middle = _inward(self._problem, points[part], step)
                self.offer(*ends(self._problem, middle, directions[part], step * reach[part]))

    def witness(self) -> Witness:
        """The pair, evaluated once more on its own; at least one pair must have been offered."""
        assert self._pair is not None
        x, y = self._pair
        (slope,) = slopes(self._problem.network, x[None], y[None], self._problem.p)
        return Witness(x, y, float(slope) * SAFETY)


def _inward(problem: Problem, points: Tensor, step: float) -> Tensor:
    """The points moved off the domain's boundary, by a share that leaves room for a pair of relative length `step`."""
    size = points.shape[1]
    if not math.isfinite(problem.domain.radius_2(size)):
        return points
    return torch.lerp(points, problem.domain.centre(size).expand_as(points), min(1.0, step * math.sqrt(size)))
