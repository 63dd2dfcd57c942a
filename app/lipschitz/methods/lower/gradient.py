"""Gradient ascent on the slope of pairs: a lower bound with a witness that anyone can re-evaluate.

A pair x = m - h v/2, y = m + h v/2 attains ||f(x) - f(y)||_p / ||x - y||_p exactly, smooth or not, where
a Jacobian from autodiff can be wrong at a kink. With the gradients g_x, g_y of log ||f(x) - f(y)||, the
direction takes a step of the p-norm power method, v <- argmax <g_y - g_x, v> over the unit ball (for p = 2 and
linear f this is power iteration on A^T A), and the midpoint moves along g_x + g_y. The distance h shrinks from
the spread of the starting points, where the slope of a ReLU network is smooth enough an average to climb, to
a thousandth of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from app.lipschitz.domain import vector_norm
from app.lipschitz.operators.norm import Norm
from app.lipschitz.problem import Estimate, Problem, Witness

SHRINK = 1e-3
"""Smallest pair distance relative to the largest: far above the rounding of float64."""

SAFETY = 1.0 - 1e-9
"""Reported value over attained value: covers the rounding in evaluating the pair."""


def gradient(problem: Problem, options: dict[str, Any]) -> Estimate:
    """The best pair over ascents from up to `restarts` points, `steps` steps each, within `seconds`."""
    steps, scale = int(options["steps"]), float(options["scale"])
    deadline = time.monotonic() + min(float(options["seconds"]), max(problem.seconds_left(), 0.0))
    middle, direction = _starts(problem, int(options["restarts"]), scale)
    spread = float(vector_norm(middle - middle.mean(0), problem.p).mean()) or scale
    affordable = _affordable(problem, middle, direction, spread, steps, deadline)
    middle, direction = middle[:affordable], direction[:affordable]
    best, done = _Best(problem), 0
    while done < steps and (done == 0 or time.monotonic() < deadline):
        distance = spread * SHRINK ** (done / max(steps - 1, 1))
        x, y = _pairs(problem, middle, direction, distance)
        slope, pull_x, pull_y = _slopes(problem.network, x, y, problem.p)
        best.offer(x, y, slope)
        direction = steepest(pull_y - pull_x, problem.p, fallback=direction)
        middle = problem.domain.project(middle + distance * _unit(pull_x + pull_y))
        done += 1
    witness = best.witness()
    return Estimate("gradient", witness.value, details={"restarts": affordable, "steps": done}, witness=witness)


def _starts(problem: Problem, restarts: int, scale: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(torch.get_default_device()).manual_seed(problem.seed)
    size = problem.network.input.size
    middle = problem.domain.sample(restarts, size, scale, generator)
    return middle, steepest(torch.randn(restarts, size, dtype=torch.float64, generator=generator), problem.p)


def _affordable(problem: Problem, middle: Tensor, direction: Tensor, spread: float, steps: int, deadline: float) -> int:
    """How many ascents can take all their steps in time, judged by timing one step of the first."""
    begun = time.monotonic()
    _slopes(problem.network, *_pairs(problem, middle[:1], direction[:1], spread), problem.p)
    one = time.monotonic() - begun
    return max(1, min(len(middle), int((deadline - begun) / (steps * one + 1e-9))))


def _pairs(problem: Problem, middle: Tensor, direction: Tensor, distance: float) -> tuple[Tensor, Tensor]:
    half = 0.5 * distance * direction
    return problem.domain.project(middle - half), problem.domain.project(middle + half)


def _slopes(function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, p: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """Slope of every pair `(R,)`, and the gradients of log ||f(x) - f(y)|| in x and y, `(R, n)`."""
    both = torch.cat([x, y]).requires_grad_(True)
    value_x, value_y = function(both).split(len(x))
    apart = vector_norm(value_y - value_x, p)
    logarithm = torch.log(apart.clamp(min=torch.finfo(torch.float64).tiny)).sum()
    (pull,) = torch.autograd.grad(logarithm, both, materialize_grads=True)
    pull = torch.nan_to_num(pull)
    slope = apart.detach() / vector_norm(y - x, p).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.nan_to_num(slope, nan=0.0, posinf=0.0), pull[: len(x)], pull[len(x) :]


def steepest(pull: Tensor, p: Norm, fallback: Tensor | None = None) -> Tensor:
    """argmax <pull, v> over ||v||_p <= 1, row by row; `fallback` where the pull vanishes."""
    if p == "2":
        found = _unit(pull)
    elif p == "inf":
        found = torch.sign(pull)
    else:
        largest = pull.abs().argmax(1, keepdim=True)
        found = torch.zeros_like(pull).scatter_(1, largest, torch.sign(pull.gather(1, largest)))
    still = (pull == 0).all(1, keepdim=True)
    return found if fallback is None else torch.where(still, fallback, found)


def _unit(rows: Tensor) -> Tensor:
    return rows / vector_norm(rows, "2")[:, None].clamp(min=torch.finfo(torch.float64).tiny)


class _Best:
    """The steepest pair seen so far."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._pair: tuple[Tensor, Tensor] | None = None
        self._slope = -1.0

    def offer(self, x: Tensor, y: Tensor, slope: Tensor) -> None:
        position = int(slope.argmax())
        if float(slope[position]) > self._slope:
            self._slope = float(slope[position])
            self._pair = (x[position].clone(), y[position].clone())
            self._problem.progress({"method": "gradient", "lower": self._slope})

    def witness(self) -> Witness:
        assert self._pair is not None
        return Witness(*self._pair, max(0.0, self._slope * SAFETY))
