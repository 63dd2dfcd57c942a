"""Pairs of points that attain the norm of the Jacobian where the function is linear."""

from __future__ import annotations

import torch
from torch import Tensor

from app.lipschitz.domain import vector_norm
from app.lipschitz.methods.lower.pairs import SAFETY
from app.lipschitz.operators.norm import Norm
from app.lipschitz.operators.rounding import gamma
from app.lipschitz.phases.bounds import Enclosure, enclose
from app.lipschitz.phases.model import Model
from app.lipschitz.problem import Problem, Witness

STEPS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Distances of a pair, relative to the size of its middle or the room around it."""

SMALLEST = torch.finfo(torch.float64).tiny


def pattern(model: Model, points: Tensor) -> Tensor:
    """The pieces that points `(B, n)` lie on, integers `(B, N)`."""
    values, found = points, []
    for layer in model.layers:
        pre = values @ layer.weight.T + layer.bias
        piece = (pre[:, :, None] > layer.pieces.kinks).sum(2)
        found.append(piece)
        at = piece[:, :, None]
        slope, intercept = (
            table.expand(len(points), -1, -1).gather(2, at).squeeze(2)
            for table in (layer.pieces.slopes, layer.pieces.intercepts)
        )
        values = torch.cat([values, slope * pre + intercept], 1)
    return torch.cat(found, 1)


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
    """The steepest pair around a point, on whose device it is; `radius` is the room around it, 0 where unknown."""
    along = direction(jacobians(model, point.cpu()[None])[0], problem.p).to(point.device)
    size = max(float(point.abs().max()), 1.0)
    halves = sorted({step * s for step in STEPS for s in (size, radius) if s > 0.0})
    half = point.new_tensor(halves)[:, None] * along / torch.linalg.vector_norm(along).clamp(min=SMALLEST)
    x, y = problem.domain.project(point - half), problem.domain.project(point + half)
    apart = vector_norm(y - x, problem.p)
    rise = vector_norm(problem.network(y) - problem.network(x), problem.p)
    lost = 2.0 * _evaluation_error(model, torch.maximum(x.abs(), y.abs()).cpu(), problem.p).to(point.device)
    slope = torch.nan_to_num((rise - lost) / apart, nan=0.0, posinf=0.0)
    best = int(slope.argmax())
    return Witness(x[best], y[best], max(0.0, float(slope[best]) * SAFETY))


def _evaluation_error(model: Model, size: Tensor, p: Norm) -> Tensor:
    """What rounding can change in the network's values at points with |x| <= size, `(B, n)` -> `(B,)`."""
    error = torch.zeros_like(size)
    for layer in model.layers:
        reach = size @ layer.weight.T.abs() + layer.bias.abs()
        wrong = error @ layer.weight.T.abs() + gamma(layer.weight.shape[1] + 2) * reach
        steep = layer.pieces.slopes.abs().amax(1)
        offset = layer.pieces.intercepts.abs().amax(1)
        size = torch.cat([size, steep * (reach + wrong) + offset], 1)
        error = torch.cat([error, steep * wrong + gamma(4) * (steep * reach + offset)], 1)
    outputs = model.layers[-1].size
    return vector_norm(error[:, -outputs:], p) * (1.0 + 1e-6)
