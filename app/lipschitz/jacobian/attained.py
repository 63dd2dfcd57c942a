"""Derivatives that points of the domain attain: how much of an enclosure is really there.

Many points are tried with automatic differentiation, those first that were steepest in some entry moved about a little;
what counts is then enclosed at the best of them, rounding included: an interval of derivatives at one point is attained
in the sense that none there is below its lower end. At a kink it holds all one-sided derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..bounds.entries import Entries
from ..deadline import NEVER, Deadline
from ..domain import Box, Domain
from ..errors import BracketViolation
from ..lower.jacobian import batch_size, jacobians
from ..lower.search import generator
from ..network.nodes import Network
from ..network.propagation import propagate
from ..problem import Problem
from .enclosure import by_intervals

POINTS = 512
"""Points of a round, where they take little memory."""
ROUNDS = 3
MOST_POINTS = 48
"""Points at which derivatives are enclosed."""
ENTRIES = 2**22
"""Of all Jacobians that are held at once."""


@dataclass(frozen=True, eq=False)
class Attained:
    """Some derivative d f_i / d x_j of the domain is at most `lower`, and some at least `upper`, `(m, n)` each.

    `lower_at` and `upper_at` say at which of the `points` `(K, n)`.
    """

    lower: Tensor
    upper: Tensor
    lower_at: Tensor
    upper_at: Tensor
    points: Tensor

    @property
    def magnitude(self) -> Tensor:
        """What |d f_i / d x_j| is at least somewhere."""
        return torch.maximum(self.upper, -self.lower).clamp(min=0.0)


def attained(problem: Problem, network: Network, entries: Entries, deadline: Deadline) -> Attained | None:
    """The extreme derivatives that were found before the deadline; None where there was no time for any point.

    BracketViolation where one is outside its enclosure.
    """
    with torch.no_grad():
        best = None
        for x in _candidates(problem, deadline):
            if deadline.passed:
                break
            best = _joined(best, x, by_intervals(network, propagate(network, Box(x, x)), NEVER))
    if best is not None and bool(((best.upper > entries.upper) | (best.lower < entries.lower)).any()):
        raise BracketViolation("a derivative at a point is outside its certified enclosure: a defect of Lipserve")
    return best


def _joined(known: Attained | None, x: Tensor, here: Entries) -> Attained:
    """With what is attained at one more point; where several derivatives may be, the least of them counts."""
    if known is None:
        first = torch.zeros_like(here.lower, dtype=torch.int64)
        return Attained(here.upper, here.lower, first, first, x[None])
    place, points = len(known.points), torch.cat([known.points, x[None]])
    less, more = here.upper < known.lower, here.lower > known.upper
    return Attained(
        torch.where(less, here.upper, known.lower),
        torch.where(more, here.lower, known.upper),
        torch.where(less, place, known.lower_at),
        torch.where(more, place, known.upper_at),
        points,
    )


def _candidates(problem: Problem, deadline: Deadline) -> Tensor:
    """Points of the domain, `(K, n)`, in the order in which they are worth a proof: the middle, then the steepest."""
    domain, size, random = problem.domain, problem.network.input.size, generator(problem)
    middle = domain.project(domain.centre(size)[None])
    count = max(1, min(POINTS, ENTRIES // (size * problem.network.output.size), batch_size(problem.network)))
    points = torch.cat([middle, _corners(domain, count // 4, size, random), *_rows(problem, count)])
    scale = 10.0 ** (3.0 * torch.rand(count, 1, dtype=torch.float64, generator=random) - 1.0)
    points = torch.cat([points, domain.sample(count, size, scale, random)])
    best = middle
    for _ in range(ROUNDS):
        best = _steepest(problem.network, torch.cat([best, points]))
        if deadline.share(0.5).passed:
            break
        width = 10.0 ** (-2.0 * torch.rand(count, 1, dtype=torch.float64, generator=random))
        spread = (points.amax(0) - points.amin(0)) * width
        near = best[torch.randint(len(best), (count,), generator=random)]
        points = domain.project(near + 0.2 * spread * torch.randn(count, size, dtype=torch.float64, generator=random))
    return torch.cat([middle, best])[:MOST_POINTS]


def _steepest(network: Network, points: Tensor) -> Tensor:
    """The points at which some derivative is least or largest, those of most entries first."""
    with torch.enable_grad():
        entries = torch.cat([jacobians(network, part) for part in points.split(batch_size(network))])
    places = torch.cat([entries.argmin(0).flatten(), entries.argmax(0).flatten()])
    which, counts = places.unique(return_counts=True)
    return points[which[counts.argsort(descending=True)][:MOST_POINTS]]


def _corners(domain: Domain, count: int, size: int, random: Generator) -> Tensor:
    """Corners of a box, where a monotone activation is flattest and steepest."""
    if not isinstance(domain, Box):
        return torch.zeros(0, size, dtype=torch.float64)
    upper = torch.rand(count, size, generator=random) < 0.5
    return torch.where(upper, domain.upper.expand(size), domain.lower.expand(size))


def _rows(problem: Problem, count: int) -> list[Tensor]:
    """Rows of the data set that lie in the domain."""
    if problem.dataset is None:
        return []
    rows = problem.dataset.inputs[:count]
    return [rows[(problem.domain.project(rows) == rows).all(1)]]
