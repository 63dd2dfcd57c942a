"""Layers as explicit matrices, and these as products of two factors: M = P Q + E with a certified bound of ||E||.

SeqLip needs no property of P and Q but that their product is close to M, so nothing is asked of the singular vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...deadline import NEVER, Deadline
from ...operators.base import LinearOperator
from ...operators.composite import leaves, work
from ...operators.materialise import matrix_with_error, moderate
from ...operators.rounding import UNIT, gamma, up_add, up_mul, up_sqrt, widened

_SIDE = 4096
_ENTRIES = 2**26
_FACTORISING = 30.0
"""Multiplications, over s^2 l, of all that is done with a matrix of sides s <= l."""
_SMALLEST = 1e-8
"""Singular values below this share of the largest are raised to it, in both factors."""


@dataclass(frozen=True, eq=False)
class Factors:
    """`left` P is `(m, r)`, `right` Q `(r, n)`, r <= min(m, n); ||M - P Q||_2 <= error.

    `isometry` is at least the norm of the factor at the chain's end: Q of the first layer, P of the last.
    """

    left: Tensor
    right: Tensor
    error: float
    isometry: float = 1.0


def explicit(operator: LinearOperator, deadline: Deadline = NEVER) -> tuple[Tensor, float] | None:
    """The matrix `(m, n)` with ||exact - matrix||_2; None where that is too large or takes too long to factorise.

    OutOfTime where it takes too long to write down.
    """
    small, large = sorted((operator.in_size, operator.out_size))
    widest = max(large, *(max(leaf.in_size, leaf.out_size) for leaf in leaves(operator)))
    cost = _FACTORISING * small**2 * large + 2.0 * small * work(operator)
    if small > _SIDE or small * widest > _ENTRIES or not deadline.fits(cost) or not moderate(operator):
        return None
    matrix, error = matrix_with_error(operator, deadline)
    return matrix, up_add(error, operator.error)


def first_factors(matrix: Tensor, error: float) -> Factors:
    """A chain's first layer: everything in P, and Q with orthonormal rows."""
    m, n = matrix.shape
    if m >= n:
        return Factors(matrix, torch.eye(n, dtype=matrix.dtype, device=matrix.device), error)
    basis, triangle = torch.linalg.qr(matrix.mT)
    factors = _checked(matrix, triangle.mT, basis.mT, error)
    return replace(factors, isometry=_isometry_norm(factors.right))


def last_factors(matrix: Tensor, error: float) -> Factors:
    """A chain's last layer: everything in Q, and P with orthonormal columns."""
    turned = first_factors(matrix.mT, error)
    return Factors(turned.right.mT, turned.left.mT, turned.error, turned.isometry)


def _isometry_norm(rows: Tensor) -> float:
    """Upper bound of ||Q|| for nearly orthonormal rows: ||Q||^2 = ||Q Q^T|| <= 1 + ||Q Q^T - I||_F."""
    r, n = rows.shape
    off = rows @ rows.mT
    off.diagonal().sub_(1.0)
    residual = widened(float(torch.linalg.matrix_norm(off)), r * r + 2)
    lost = up_mul(gamma(n + 2), widened(float(rows.square().sum()), r * n))
    return up_sqrt(up_add(1.0, up_add(residual, lost)))


def middle_factors(matrix: Tensor, error: float) -> Factors:
    """A layer inside: P = U S^(1/2), Q = S^(1/2) V^T [VS18, section 5]."""
    if matrix.shape[0] > matrix.shape[1]:
        turned = middle_factors(matrix.mT, error)
        return Factors(turned.right.mT, turned.left.mT, turned.error)
    _, vectors = torch.linalg.eigh(matrix @ matrix.mT)
    rows = vectors.mT @ matrix
    singular = torch.linalg.vector_norm(rows, dim=1)
    roots = singular.clamp(min=_SMALLEST * max(float(singular.max()), torch.finfo(torch.float64).tiny)).sqrt()
    return _checked(matrix, vectors * roots, rows / roots[:, None], error)


def _checked(matrix: Tensor, left: Tensor, right: Tensor, error: float) -> Factors:
    """The residual in Frobenius norm, with the rounding of the product and of the difference."""
    m, n = matrix.shape
    residual = widened(float(torch.linalg.matrix_norm(matrix - left @ right)), m * n + 2)
    sizes = [widened(float(torch.linalg.matrix_norm(factor)), factor.numel()) for factor in (left, right)]
    lost = up_mul(gamma(left.shape[1] + 1), up_mul(*sizes))
    return Factors(left, right, up_add(error, up_mul(1.0 + 4.0 * UNIT, up_add(residual, lost))))
