"""A population that climbs: random moves of all lengths and along lines, kept where they help.

The best members replace the worst.
"""

from __future__ import annotations

import torch
from torch import Generator

from ..deadline import Deadline, OutOfTime
from ..problem import Problem
from .effort import norm_work, point_work, within
from .lines import POINTS, scanned
from .search import Population, moved, reach

LENGTHS = (-2.0, 0.5)
"""Decimal logarithms of the moves' lengths, relative to the reach."""

ROUND = 20
"""Moves between two selections."""

SCANNED = 4
"""One move in so many is along lines."""

MOST_ROUNDS = 1000

PATIENCE = 8
"""Rounds without progress after which the climb ends."""

PROGRESS = 1e-4
"""Relative growth of the best norm that counts as progress."""


def climbed(
    problem: Problem, population: Population, effort: float, *, deadline: Deadline, scale: float, random: Generator
) -> Population:
    """The population after rounds of moves, until PATIENCE of them bring no progress or the effort is spent."""
    each = ROUND * (norm_work(problem.network) + POINTS / SCANNED * point_work(problem.network))
    population, idle = population.top(within(effort / PATIENCE, each, len(population))), 0
    for _ in range(within(effort, each * len(population), MOST_ROUNDS)):
        if idle == PATIENCE or deadline.passed:
            break
        before = float(population.norms.max())
        population = _round(problem, population, deadline, scale, random)
        idle = 0 if float(population.norms.max()) > before * (1.0 + PROGRESS) else idle + 1
    return population


def _round(problem: Problem, population: Population, deadline: Deadline, scale: float, random: Generator) -> Population:
    for move in range(ROUND):
        try:
            if move % SCANNED:
                candidates = _moved(problem, population, deadline, scale, random)
            else:
                candidates = scanned(problem, population, scale, random, deadline)
        except OutOfTime:
            break
        population = population.where(candidates.norms > population.norms, candidates)
    kept = population.top(len(population) - len(population) // 4)
    return kept.joined(population.top(len(population) - len(kept)))


def _moved(problem: Problem, population: Population, deadline: Deadline, scale: float, random: Generator) -> Population:
    low, high = LENGTHS
    exponent = low + (high - low) * torch.rand(len(population), 1, dtype=torch.float64, generator=random)
    lengths = 10.0**exponent * reach(problem, population.points, scale)
    return moved(problem, population, lengths, random, deadline)
