"""Points on the steepest pieces of lines through a domain.

A steep piece is often a thin slab, which random moves miss and a line across it does not. So f is evaluated at points
all along a line, denser near the middle, and the search goes on between the two neighbours with the largest slope.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..deadline import NEVER, Deadline
from ..domain import vector_norm
from ..operators.norm import Norm
from ..problem import Problem
from .jacobian import batch_size, unit
from .pairs import TINY
from .search import Population, evaluated, reach

POINTS = 32
"""Points on a line."""

LENGTHS = (-3.0, 1.0)
"""Decimal logarithms of half a line's length, relative to the reach."""


def scanned(
    problem: Problem, population: Population, scale: float, random: Generator, deadline: Deadline = NEVER
) -> Population:
    """For every member the steepest place of a line through it: along its steepest direction, towards another member,
    or anywhere. OutOfTime where the deadline passes before all are known."""
    low, high = LENGTHS
    count = len(population)
    exponent = low + (high - low) * torch.rand(count, 1, dtype=torch.float64, generator=random)
    lengths = 10.0**exponent * reach(problem, population.points, scale)
    places = _places(count, random) * lengths
    directions = _directions(population, random)
    size = max(1, batch_size(problem.network) // POINTS)
    parts = [slice(start, start + size) for start in range(0, count, size)]
    steps = []
    for p in parts:
        deadline.check()
        steps.append(_steepest(problem, population.points[p], directions[p], places[p]))
    return evaluated(problem, torch.cat(steps), population.directions, deadline)


def _places(count: int, random: Generator) -> Tensor:
    """Where the points lie on lines from -1 to 1, `(count, POINTS)`."""
    offset = torch.rand(count, 1, dtype=torch.float64, generator=random)
    even = (torch.arange(POINTS, dtype=torch.float64) + offset) / POINTS * 2.0 - 1.0
    return even * even.abs()


def _directions(population: Population, random: Generator) -> Tensor:
    anywhere = unit(torch.randn(population.points.shape, dtype=torch.float64, generator=random))
    other = torch.randint(len(population), (len(population),), generator=random)
    towards = unit(population.points[other] - population.points + TINY * anywhere)
    kind = torch.randint(3, (len(population), 1), generator=random)
    return torch.where(kind == 0, unit(population.directions), torch.where(kind == 1, towards, anywhere))


def _steepest(problem: Problem, points: Tensor, directions: Tensor, places: Tensor) -> Tensor:
    """The middle of each line's steepest step, `(B, n)`."""
    count, size = points.shape
    line = points[:, None, :] + places[:, :, None] * directions[:, None, :]
    line = problem.domain.project(line.reshape(-1, size))
    with torch.no_grad():
        values = problem.network(line).reshape(count, POINTS, -1)
    line = line.reshape(count, POINTS, size)
    rise, run = _steps(values, problem.output_norm), _steps(line, problem.p)
    slope = torch.nan_to_num(rise / run.clamp(min=TINY), nan=0.0, posinf=0.0)
    best, rows = slope.argmax(1), torch.arange(count, device=points.device)
    return problem.domain.project(torch.lerp(line[rows, best], line[rows, best + 1], 0.5))


def _steps(rows: Tensor, p: Norm) -> Tensor:
    """The distances of neighbours, `(B, T, n)` -> `(B, T - 1)`."""
    apart = rows[:, 1:] - rows[:, :-1]
    return vector_norm(apart.reshape(-1, apart.shape[2]), p).reshape(apart.shape[:2])
