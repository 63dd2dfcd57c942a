"""Lower bounds of norms that anyone can check: a vector, and how much longer the operator makes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from .base import LinearOperator
from .composite import leaves, work
from .gram import deterministic_start
from .rounding import gamma, up_mul, up_sqrt

_WORK = 2**29
"""Multiplications that may be spent on a better vector; one product is always done."""
_MOVE = 32.0
"""Multiplications that reading and writing one entry of a vector is worth."""


def _steps(operator: LinearOperator) -> int:
    moved = sum(leaf.in_size + leaf.out_size for leaf in leaves(operator))
    return min(100, int(_WORK / (2.0 * (work(operator) + _MOVE * moved))))


def length_error(operator: LinearOperator) -> float:
    """Bound on ||fl(A x) - A x|| / ||x||: gamma_depth times a bound of the majorant's 2-norm."""
    columns, rows = operator.absolute_sums()
    return up_mul(gamma(operator.depth + 1), up_mul(up_sqrt(columns), up_sqrt(rows)))


def witnessed(operator: LinearOperator, start: Tensor | None = None, deadline: Deadline = NEVER) -> float:
    """||A x|| / ||x|| after power steps from `start` `(1, n)` until the deadline, less what rounding may have added."""
    x = deterministic_start(operator.in_size, _like(operator)).unsqueeze(0) if start is None else start
    for _ in range(_steps(operator)):
        if deadline.passed:
            break
        image = operator.rmv(operator.mv(x))
        length = float(torch.linalg.vector_norm(image))
        if not 0.0 < length < math.inf:
            break
        x = image / length
    size = float(torch.linalg.vector_norm(x))
    ratio = float(torch.linalg.vector_norm(operator.mv(x))) / size if size else 0.0
    # Below this, products may have underflowed and the relative error model fails.
    if not 1e-280 < ratio < math.inf:
        return 0.0
    terms = operator.in_size + operator.out_size
    return max(0.0, ratio * (1.0 - 4.0 * gamma(terms)) - length_error(operator) - operator.error)


def _like(operator: LinearOperator) -> Tensor:
    return torch.empty(0, dtype=torch.float64, device=operator.device)
