"""How far samples may move without changing their prediction, given constants of f_c - f_j.

With c the predicted class, f_c - f_j stays positive within (f_c - f_j)(x) / L_cj for a certified constant L_cj of
f_c - f_j, and the prediction within the least of these over j. A constant that holds on a ball about x serves as
well, as far as the ball reaches: the radius R for which min_j (f_c - f_j)(x) / L_cj(ball of radius R) meets R.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lipschitz.deadline import Deadline
from app.lipschitz.operators.rounding import UNIT
from app.lipschitz.problem import Problem
from app.lipschitz.robustness.margins import LocalMargins, local_margins

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
    """Certified radii `(S,)`, the class that limits each, and whether a ball's constant or the domain's gave it."""

    radius: Tensor
    against: Tensor
    is_local: Tensor

    def lists(self) -> tuple[list[float], list[int], list[bool]]:
        """The columns as plain numbers."""
        return self.radius.tolist(), self.against.tolist(), self.is_local.tolist()


def radii_of(margins: Tensor, constants: Tensor, is_local: bool = False) -> Radii:
    """min_j margin_j / constant_j of every row, rounded down, 0 at least; both `(S, m)`.

    Infinite only where a constant is 0: a quotient that overflows is the largest number.
    """
    quotients = (margins / constants).clamp(min=0.0) * (1.0 - 4.0 * UNIT)
    quotients = torch.nextafter(quotients, torch.zeros_like(quotients))
    quotients = torch.where((constants == 0.0) | torch.isinf(margins), math.inf, quotients)
    quotients = torch.where(margins > 0.0, quotients, 0.0)
    radius, against = quotients.min(1)
    return Radii(radius, against, torch.full_like(against, is_local, dtype=torch.bool))


def grown(problem: Problem, samples: Samples, constants: Tensor, radii: Radii) -> Radii:
    """The radii after the balls of as many samples as time allows have grown."""
    rows = ((radii.radius > 0.0) & torch.isfinite(radii.radius)).nonzero()[:, 0]
    local = local_margins(problem) if len(rows) and problem.deadline.left else None
    for done, part in enumerate(rows.split(BATCH)):
        if local is None or problem.deadline.passed:
            break
        problem.progress({"phase": "certifying", "done": done * BATCH, "total": len(rows)})
        some = Samples([], samples.points[part], samples.predicted[part], samples.margins[part])
        grown_ = _grown(local, some, constants[some.predicted], _part(radii, part), problem.deadline)
        radii = _put(radii, part, grown_)
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
        radii = radii_of(samples.margins[active], torch.minimum(on_balls, constants[active]), is_local=True)
        reached = replace(radii, radius=torch.minimum(radii.radius, trial))
        limit = radii_of(torch.where(asked, samples.margins[active], math.inf), on_balls).radius
        beyond = torch.minimum(out_of_reach[active], torch.maximum(limit, trial))
        best, out_of_reach = _better(best, active, reached), out_of_reach.index_copy(0, active, beyond)
    return best


def _better(best: Radii, rows: Tensor, radii: Radii) -> Radii:
    """The larger radius of each of some rows."""
    larger = radii.radius > best.radius[rows]
    return _put(best, rows[larger], _part(radii, larger))


def _all(radii: Radii) -> tuple[Tensor, Tensor, Tensor]:
    return radii.radius, radii.against, radii.is_local


def _part(radii: Radii, rows: Tensor) -> Radii:
    return Radii(*(column[rows] for column in _all(radii)))


def _put(radii: Radii, rows: Tensor, part: Radii) -> Radii:
    return Radii(*(column.index_copy(0, rows, new) for column, new in zip(_all(radii), _all(part), strict=True)))
