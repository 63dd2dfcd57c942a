"""Greedy SeqLip [VS18, section 5]: flip the slope that raises the norm most, until none does.

Flipping slope j changes M = A diag(s) B by a rank-one matrix. With M^T M = W Lambda W^T, d the change of the slope,
u = W^T M^T a_j and v = W^T b_j, the new Gram matrix in that basis is Lambda + [u v] K [u v]^T with
K = [[0, d], [d, d^2 |a_j|^2]], which has one positive eigenvalue. So at most one eigenvalue exceeds a level
lambda > max Lambda, and it does if and only if

    (|a_j|^2 + S_uu) S_vv - (1/d - S_uv)^2 > 0,    S_xy = sum_i x_i y_i / (lambda - Lambda_i).

The test is three products of an `(n, k)` matrix with one vector for all n flips at once. Raising lambda until a single
flip is left finds the best one: one eigendecomposition a flip taken, in place of n singular value decompositions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...deadline import NEVER, Deadline
from .pair import Pair

_RISE = 1e-12
"""Least relative rise of the squared norm that counts: below it, flips would follow rounding."""


@dataclass(frozen=True, eq=False)
class Flips:
    """All flips from one vertex in the eigenbasis of M^T M `(k,)`; `uu, uv, vv` are `(f, k)`, the rest `(f,)`."""

    positions: Tensor
    eigenvalues: Tensor
    uu: Tensor
    uv: Tensor
    vv: Tensor
    square: Tensor
    inverse: Tensor

    def exceed(self, level: float) -> Tensor:
        """Which flips give an eigenvalue above `level`, itself above all eigenvalues: `(f,)`."""
        weights = 1.0 / (level - self.eigenvalues)
        return (self.square + self.uu @ weights) * (self.vv @ weights) > (self.inverse - self.uv @ weights).square()

    def kept(self, chosen: Tensor) -> Flips:
        """Some of the flips."""
        per_flip = (self.uu, self.uv, self.vv, self.square, self.inverse)
        return Flips(self.positions[chosen], self.eigenvalues, *(entry[chosen] for entry in per_flip))


def greedy(pair: Pair, start: Tensor | None = None, deadline: Deadline = NEVER) -> Tensor:
    """The vertex `(n,)` that greedy ends at from `start` (the steepest slopes, as published), or at the deadline."""
    narrow = pair.narrow()
    slopes = pair.steepest() if start is None else start.clone()
    while not deadline.passed:
        flip = best_flip(flips(narrow, slopes))
        if flip is None:
            break
        slopes[flip] = pair.flipped(slopes)[flip]
    return slopes


def flips(pair: Pair, slopes: Tensor) -> Flips:
    """Every flip of a free slope from the vertex `(n,)`."""
    matrix = pair.matrices(slopes[None])[0]
    eigenvalues, basis = torch.linalg.eigh(matrix.mT @ matrix)
    outer, inner = pair.outer[:, pair.free], pair.inner[pair.free]
    u, v = outer.mT @ (matrix @ basis), inner @ basis
    change = (pair.flipped(slopes) - slopes)[pair.free]
    return Flips(pair.free, eigenvalues, u * u, u * v, v * v, outer.square().sum(0), 1.0 / change)


def best_flip(candidates: Flips) -> int | None:
    """Position of the flip with the largest new norm; None when no flip raises the norm."""
    top = float(candidates.eigenvalues[-1])
    low = top * (1.0 + _RISE) + torch.finfo(torch.float64).tiny
    candidates = candidates.kept(candidates.exceed(low))
    if len(candidates.positions) == 0:
        return None
    high = _ceiling(candidates, top)
    while len(candidates.positions) > 1 and high > low * (1.0 + _RISE):
        level = 0.5 * (low + high)
        above = candidates.exceed(level)
        if bool(above.any()):
            candidates, low = candidates.kept(above), level
        else:
            high = level
    return int(candidates.positions[0])


def _ceiling(candidates: Flips, top: float) -> float:
    """Above every new eigenvalue: (sigma + |d| ||a|| ||b||)^2, widened for rounding."""
    change = (candidates.square * candidates.vv.sum(1)).sqrt() / candidates.inverse.abs()
    return (math.sqrt(max(top, 0.0)) + float(change.max())) ** 2 * (1.0 + 1e-9)
