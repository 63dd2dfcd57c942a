"""The largest radii that linear bounds prove: balls that grow and shrink until the last one that is proved is known.

What is proved of a row only grows, whenever the search is stopped. With a radius that is asked for, rows that may reach
it are tried there first, the nearest to it first, and only then how far each may go.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..deadline import Deadline
from ..problem import Problem
from .linear import LinearMargins
from .radii import LINEAR, SPLIT, Radii, Samples

STEPS = 8
GROWTH, FIRST = 2.0, 0.6
"""A radius grows so many times while none is known to be out of reach; the first trial is this part of the ceiling."""
CLOSE = 1.02
"""A radius and the least one known to be out of reach this close together end the search."""

SPLITS, AT_ONCE = 4, 16
"""Radii of a row that branch and bound tries, and rows that are cut into parts together."""

Report = Callable[[Radii, int, int], bool]
"""Radii so far, rows that are done, of so many; true where the search may stop."""


def grown_linearly(
    problem: Problem,
    linear: LinearMargins,
    samples: Samples,
    radii: Radii,
    *,
    ceiling: Tensor,
    asked: float | None,
    report: Report,
) -> Radii:
    """The radii after linear bounds; `ceiling`, `(S,)`, are distances at which the prediction is known to change."""
    if asked is not None:
        hopeful = (radii.radius < asked) & (ceiling > asked)
        rows = hopeful.nonzero()[:, 0]
        rows = rows[radii.radius[rows].argsort(descending=True)]
        for done, part in _parts(rows, linear.batch):
            if problem.deadline.passed or report(radii, done, len(rows)):
                return radii
            radii = radii.better(part, _at(linear, samples, part, torch.full((len(part),), asked, dtype=torch.float64)))
        if report(radii, len(rows), len(rows)):
            return radii
    rows = ((radii.radius * CLOSE < ceiling) & torch.isfinite(radii.radius)).nonzero()[:, 0]
    for done, part in _parts(rows, linear.batch):
        if problem.deadline.passed or report(radii, done, len(rows)):
            break
        radii = _searched(linear, samples, radii, part, ceiling=ceiling[part], deadline=problem.deadline)
    return radii


def split_further(
    problem: Problem,
    linear: LinearMargins,
    samples: Samples,
    radii: Radii,
    *,
    ceiling: Tensor,
    asked: float | None,
    report: Report,
) -> Radii:
    """The radii after branch and bound on balls: at the radius that is asked for, then between what is proved and what
    has fallen, the rows that are nearest to either first.
    """
    for step in range(SPLITS + 1):
        goal = _goal(radii, ceiling, asked if step == 0 else None)
        rows = ((radii.radius < goal) & (goal < ceiling)).nonzero()[:, 0]
        rows = rows[(goal / radii.radius)[rows].argsort(stable=True)]
        for done, part in _parts(rows, AT_ONCE):
            if problem.deadline.passed or report(radii, done, len(rows)):
                return radii
            proved = linear.split(samples.points[part], goal[part], samples.predicted[part])
            better = part[proved & (samples.margins[part] > 0.0).all(1)]
            way = torch.full_like(better, SPLIT)
            radii = radii.put(better, Radii(goal[better], radii.against[better], way))
            if asked is None or step:
                ceiling = ceiling.clone()
                ceiling[part[~proved]] = goal[part[~proved]]  # not tried again
    return radii


def _goal(radii: Radii, ceiling: Tensor, asked: float | None) -> Tensor:
    if asked is not None:
        return torch.full_like(radii.radius, asked)
    is_far = (ceiling > CLOSE * radii.radius) & torch.isfinite(ceiling) & (radii.radius > 0.0)
    return torch.where(is_far, (radii.radius * ceiling).sqrt(), 0.0)


def _parts(rows: Tensor, batch: int) -> list[tuple[int, Tensor]]:
    return [(place * batch, part) for place, part in enumerate(rows.split(batch))] if len(rows) else []


def _searched(
    linear: LinearMargins, samples: Samples, radii: Radii, rows: Tensor, *, ceiling: Tensor, deadline: Deadline
) -> Radii:
    beyond = ceiling.clone()
    for step in range(STEPS):
        best = radii.radius[rows]
        active = (beyond > CLOSE * best) & torch.isfinite(best)
        if deadline.passed or not bool(active.any()):
            break
        trial = _trial(best, beyond, step == 0)[active]
        proved = _at(linear, samples, rows[active], trial)
        beyond[active] = torch.where(proved.radius < trial, trial, beyond[active])
        radii = radii.better(rows[active], proved)
    return radii


def _trial(best: Tensor, beyond: Tensor, is_first: bool) -> Tensor:
    """Where to try next: halfway, in ratios, between what is proved and what is out of reach; further out at first."""
    between = torch.where(best > 0.0, (best * beyond).sqrt(), beyond / 8.0)
    between = torch.maximum(between, FIRST * beyond) if is_first else between
    return torch.where(torch.isfinite(beyond), between, torch.where(best > 0.0, GROWTH * best, 1.0))


def _at(linear: LinearMargins, samples: Samples, rows: Tensor, radii: Tensor) -> Radii:
    """What linear bounds on balls of given radii prove."""
    reach = linear.reach(samples.points[rows], radii, samples.predicted[rows])
    radius, against = torch.where(samples.margins[rows] > 0.0, reach, 0.0).min(1)
    radius = torch.where(torch.isinf(radius), radii, radius)
    return Radii(radius, against, torch.full_like(against, LINEAR))
