"""Search for points of large Jacobian norm by random moves of many points at once.

A ReLU network is linear on polytopes, and its steepest one may lie anywhere: near the origin, where biases decide
which neurons are active, or far out, where only directions do. So starting points spread over three orders of
magnitude, and so do the lengths of moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..deadline import NEVER, Deadline, OutOfTime
from ..domain import vector_norm
from ..problem import Problem
from .jacobian import batch_size, batches, steepest_at
from .pairs import Best

SPREAD = (-1.0, 2.0)
"""Decimal logarithms of the starting points' spread on the whole space, relative to `scale`."""


@dataclass(frozen=True, eq=False)
class Population:
    """Points `(B, n)` with their Jacobian norms `(B,)` and the directions that attain them `(B, n)`."""

    points: Tensor
    norms: Tensor
    directions: Tensor

    def __len__(self) -> int:
        return len(self.points)

    def top(self, count: int) -> Population:
        """The members of largest norm, largest first."""
        best = self.norms.topk(min(count, len(self))).indices
        return Population(self.points[best], self.norms[best], self.directions[best])

    def joined(self, other: Population) -> Population:
        """Both."""
        return Population(
            torch.cat([self.points, other.points]),
            torch.cat([self.norms, other.norms]),
            torch.cat([self.directions, other.directions]),
        )

    def where(self, accepted: Tensor, other: Population) -> Population:
        """The other's member where `accepted`, `(B,)`."""
        rows = accepted[:, None]
        return Population(
            torch.where(rows, other.points, self.points),
            torch.where(accepted, other.norms, self.norms),
            torch.where(rows, other.directions, self.directions),
        )


def generator(problem: Problem) -> Generator:
    """The source of a method's randomness, from the request's seed."""
    return Generator(torch.get_default_device()).manual_seed(problem.seed)


def evaluated(
    problem: Problem, points: Tensor, directions: Tensor | None = None, deadline: Deadline = NEVER
) -> Population:
    """The points, in batches, with their Jacobian norms; `directions` to start from if known.

    OutOfTime where the deadline passes before all of them are.
    """
    size = batch_size(problem.network)
    starts = range(0, len(points), size)
    parts = [slice(start, start + size) for start in starts]
    pairs = [
        steepest_at(
            problem.network, points[p], problem.p, None if directions is None else directions[p], deadline, q=problem.q
        )
        for p in parts
    ]
    return Population(points, *(torch.cat(column) for column in zip(*pairs, strict=True)))


def unexplored(problem: Problem, points: Tensor) -> Population:
    """Points with some direction each, where no time is left to find the steepest one."""
    directions = torch.ones_like(points) / math.sqrt(points.shape[1])
    return Population(points, points.new_zeros(len(points)), directions)


def scouted(problem: Problem, points: Tensor, deadline: Deadline, keep: int) -> tuple[Population, int]:
    """The `keep` best of `points`, and how many were evaluated: one at least, unless the deadline has passed."""
    if not deadline.left:
        return unexplored(problem, points[:1]), 0
    best = evaluated(problem, points[:1])
    done = 1
    for part in batches(problem.network, len(points) - 1):
        if deadline.passed:
            break
        try:
            pairs = evaluated(problem, points[1:][part], deadline=deadline)
        except OutOfTime:
            break
        best, done = best.joined(pairs).top(keep), done + len(pairs)
    return best, done


def spread_points(problem: Problem, count: int, scale: float, random: Generator) -> Tensor:
    """Points all over the domain, `(count, n)`; on the whole space at all distances around `scale`."""
    low, high = SPREAD
    exponent = low + (high - low) * torch.rand(count, 1, dtype=torch.float64, generator=random)
    return problem.domain.sample(count, problem.network.input.size, scale * 10.0**exponent, random)


def reach(problem: Problem, points: Tensor, scale: float) -> Tensor:
    """How far it makes sense to move from each point, `(B, 1)`: the domain's radius, or the distance from 0."""
    radius = problem.domain.radius_2(points.shape[1])
    if math.isfinite(radius):
        return torch.full((len(points), 1), radius, dtype=torch.float64, device=points.device)
    return vector_norm(points, "2")[:, None].clamp(min=0.01 * scale)


def moved(
    problem: Problem, population: Population, lengths: Tensor, random: Generator, deadline: Deadline = NEVER
) -> Population:
    """Every point moved at random by about `lengths`, `(B, 1)`, within the domain; OutOfTime as `evaluated`."""
    shape = population.points.shape
    away = torch.randn(shape, dtype=torch.float64, generator=random) / math.sqrt(shape[1])
    points = problem.domain.project(population.points + lengths * away)
    return evaluated(problem, points, population.directions, deadline)


def offer_best(
    problem: Problem, best: Best, population: Population, *, scale: float, deadline: Deadline, count: int = 16
) -> None:
    """Pairs around the population's best points."""
    top = population.top(count)
    best.offer_around(top.points, top.directions, reach(problem, top.points, scale), deadline)
