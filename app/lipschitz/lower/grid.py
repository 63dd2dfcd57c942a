"""Jacobian norms on a regular grid [VS18, section 6], for inputs of few dimensions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...contract.options import GridOptions
from ..deadline import NEVER, Deadline, OutOfTime
from ..errors import MethodSkipped
from ..network.propagation import of_domain
from ..problem import Estimate, Problem
from .jacobian import batches
from .pairs import SEARCHING, Best
from .search import Population, evaluated, offer_best, unexplored

DIMENSIONS = 8
"""More than these would leave a grid of a million points five points a side."""

KEPT = 64
"""Grid points of largest norm that pairs are tried around."""


def grid(problem: Problem, options: GridOptions) -> Estimate:
    """The best pair around grid points on the domain, or on [-scale, scale]^n; at most `points` of them."""
    scale = options.scale
    lower, upper = _cube(problem, scale)
    varying = torch.nonzero(lower < upper).flatten()
    if not 1 <= len(varying) <= DIMENSIONS:
        raise MethodSkipped(f"a grid serves 1 to {DIMENSIONS} input dimensions that vary, not {len(varying)}")
    side = max(1, int(options.points ** (1.0 / len(varying)) + 1e-9))
    deadline = problem.deadline_within(options.seconds, SEARCHING)
    steepest, done = _searched(problem, lower, upper, varying=varying, side=side, deadline=deadline)
    best = Best(problem, "grid")
    offer_best(problem, best, steepest, scale=scale, deadline=deadline, count=KEPT)
    witness = best.witness()
    return Estimate("grid", witness.value, details={"side": side, "points": done}, witness=witness)


def _cube(problem: Problem, scale: float) -> tuple[Tensor, Tensor]:
    """The corners of the domain's bounding box, `(n,)` each."""
    around = of_domain(problem.domain, problem.network.input.size)
    lower = torch.nan_to_num(around.lower, neginf=-scale)
    upper = torch.nan_to_num(around.upper, posinf=scale)
    return lower, upper


def _searched(
    problem: Problem, lower: Tensor, upper: Tensor, *, varying: Tensor, side: int, deadline: Deadline
) -> tuple[Population, int]:
    """The best grid points, and how many were evaluated: in a random order, so that an early end leaves a sample."""
    total, done = side ** len(varying), 0
    best: Population | None = None
    stride = _coprime(total)
    if not deadline.left:
        return unexplored(
            problem, problem.domain.project(_points(torch.zeros(1, dtype=torch.int64), lower, upper, varying, side))
        ), 0
    for part in batches(problem.network, total):
        numbers = torch.arange(part.start, part.stop, device=lower.device) * stride % total
        points = problem.domain.project(_points(numbers, lower, upper, varying, side))
        try:
            pairs = evaluated(problem, points, deadline=NEVER if best is None else deadline)
        except OutOfTime:
            break
        best = (pairs if best is None else best.joined(pairs)).top(KEPT)
        done += len(numbers)
    assert best is not None
    return best, done


def _coprime(total: int) -> int:
    """A stride that meets all of `total` numbers, near the golden section: every stretch of them is well spread."""
    stride = max(1, int(0.618 * total))
    while math.gcd(stride, total) > 1:
        stride += 1
    return stride


def _points(numbers: Tensor, lower: Tensor, upper: Tensor, varying: Tensor, side: int) -> Tensor:
    """The grid points of those numbers, `(B, n)`; a grid of one point a side is the middle."""
    places = side ** torch.arange(len(varying), device=numbers.device)
    digits = (numbers[:, None] // places % side).to(torch.float64)
    share = digits / (side - 1) if side > 1 else digits + 0.5
    points = lower.repeat(len(numbers), 1)
    points[:, varying] += share * (upper - lower)[varying]
    return points
