"""Pairs of points that attain the norm of the Jacobian where the function is linear."""

from __future__ import annotations

import torch
from torch import Tensor

from ...lower.attained import attained
from ...lower.pairs import slopes
from ...operators.norm import Norm
from ...problem import Problem, Witness
from .bounds import Enclosure, enclose
from .model import Model

STEPS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Distances of a pair, relative to the size of its middle or the room around it."""

ENOUGH = 1e-9
"""Relative distance to the Jacobian's norm, which is known to rounding only, at which a pair is good enough."""

EVALUATED = 3
"""Pairs that are evaluated with every rounding counted, at most."""

SMALLEST = torch.finfo(torch.float64).tiny


def pattern(model: Model, points: Tensor) -> Tensor:
    """The pieces that points `(B, n)` lie on, integers `(B, N)`."""
    values, signs = points, []
    for layer in model.layers:
        pre = values @ layer.weight.T + layer.bias
        piece = (pre[:, :, None] > layer.pieces.kinks).sum(2)
        signs.append(piece)
        at = piece[:, :, None]
        slope, intercept = (
            table.expand(len(points), -1, -1).gather(2, at).squeeze(2)
            for table in (layer.pieces.slopes, layer.pieces.intercepts)
        )
        values = torch.cat([values, slope * pre + intercept], 1)
    return torch.cat(signs, 1)


def jacobians(model: Model, points: Tensor) -> Tensor:
    """The Jacobians at points, `(B, o, n)`, with zeros for what exceeds float64: they guide the search only."""
    pieces = pattern(model, points)
    enclosure: Enclosure = enclose(model, pieces, pieces)
    return torch.nan_to_num(enclosure.centre, nan=0.0, posinf=0.0, neginf=0.0)


def attained_norms(matrices: Tensor, p: Norm) -> Tensor:
    """The p-norms of `(B, o, n)`, to rounding."""
    if p == "2":
        largest: Tensor = torch.linalg.matrix_norm(matrices, 2)
        return largest
    return matrices.abs().sum(1 if p == "1" else 2).amax(1)


def direction(matrix: Tensor, p: Norm) -> Tensor:
    """A unit vector `(n,)` that `(o, n)` stretches most."""
    if p == "2":
        right: Tensor = torch.linalg.svd(matrix, full_matrices=False)[2]
        return right[0]
    if p == "inf":
        row = matrix[matrix.abs().sum(1).argmax()]
        return torch.where(row >= 0, 1.0, -1.0).to(torch.float64)
    column = matrix.abs().sum(0).argmax()
    return torch.nn.functional.one_hot(column, matrix.shape[1]).to(torch.float64)


def best_pair(problem: Problem, model: Model, point: Tensor, radius: float) -> Witness:
    """The steepest pair around a point, on whose device it is; `radius` is the room around it, 0 where unknown.

    Pairs are compared in float64, and evaluated with every rounding counted until one attains the Jacobian's norm.
    """
    jacobian = jacobians(model, point.cpu()[None])
    along = direction(jacobian[0], problem.p).to(point.device)
    goal = (1.0 - ENOUGH) * float(attained_norms(jacobian, problem.p)[0])
    size = max(float(point.abs().max()), 1.0)
    halves = sorted({step * s for step in STEPS for s in (size, radius) if s > 0.0})
    half = point.new_tensor(halves)[:, None] * along / torch.linalg.vector_norm(along).clamp(min=SMALLEST)
    x, y = problem.domain.project(point - half), problem.domain.project(point + half)
    order = slopes(problem.network, x, y, problem.p).argsort(descending=True, stable=True).tolist()
    best: Witness | None = None
    for position in order[:EVALUATED]:
        pair = attained(problem, x[position], y[position])
        if best is None or pair.value > best.value:
            best = Witness(x[position], y[position], pair.value, pair.error)
        if best.value >= goal or problem.deadline.passed:
            break
    assert best is not None
    return best
