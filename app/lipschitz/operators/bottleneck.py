"""Products A B through a dimension r that is small beside both ends: the norm from r x r matrices.

With A = Q R, ||A B|| = ||R B||. The computed R need not be exact: for any R,
||A B||^2 = ||B^T (A^T A) B|| <= ||R B||^2 + ||A^T A - R^T R|| ||B||^2, and the last norm is evaluated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from .base import LinearOperator
from .composite import Composed
from .dense_norm import spectral_norm
from .materialise import affordable, matrix_with_error
from .rounding import gamma, up_add, up_mul, up_sqrt, up_sum, widened


def _frobenius(matrix: Tensor) -> float:
    return widened(float(torch.linalg.vector_norm(matrix)), matrix.numel() + 2)


def _triangular(a: Tensor) -> tuple[Tensor, float]:
    """R `(r, r)` and a bound of ||A^T A - R^T R||_2 for A `(m, r)`."""
    r = torch.linalg.qr(a, mode="r").R
    residual = _frobenius(a.mT @ a - r.mT @ r)
    size, factor = _frobenius(a), _frobenius(r)
    terms = sum(a.shape) + 2
    rounding = up_mul(gamma(terms), up_add(up_mul(size, size), up_mul(factor, factor)))
    return r, up_add(residual, rounding)


def _product_norm(left: tuple[Tensor, float], right: tuple[Tensor, float], deadline: Deadline) -> float:
    (a, a_error), (b, b_error) = left, right
    deadline.begin(4.0 * a.shape[1] ** 2 * len(a))
    r, defect = _triangular(a)
    a_norm, b_norm = (spectral_norm(matrix.unsqueeze(0), deadline).upper for matrix in (r, b))
    a_norm = up_sqrt(up_add(up_mul(a_norm, a_norm), defect))
    rounding = up_mul(gamma(r.shape[0] + 1), up_mul(_frobenius(r), _frobenius(b)))
    core = up_add(spectral_norm((r @ b).unsqueeze(0), deadline).upper, rounding)
    stored = up_sqrt(up_add(up_mul(core, core), up_mul(defect, up_mul(b_norm, b_norm))))
    cross = [up_mul(a_error, b_norm), up_mul(a_norm, b_error), up_mul(a_error, b_error)]
    return up_add(stored, up_sum(cross))


def bottleneck_norm(parts: tuple[LinearOperator, ...], deadline: Deadline = NEVER) -> float | None:
    """Upper bound of ||parts[0] ... parts[-1]||_2, stored numbers; None when no dimension is small enough.

    OutOfTime where the next step would end after the deadline.
    """
    inner = [part.in_size for part in parts[:-1]]
    cut = inner.index(min(inner)) + 1
    if inner[cut - 1] >= min(parts[0].out_size, parts[-1].in_size):
        return None
    left, right = Composed(parts[:cut]), Composed(parts[cut:])
    if not (affordable(left) and affordable(right)):
        return None
    return _product_norm(matrix_with_error(left, deadline), matrix_with_error(right, deadline), deadline)
