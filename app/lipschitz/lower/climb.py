"""A population that climbs: random moves of all lengths, kept where they help; the best members replace the worst."""

from __future__ import annotations

import torch
from torch import Generator

from app.lipschitz.deadline import Deadline
from app.lipschitz.lower.search import Population, moved, reach
from app.lipschitz.problem import Problem

LENGTHS = (-2.0, 0.5)
"""Decimal logarithms of the moves' lengths, relative to the reach."""

ROUND = 20
"""Moves between two selections."""

PATIENCE = 8
"""Rounds without progress after which the climb ends."""

PROGRESS = 1e-4
"""Relative growth of the best norm that counts as progress."""


def climbed(
    problem: Problem, population: Population, deadline: Deadline, scale: float, random: Generator
) -> Population:
    """The population after rounds of moves, until PATIENCE of them bring no progress or time is up."""
    idle = 0
    while idle < PATIENCE and not deadline.passed:
        before = float(population.norms.max())
        population = _round(problem, population, deadline, scale, random)
        idle = 0 if float(population.norms.max()) > before * (1.0 + PROGRESS) else idle + 1
    return population


def _round(problem: Problem, population: Population, deadline: Deadline, scale: float, random: Generator) -> Population:
    low, high = LENGTHS
    for _ in range(ROUND):
        if deadline.passed:
            break
        exponent = low + (high - low) * torch.rand(len(population), 1, dtype=torch.float64, generator=random)
        lengths = 10.0**exponent * reach(problem, population.points, scale)
        candidates = moved(problem, population, lengths, random)
        population = population.where(candidates.norms > population.norms, candidates)
    kept = population.top(len(population) - len(population) // 4)
    return kept.joined(population.top(len(population) - len(kept)))
