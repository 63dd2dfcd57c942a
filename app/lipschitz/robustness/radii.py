"""How far samples may move without changing their prediction, given constants of f_c - f_j.

With c the predicted class, f_c - f_j stays positive within (f_c - f_j)(x) / L_cj for a certified constant L_cj of
f_c - f_j, and the prediction within the least of these over j. A constant that holds on a ball about x serves as
well, as far as the ball reaches: the radius R for which min_j (f_c - f_j)(x) / L_cj(ball of radius R) meets R.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..deadline import Deadline
from ..operators.rounding import UNIT
from ..problem import Problem
from .margins import LocalMargins, local_margins

GLOBAL, LINEAR, SPLIT, LOCAL = range(4)
WAYS = ("global", "linear", "split", "local")
"""What gives a radius: constants of the domain, linear bounds of the margins on a ball, the same on parts of it,
constants of a ball.
"""
BATCH = 64
"""Samples whose balls grow together."""

STEPS = 6
GROWTH = 1.5
CLOSE = 1.02
"""A radius and the least one known to be out of reach this close together end the search."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows with their predicted classes `(S,)` and lower bounds of f_c - f_j, `(S, m)`, infinite for j = c."""

    index: list[int]
    points: Tensor
    predicted: Tensor
    margins: Tensor


@dataclass(frozen=True, eq=False)
class Radii:
    """Certified radii `(S,)`, the class that limits each, and what gave it: a place in `WAYS`."""

    radius: Tensor
    against: Tensor
    way: Tensor

    def part(self, rows: Tensor) -> Radii:
        """Some rows."""
        return Radii(*(column[rows] for column in self._columns))

    def put(self, rows: Tensor, part: Radii) -> Radii:
        """With other values for some rows."""
        pairs = zip(self._columns, part._columns, strict=True)
        return Radii(*(column.index_copy(0, rows, new) for column, new in pairs))

    def better(self, rows: Tensor, other: Radii) -> Radii:
        """The larger radius of each of some rows."""
        larger = other.radius > self.radius[rows]
        return self.put(rows[larger], other.part(larger))

    @property
    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.radius, self.against, self.way


def radii_of(margins: Tensor, constants: Tensor, way: int = GLOBAL) -> Radii:
    """min_j margin_j / constant_j of every row, rounded down, 0 at least; both `(S, m)`.

    Infinite only where a constant is 0: a quotient that overflows is the largest number.
    """
    quotients = (margins / constants).clamp(min=0.0) * (1.0 - 4.0 * UNIT)
    quotients = torch.nextafter(quotients, torch.zeros_like(quotients))
    quotients = torch.where((constants == 0.0) | torch.isinf(margins), math.inf, quotients)
    quotients = torch.where(margins > 0.0, quotients, 0.0)
    radius, against = quotients.min(1)
    return Radii(radius, against, torch.full_like(against, way))


def grown(
    problem: Problem, samples: Samples, constants: Tensor, radii: Radii, report: Callable[[Radii], bool]
) -> Radii:
    """The radii after the balls of as many samples as time allows have grown; `told` of them says when to stop."""
    rows = ((radii.radius > 0.0) & torch.isfinite(radii.radius)).nonzero()[:, 0]
    local = local_margins(problem) if len(rows) and problem.deadline.left else None
    for part in rows.split(BATCH):
        if local is None or problem.deadline.passed:
            break
        some = Samples([], samples.points[part], samples.predicted[part], samples.margins[part])
        larger = _grown(local, some, constants[some.predicted], radii.part(part), problem.deadline)
        radii = radii.put(part, larger)
        if report(radii):
            break
    return radii


def _grown(local: LocalMargins, samples: Samples, constants: Tensor, start: Radii, deadline: Deadline) -> Radii:
    """Bisection for the largest R with min_j margin_j / L_j(ball of radius R) >= R: L_j only grows with the ball."""
    everywhere = (samples.margins / constants).clamp(min=0.0)
    best, out_of_reach = start, torch.full_like(start.radius, math.inf)
    for _ in range(STEPS):
        active = (out_of_reach > CLOSE * best.radius).nonzero()[:, 0]
        if not len(active) or deadline.passed:
            break
        trial = torch.minimum(GROWTH * best.radius, 0.5 * (best.radius + out_of_reach))[active]
        asked = everywhere[active] < trial[:, None]
        on_balls = local.on_balls(samples.points[active], trial, samples.predicted[active], asked)
        reachable = radii_of(samples.margins[active], torch.minimum(on_balls, constants[active]), way=LOCAL)
        reached = replace(reachable, radius=torch.minimum(reachable.radius, trial))
        limit = radii_of(torch.where(asked, samples.margins[active], math.inf), on_balls).radius
        beyond = torch.minimum(out_of_reach[active], torch.maximum(limit, trial))
        best, out_of_reach = best.better(active, reached), out_of_reach.index_copy(0, active, beyond)
    return best
