"""How far a step may go before a matrix or a vector stops being positive."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_DIRECT = 200
_ENOUGH = 1.125
"""No step is longer than 1: what stays positive up to here counts as unlimited."""


def longest_step(matrix: Tensor, factor: Tensor, direction: Tensor, halvings: int) -> Tensor:
    """A step alpha, `(P,)`, close to the largest with M + alpha D positive definite; infinite beyond `_ENOUGH`.

    From the eigenvalues of L^-1 D L^-T for small matrices, M = L L^T; for large ones Cholesky factorisations along a
    bisection cost far less, and the answer is within 2^-halvings below the largest step.
    """
    if matrix.shape[-1] <= _DIRECT:
        half = torch.linalg.solve_triangular(factor, direction, upper=False)
        least = torch.linalg.eigvalsh(torch.linalg.solve_triangular(factor, half.mT, upper=False))[:, 0]
        return torch.where(least < 0, -1.0 / least.clamp(max=-1e-300), math.inf)
    return _bisected(matrix, direction, halvings)


def _bisected(matrix: Tensor, direction: Tensor, halvings: int) -> Tensor:
    unlimited = _holds(matrix, direction, matrix.new_full((len(matrix),), _ENOUGH))
    low = torch.zeros_like(matrix[:, 0, 0])
    width = low + _ENOUGH
    if bool(unlimited.all()):
        return low + math.inf
    for _ in range(halvings):
        width = width / 2.0
        low = torch.where(_holds(matrix, direction, low + width), low + width, low)
    return torch.where(unlimited, math.inf, low)


def _holds(matrix: Tensor, direction: Tensor, alpha: Tensor) -> Tensor:
    _, info = torch.linalg.cholesky_ex(matrix + alpha[:, None, None] * direction)
    held: Tensor = info == 0
    return held


def longest_positive(x: Tensor, direction: Tensor) -> Tensor:
    """Largest alpha with x + alpha d >= 0 for every row of `(P, m)`, x > 0."""
    least = (direction / x).amin(1)
    return torch.where(least < 0, -1.0 / least.clamp(max=-1e-300), math.inf)
