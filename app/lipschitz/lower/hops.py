"""The deep search: rounds of smoothed ascents, each of which starts from what the best ones so far have in common.

The first round starts from random points at many scales, on the whole space from 10^-2 to 10^4 about the origin and
about rows of the data set. Every further one perturbs members of the elite, half of them crossed with another, moves
them to a neighbouring scale and ascends again; a member is kept while it is among the best. Rounds take turns in plain
and in whitened coordinates. Where points are cheap, each one also brings islands (`islands.py`).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Generator, Tensor

from ..deadline import Deadline, OutOfTime
from ..domain import vector_norm
from ..problem import Problem
from .ascent import Trajectories, ascended
from .coordinates import Coordinates, whitened
from .effort import step_work, within
from .islands import island, island_work
from .jacobian import batch_size, steepest, unit
from .lines import scanned
from .search import Population, evaluated

SCALES = (-2.0, 4.0)
"""Decimal logarithms of the first starts' distances, relative to `scale`."""

STEPS, HOP_STEPS = 100, 50
"""Steps of the first ascents, and of those after a hop."""

STRIDES, HOP_STRIDES = (-1.0, -0.5), (-2.0, -1.0)
"""Decimal logarithms of their first strides."""

KICKS = (-2.0, 0.0)
"""Decimal logarithms of a hop's length, relative to the distance from the centre."""

CROSSED = 0.5
"""Part of the hops that start between two members of the elite."""

DRIFT = 0.3
"""Standard deviation of a hop's change of scale, in decades."""

TRAJECTORIES = (4, 32)
"""In one round, least and most."""

ROUND = 1e10
"""Multiplications that a round's ascents may be worth, where they are more than the least."""

ISLANDS, ISLAND_INPUTS = 3, 32
"""Fresh populations in a round, at most, and inputs of a network that has any."""

CLOSED = 1e-6
"""Relative gap to the least certified bound at which nothing is left to find."""

PATIENCE, PROGRESS = 12, 1e-3
"""The search ends after so many rounds that raise the best norm by less than this share."""


def planned(problem: Problem, rounds: int) -> tuple[int, int]:
    """Trajectories a round, and rounds: fewer of both where steps are costly; no round where not one is affordable."""
    each = HOP_STEPS * step_work(problem.network)
    least, most = TRAJECTORIES
    count = within(ROUND, each, min(most, max(least, batch_size(problem.network) // 8)), least)
    return count, min(rounds, int(rounds * ROUND / (count * each)))


def deepened(
    problem: Problem, known: Population, rounds: int, *, scale: float, deadline: Deadline, random: Generator
) -> tuple[Population, int]:
    """The elite after up to `rounds` rounds, and how many were begun; `known` points are members from the start."""
    count, rounds = planned(problem, rounds)
    elite, done, idle = known.top(count), 0, 0
    ways = _ways(problem) if rounds else []
    has_few_inputs = problem.network.input.size <= ISLAND_INPUTS
    islands = within(ROUND, island_work(problem), ISLANDS, 0) if has_few_inputs else 0
    while done < rounds and idle < PATIENCE and not deadline.passed and not _is_closed(problem, elite):
        before, way = float(elite.norms.max()), ways[done % len(ways)]
        if done < len(ways):
            start, steps = _first(problem, way, count, scale, random), STEPS
        else:
            start, steps = _hops(problem, elite, way, count, random), HOP_STEPS
        y, v = ascended(problem, way, start, steps, deadline)
        done += 1
        try:
            pairs = [evaluated(problem, problem.domain.project(way.points(y)), v, deadline)]
            pairs.append(scanned(problem, elite, scale, random, deadline))
            pairs += [island(problem, elite, scale, random, deadline) for _ in range(islands)]
        except OutOfTime:
            break
        elite = functools.reduce(Population.joined, pairs, elite).top(count)
        idle = 0 if float(elite.norms.max()) > before * (1.0 + PROGRESS) else idle + 1
    return elite, done


def _is_closed(problem: Problem, elite: Population) -> bool:
    """Whether nothing is left between what is attained and what is proved."""
    return float(elite.norms.max()) >= problem.ceiling * (1.0 - CLOSED)


def _ways(problem: Problem) -> list[Coordinates]:
    """The coordinates of one round after another."""
    plain = Coordinates(problem.domain.centre(problem.network.input.size))
    white = whitened(problem.network) if _is_unbounded(problem) else None
    return [plain] if white is None else [white, plain]


def _is_unbounded(problem: Problem) -> bool:
    return math.isinf(problem.domain.radius_2(problem.network.input.size))


def _first(problem: Problem, way: Coordinates, count: int, scale: float, random: Generator) -> Trajectories:
    """From random points; on the whole space at many scales, every other one about a row of the data set."""
    size = problem.network.input.size
    away = _random_directions(count, size, random) * math.sqrt(size) * scale * _powers(SCALES, count, random)
    x = way.points(away)
    if not _is_unbounded(problem):
        x = problem.domain.sample(count, size, scale, random)
    elif problem.dataset is not None:
        rows = problem.dataset.inputs
        x[::2] += rows[torch.randint(len(rows), (len(x[::2]),), generator=random)]
    v = steepest(torch.randn(count, size, dtype=torch.float64, generator=random), problem.p)
    return _trajectories(way.of_points(x), v, STRIDES, random)


def _hops(problem: Problem, elite: Population, way: Coordinates, count: int, random: Generator) -> Trajectories:
    """From the elite, the better the more often: perturbed, crossed, at a neighbouring scale."""
    one, other = (torch.randint(len(elite), (2, count), generator=random) for _ in range(2))
    parent, mate = one.min(0).values, other[0]
    share = 0.5 * torch.rand(count, 1, dtype=torch.float64, generator=random)
    share = share * (torch.rand(count, 1, dtype=torch.float64, generator=random) < CROSSED)
    y = way.of_points(elite.points)
    kick = _powers(KICKS, count, random) * _random_directions(count, y.shape[1], random)
    radius = problem.domain.radius_2(y.shape[1])
    if math.isfinite(radius):
        y = torch.lerp(y[parent], y[mate], share) + radius * kick
        y = way.of_points(problem.domain.project(way.points(y)))
    else:
        drift = DRIFT * torch.randn(count, 1, dtype=torch.float64, generator=random)
        length = vector_norm(y[parent], "2")[:, None] * 10.0**drift
        y = length * unit(unit(torch.lerp(unit(y[parent]), unit(y[mate]), share)) + kick)
    return _trajectories(y, elite.directions[parent], HOP_STRIDES, random)


def _trajectories(y: Tensor, v: Tensor, strides: tuple[float, float], random: Generator) -> Trajectories:
    return Trajectories(y, v, torch.ones(len(y), 1, dtype=torch.float64), _powers(strides, len(y), random))


def _powers(ends: tuple[float, float], count: int, random: Generator) -> Tensor:
    """Random powers of ten, `(count, 1)`."""
    low, high = ends
    return 10.0 ** (low + (high - low) * torch.rand(count, 1, dtype=torch.float64, generator=random))


def _random_directions(count: int, size: int, random: Generator) -> Tensor:
    return unit(torch.randn(count, size, dtype=torch.float64, generator=random))
