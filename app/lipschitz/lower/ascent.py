"""Momentum ascent of log ||J_beta(x) v||, many trajectories in one batch.

Every step takes a step of the p-norm power method in v and one of normalised momentum in x, while beta grows and the
steps shrink. On the whole space |x - c| stays what it was (a network without biases is as steep at 2 x as at x, and
where it flattens the ascent would run away), so that a trajectory's scale is its start's; a bounded set is kept by
projection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..deadline import Deadline
from ..domain import Ball, Box, Domain, vector_norm
from ..operators.norm import Norm
from ..problem import Problem
from .coordinates import Coordinates
from .jacobian import steepest, unit
from .tangent import TINY, tangent

LAST_BETA = 100.0
"""Sharpness of the gates in the end: they are the network's but for one part in a hundred of the neurons."""

LAST_STRIDE = 0.01
"""The last step, relative to |x - c| or to the domain's radius."""

MOMENTUM = 0.9


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Coordinates y and unit directions v, `(B, n)`; sharpness and stride to begin with, `(B, 1)`."""

    y: Tensor
    v: Tensor
    beta: Tensor
    stride: Tensor


def ascended(
    problem: Problem, coordinates: Coordinates, start: Trajectories, steps: int, deadline: Deadline
) -> tuple[Tensor, Tensor]:
    """Coordinates and directions after `steps` steps, or as many as fit."""
    y, v, momentum = start.y, start.v, torch.zeros_like(start.y)
    for step in range(steps):
        if deadline.passed:
            break
        progress = step / max(steps - 1, 1)
        beta = start.beta * (LAST_BETA / start.beta) ** progress
        pull_y, pull_v = _pulls(problem, coordinates, y, v, beta)
        v = _power_step(pull_v, v, problem.p, progress)
        stride = start.stride * (LAST_STRIDE / start.stride) ** progress
        y, momentum = _moved(problem.domain, coordinates, y, pull=pull_y, momentum=momentum, stride=stride)
    return y, v


def _pulls(problem: Problem, coordinates: Coordinates, y: Tensor, v: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of log ||J_beta v|| in y and v."""
    y, v = y.detach().requires_grad_(True), v.detach().requires_grad_(True)
    pushed = tangent(problem.network, coordinates.points(y), v, beta)
    logarithm = torch.log(vector_norm(pushed, problem.output_norm).clamp(min=TINY)).sum()
    pull_y, pull_v = torch.autograd.grad(logarithm, (y, v), materialize_grads=True)
    return torch.nan_to_num(pull_y, posinf=0.0, neginf=0.0), torch.nan_to_num(pull_v, posinf=0.0, neginf=0.0)


def _power_step(pull: Tensor, v: Tensor, p: Norm, progress: float) -> Tensor:
    """The steepest direction; in the 1-norm, where that is one coordinate, spread over several at first."""
    if p != "1" or progress > 0.5:
        return steepest(pull, p, fallback=v)
    spread = pull * pull.abs()
    size = spread.abs().sum(1, keepdim=True)
    return torch.where(size > 0.0, spread / size.clamp(min=TINY), v)


def _moved(
    domain: Domain, coordinates: Coordinates, y: Tensor, *, pull: Tensor, momentum: Tensor, stride: Tensor
) -> tuple[Tensor, Tensor]:
    radius = domain.radius_2(y.shape[1])
    if math.isfinite(radius):
        momentum = MOMENTUM * momentum + (1.0 - MOMENTUM) * unit(pull)
        away = unit(torch.sign(momentum)) if _has_corners(domain) else unit(momentum)
        inside = domain.project(coordinates.points(y + stride * radius * away))
        return coordinates.of_points(inside), momentum
    size = vector_norm(y, "2")[:, None]
    outwards = y / size.clamp(min=TINY)
    momentum = MOMENTUM * momentum + (1.0 - MOMENTUM) * unit(_across(pull, outwards))
    momentum = _across(momentum, outwards)
    return size * unit(y + stride * size * unit(momentum)), momentum


def _across(rows: Tensor, outwards: Tensor) -> Tensor:
    """Without their part along `outwards`."""
    return rows - (rows * outwards).sum(1, keepdim=True) * outwards


def _has_corners(domain: Domain) -> bool:
    return isinstance(domain, Box) or (isinstance(domain, Ball) and domain.p == "inf")
