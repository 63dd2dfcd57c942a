"""Jacobian norms at the points of a data set [VS18, section 6], and slopes between its points."""

from __future__ import annotations

import torch
from torch import Tensor

from ...contract.options import DatasetOptions
from ..deadline import Deadline
from ..errors import MethodSkipped
from ..problem import Estimate, Problem
from .jacobian import batches
from .pairs import SEARCHING, Best
from .search import offer_best, scouted

PAIRED = 2000
"""Points that are compared with each other: the first so many."""

BLOCK = 256
"""Rows of the table of slopes computed at a time."""

KEPT = 64
"""Points of largest norm that pairs are tried around."""


def dataset(problem: Problem, options: DatasetOptions) -> Estimate:
    """The best pair of data points, or around one, among the points that lie in the domain."""
    points, outside = _inside(problem)
    deadline = problem.deadline_within(options.seconds, SEARCHING)
    best = Best(problem, "dataset")
    scouts, done = scouted(problem, points, deadline, KEPT)
    offer_best(problem, best, scouts, scale=1.0, deadline=deadline, count=KEPT)
    paired = _offer_pairs(problem, best, points[:PAIRED], deadline)
    witness = best.witness()
    details = {"points": done, "outside": outside, "paired": paired}
    return Estimate("dataset", witness.value, details=details, witness=witness)


def _inside(problem: Problem) -> tuple[Tensor, int]:
    """The data points in the domain `(S, n)`, and how many are not."""
    if problem.dataset is None:
        raise MethodSkipped("the request names no data set: give its id as `dataset`")
    rows = problem.dataset.inputs
    inside = (problem.domain.project(rows) == rows).all(1)
    if not bool(inside.any()):
        raise MethodSkipped("no point of the data set lies in the domain")
    return rows[inside], int((~inside).sum())


def _offer_pairs(problem: Problem, best: Best, points: Tensor, deadline: Deadline) -> int:
    """Offer the steepest pair of each block of data points; how many points were compared with the others."""
    values = _values(problem, points, deadline)
    points, done = points[: len(values)], 0
    for start in range(0, len(points), BLOCK):
        if deadline.passed:
            break
        block = slice(start, start + BLOCK)
        slopes = _distances(values[block], values, problem.output_norm) / _distances(points[block], points, problem.p)
        position = int(torch.nan_to_num(slopes, nan=0.0, posinf=0.0).argmax())
        row, column = divmod(position, len(points))
        done += len(points[block])
        best.offer(points[block][row][None], points[column][None])
    return done


def _values(problem: Problem, points: Tensor, deadline: Deadline) -> Tensor:
    """The network at the points, or at as many of the first as time allows, `(S, m)`."""
    values: list[Tensor] = []
    with torch.no_grad():
        for part in batches(problem.network, len(points)):
            if values and deadline.passed:
                break
            values.append(problem.network(points[part]))
    return torch.cat(values)


def _distances(x: Tensor, y: Tensor, p: str) -> Tensor:
    """||x_i - y_j||_p, `(B, S)`, not by the matrix product, which cancels."""
    return torch.cdist(x, y, float(p), compute_mode="donot_use_mm_for_euclid_dist")
