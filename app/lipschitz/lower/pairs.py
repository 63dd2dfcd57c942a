"""Pairs of points as witnesses of a lower bound, and the steepest ones seen.

A pair attains ||f(x) - f(y)||_q / ||x - y||_p exactly, smooth or not, where a Jacobian from autodiff can be wrong
at a kink. The search compares pairs in float64, less a share of the values that cancel; what is reported of the pairs
that it ends with is evaluated anew, with every rounding counted (`attained.py`).
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..deadline import Deadline, OutOfTime
from ..domain import vector_norm
from ..operators.norm import Norm
from ..problem import Problem, Witness
from .attained import attained
from .jacobian import Function, batches

CANCELLED = 2.0**-47
"""What rounding in the last layer may change in f(x), relative to ||f(x)|| and to the slope times ||x||."""

EVALUATED = 4
"""Pairs that are evaluated with every rounding counted, at most, while there is time."""

SEARCHING = 0.8
"""Part of a method's time that a search may take; the rest is for the evaluation of what it found."""

EVALUATING, EVALUATING_S = 0.5, 1.0
"""Time that the evaluation may take, relative to the search's, and seconds that it may take in any case."""

FIRST_S = 30.0
"""Seconds that the first pair may take within the method's time: without it nothing is attained."""

TELLING = 0.05
"""Part of the time that such evaluations may take before the end, to tell how far the search has come."""

TELLING_S = 0.05
"""What one of them gets at least: in less it would seldom come to an answer."""

LADDER = tuple(10.0**-k for k in range(1, 7))
"""Distances that are tried around a point, relative to its reach: a linear piece may be small."""

TINY = torch.finfo(torch.float64).tiny


def slopes(function: Function, x: Tensor, y: Tensor, p: Norm, q: Norm | None = None) -> Tensor:
    """The slope of every pair, `(B,)`, from p to q (p where there is none), less what rounding is likely to have added.

    0 where x is y.
    """
    with torch.no_grad():
        value_x, value_y = function(torch.cat([x, y])).split(len(x))
    return safe_slopes(x, y, value_x, value_y, (p, q or p))


def safe_slopes(x: Tensor, y: Tensor, value_x: Tensor, value_y: Tensor, norms: tuple[Norm, Norm]) -> Tensor:
    """The same from known values."""
    sizes_x, sizes_y, apart = vector_norm(torch.cat([x, y, y - x]), norms[0]).split(len(x))
    values = vector_norm(torch.cat([value_x, value_y, value_y - value_x]), norms[1])
    sizes_of_x, sizes_of_y, rise = values.split(len(x))
    distance = apart.clamp(min=TINY)
    slope = rise / distance
    cancelled = sizes_of_x + sizes_of_y + slope * (sizes_x + sizes_y)
    safe = torch.nan_to_num(slope - CANCELLED * cancelled / distance, nan=0.0, posinf=0.0, neginf=0.0)
    return safe.clamp(min=0.0)


