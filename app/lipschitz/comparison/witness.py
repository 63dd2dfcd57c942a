"""A point at which two models are far apart: projected gradient ascent on ||f(x) - g(x)||."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..dataset import Dataset
from ..deadline import Deadline
from ..domain import Ball, Box, Domain
from ..operators.norm import Norm
from ..operators.scaling import safe_norm
from .bounds import at_point, least_size
from .difference import Difference

STARTS, STEPS, PROVED = 32, 60, 3
SHRINK = 0.93
"""Of the length of a step, from one to the next."""


@dataclass(frozen=True, eq=False)
class Attained:
    """A flat point, and a number that ||f(x) - g(x)|| is proved to reach there."""

    x: Tensor
    value: float


def search(
    difference: Difference, domain: Domain, p: Norm, *, seed: int, deadline: Deadline, rows: Dataset | None = None
) -> Attained | None:
    """The best point found, None without one; the same for the same seed as long as time suffices."""
    x = _starts(difference, domain, seed, rows)
    best, values = x, _apart(difference, x, p).detach()
    step = _first_step(domain, x)
    for _ in range(STEPS):
        if deadline.passed:
            break
        x = domain.project(x + step * _direction(difference, x, p, domain))
        now = _apart(difference, x, p).detach()
        better = now > values
        best, values = torch.where(better[:, None], x, best), torch.where(better, now, values)
        step *= SHRINK
    order = values.nan_to_num(nan=-1.0).argsort(descending=True)[:PROVED]
    proved = [Attained(best[i], least_size(at_point(difference, best[i]), p)) for i in order.tolist()]
    return max(proved, key=lambda one: one.value, default=None)


def _starts(difference: Difference, domain: Domain, seed: int, rows: Dataset | None) -> Tensor:
    size = difference.carried.input.size
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    points = [domain.centre(size)[None], domain.sample(STARTS, size, 1.0, generator)]
    if rows is not None:
        points.append(domain.project(rows.inputs[:STARTS]))
    return torch.cat(points)


def _first_step(domain: Domain, x: Tensor) -> Tensor:
    """How far the first step may go in each coordinate, or along the gradient."""
    if isinstance(domain, Box):
        return 0.25 * (domain.upper - domain.lower).expand(x.shape[1]).clone()
    reach = 0.5 * domain.radius if isinstance(domain, Ball) else 1.0
    return torch.full((1,), reach, dtype=torch.float64, device=x.device)


def _direction(difference: Difference, x: Tensor, p: Norm, domain: Domain) -> Tensor:
    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(_apart(difference, x, p).sum(), x, materialize_grads=True)
    gradient = gradient.nan_to_num(0.0)
    if isinstance(domain, Box) or (isinstance(domain, Ball) and domain.p == "inf"):
        return gradient.sign()
    return gradient / safe_norm(gradient, 2.0, dim=1)[:, None].clamp(min=1e-300)


def _apart(difference: Difference, x: Tensor, p: Norm) -> Tensor:
    return safe_norm(difference.carried(x), float(p), dim=1)
