"""Simulated annealing on the logarithm of the Jacobian's norm [VS18, section 6], many chains in one batch.

A move is accepted with probability min(1, (new norm / old norm)^(1/T)). The temperature T and the moves' length
fall geometrically, so the chains roam at first and climb in the end.
"""

from __future__ import annotations

import math

import torch
from torch import Generator

from ...contract.options import AnnealingOptions
from ..deadline import Deadline, OutOfTime
from ..problem import Estimate, Problem
from .pairs import SEARCHING, TINY, Best
from .search import Population, generator, moved, offer_best, reach, scouted, spread_points

TEMPERATURES = (0.3, 0.003)
"""First and last T: a norm lower by 30 % is accepted about as often as one by 0.3 % in the end."""

LENGTHS = (1.0, 0.01)
"""First and last length of a move, relative to the domain's radius or the distance from the origin."""

START_SHARE = 0.1
"""There are as many chains as can be started in this part of the time."""


def annealing(problem: Problem, options: AnnealingOptions) -> Estimate:
    """The best pair around the points of largest norm that any of `chains` chains met, within `seconds`."""
    deadline = problem.deadline_within(options.seconds, SEARCHING)
    scale, random = options.scale, generator(problem)
    points = spread_points(problem, options.chains, scale, random)
    state, chains = scouted(problem, points, deadline.share(START_SHARE), len(points))
    steepest, done = _annealed(problem, state, options.steps, deadline=deadline, scale=scale, random=random)
    best = Best(problem, "annealing")
    offer_best(problem, best, steepest, scale=scale, deadline=deadline)
    witness = best.witness()
    return Estimate("annealing", witness.value, details={"chains": chains, "steps": done}, witness=witness)


def _annealed(
    problem: Problem, state: Population, steps: int, *, deadline: Deadline, scale: float, random: Generator
) -> tuple[Population, int]:
    """Every chain's best member, and the number of moves; they cool faster where not all fit the time."""
    begun, best, done = deadline.clock(), state, 0
    affordable = steps
    while done < affordable and not deadline.passed:
        progress = done / max(affordable - 1, 1)
        lengths = _between(LENGTHS, progress) * reach(problem, state.points, scale)
        try:
            candidates = moved(problem, state, lengths, random, deadline)
        except OutOfTime:
            break
        state = state.where(_accepted(state, candidates, _between(TEMPERATURES, progress), random), candidates)
        best = best.where(state.norms > best.norms, state)
        done += 1
        affordable = min(steps, done + int(min(done * deadline.left / (deadline.clock() - begun + 1e-9), steps)))
    return best, done


def _accepted(state: Population, candidates: Population, temperature: float, random: Generator) -> torch.Tensor:
    """Metropolis' rule, `(B,)`; whatever leaves a norm of zero is accepted."""
    gain = torch.log(candidates.norms.clamp(min=TINY)) - torch.log(state.norms.clamp(min=TINY))
    chance = torch.rand(len(state), dtype=torch.float64, generator=random)
    return torch.log(chance) * temperature < gain


def _between(ends: tuple[float, float], progress: float) -> float:
    first, last = ends
    return first * math.pow(last / first, progress)