def ends(problem: Problem, middle: Tensor, direction: Tensor, distance: float | Tensor) -> tuple[Tensor, Tensor]:
    """The pairs m - h v/2 and m + h v/2 within the domain, `(B, n)` each."""
    half = 0.5 * distance * direction
    return problem.domain.project(middle - half), problem.domain.project(middle + half)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two points, and the slope between them as the search computed it."""

    slope: float
    x: Tensor
    y: Tensor


class Best:
    """The steepest pairs seen so far by one method: one a distance, by powers of ten, for rounding blurs short ones."""

    def __init__(self, problem: Problem, method: str) -> None:
        self._problem = problem
        self._method = method
        self._pairs: dict[int | str, Pair] = {}
        self._slope = -1.0
        self._evaluated: dict[Pair, Witness] = {}
        self._begun, self._spent = time.monotonic(), 0.0

    def offer(self, x: Tensor, y: Tensor, slope: Tensor | None = None) -> None:
        """Consider pairs `(B, n)`, whose slopes may be known."""
        if slope is None:
            slope = slopes(self._problem.network, x, y, self._problem.p, self._problem.q)
        position = int(slope.argmax())
        self._keep(x[position], y[position], float(slope[position]))

    def _keep(self, x: Tensor, y: Tensor, slope: float) -> None:
        distance = float((y - x).abs().max())
        decade = int(math.log10(distance)) if distance > 0.0 else -400
        pair = Pair(slope, x.detach().clone(), y.detach().clone())
        if decade not in self._pairs or slope > self._pairs[decade].slope:
            self._pairs[decade] = pair
        if slope > self._slope:
            self._slope = slope
            self._tell(pair)

    def _tell(self, pair: Pair) -> None:
        """How far the search has come, if what the pair attains is known in a small part of its time."""
        left = TELLING * (time.monotonic() - self._begun) - self._spent
        if left > TELLING_S:
            with suppress(OutOfTime):
                self._evaluate(pair, Deadline.after(left))

    def offer_around(self, points: Tensor, directions: Tensor, reach: Tensor, deadline: Deadline) -> None:
        """Consider pairs around `points` along `directions`, `(B, n)`, at distances up to `reach`, `(B, 1)`.

        One pair of the first point's is considered in any case, the others until the deadline.
        """
        is_offered = False
        for part in batches(self._problem.network, len(points)):
            if part.start and deadline.passed:
                break
            for step in LADDER:
                if is_offered and deadline.passed:
                    break
                is_offered = True
                middle = _inward(self._problem, points[part], step)
                x, y = ends(self._problem, middle, directions[part], step * reach[part])
                self.offer(x, y)
                if step == LADDER[0]:
                    self._pairs.setdefault("first", Pair(0.0, x[0].detach().clone(), y[0].detach().clone()))

    def witness(self) -> Witness:
        """The pair that attains most, every rounding counted; at least one pair must have been offered.

        Which pairs were told of depends on the load, so that those count only where the time is over.
        """
        assert self._pairs
        candidates = list(self._evaluated.values()) if self._problem.deadline.passed else []
        given = self._problem.deadline
        limit = given.within(max(EVALUATING * (time.monotonic() - self._begun), EVALUATING_S))
        ranked = sorted(self._pairs.values(), key=lambda one: one.slope, reverse=True)
        for pair in [*ranked[: EVALUATED - 1], self._pairs.get("first", ranked[-1])]:
            best = max((one.value for one in candidates), default=0.0)
            if candidates and (limit.passed or 0.0 < pair.slope <= best):
                break
            until = limit if candidates else given.within(max(FIRST_S, limit.left))
            self._problem = replace(self._problem, deadline=until)
            candidates.append(self._evaluate(pair, sharper=limit))
        return max(candidates, key=lambda one: one.value)

    def _evaluate(self, pair: Pair, deadline: Deadline | None = None, sharper: Deadline | None = None) -> Witness:
        if pair in self._evaluated:
            return self._evaluated[pair]
        begun, before = time.monotonic(), max((one.value for one in self._evaluated.values()), default=-1.0)
        try:
            value = attained(self._problem, pair.x, pair.y, deadline, sharper)
        finally:
            self._spent += time.monotonic() - begun
        witness = self._evaluated[pair] = Witness(pair.x, pair.y, value.value, value.error)
        if value.value > before:
            self._problem.progress({"method": self._method, "lower": value.value})
        return witness


def _inward(problem: Problem, points: Tensor, step: float) -> Tensor:
    """The points moved off the domain's boundary, by a share that leaves room for a pair of relative length `step`."""
    size = points.shape[1]
    if not math.isfinite(problem.domain.radius_2(size)):
        return points
    return torch.lerp(points, problem.domain.centre(size).expand_as(points), min(1.0, step * math.sqrt(size)))
