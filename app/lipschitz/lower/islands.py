"""Fresh populations that climb apart from the others, for networks that are cheap to evaluate.

The steepest pieces of a network of few inputs are small and hidden anywhere, so that one population soon consists of
relatives. An island starts from points of its own, on the whole space at one scale.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ..deadline import NEVER, Deadline
from ..problem import Problem
from .effort import norm_work, point_work
from .lines import POINTS, scanned
from .search import Population, evaluated

SCOUTS, SETTLERS, SCANS = 4096, 128, 12
"""Points of an island, those of them that climb, and the lines that each one tries."""

NATURAL, SCALES = (-0.7, 0.2), (-2.0, 4.0)
"""Decimal logarithms of the scales, relative to `scale`: half of the islands below 1, a quarter anywhere, and a quarter
about the best point's."""

NEAR = 0.3
"""Half the width of the scales about the best point's, in decades."""


def island_work(problem: Problem) -> float:
    """Multiplications that an island is worth."""
    each = norm_work(problem.network)
    return SCOUTS * each + SETTLERS * SCANS * (each + POINTS * point_work(problem.network))


def island(
    problem: Problem, elite: Population, scale: float, random: Generator, deadline: Deadline = NEVER
) -> Population:
    """A population that has climbed along lines; OutOfTime where the deadline passes before it has."""
    settlers = evaluated(problem, _points(problem, elite, scale, random), deadline=deadline).top(SETTLERS)
    for _ in range(SCANS):
        candidates = scanned(problem, settlers, scale, random, deadline)
        settlers = settlers.where(candidates.norms > settlers.norms, candidates)
    return settlers


def _points(problem: Problem, elite: Population, scale: float, random: Generator) -> Tensor:
    size = problem.network.input.size
    if math.isfinite(problem.domain.radius_2(size)):
        return problem.domain.sample(SCOUTS, size, scale, random)
    cube = 2.0 * torch.rand(SCOUTS, size, dtype=torch.float64, generator=random) - 1.0
    kind, place = (float(torch.rand((), dtype=torch.float64, generator=random)) for _ in range(2))
    low, high = NATURAL if kind < 0.5 else SCALES
    best = float(elite.top(1).points.abs().max())
    if kind > 0.75 and best > 0.0:
        return cube * best * math.pow(10.0, NEAR * (2.0 * place - 1.0))
    return cube * scale * math.pow(10.0, low + (high - low) * place)
