"""Certified spectral norm of explicit matrices, from the Gram matrix of the smaller side."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from ..pace import CHOLESKY
from .gram import MARGIN, gram_matrix, proved_eigenvalue, top_pair, verified_level
from .rounding import gamma, up_ldexp, up_mul, up_sqrt, widened

PLAIN = 1000
"""Powers of two up to this and their inverses are normal numbers."""


class Bracket(NamedTuple):
    """A certified upper bound and a witnessed lower bound of one norm."""

    upper: float
    lower: float


def normalised(weight: Tensor) -> tuple[Tensor, int]:
    """(weight 2^-e, e) with the largest entry in [1/2, 1); (weight, 0) when all entries are zero.

    A power of two rounds nothing. Entries that underflow lie 2^-1000 below the largest one, so what they
    and later products lose is far below the unit roundoff of any norm, which is at least 1/2.
    """
    largest = max(map(abs, map(float, torch.aminmax(weight)))) if weight.numel() else 0.0
    if largest == 0.0:
        return weight, 0
    _, exponent = math.frexp(largest)
    if abs(exponent) <= PLAIN:
        return weight * 2.0**-exponent, exponent
    half = -exponent // 2
    return weight * 2.0**half * 2.0 ** (-exponent - half), exponent


def _gram_error(a: Tensor) -> tuple[float, float]:
    """For `(b, s, l)`: bounds of ||fl(A A^T) - A A^T||_2 and of || |A| ||_2, both the largest over b.

    |fl(A A^T) - A A^T| <= gamma_l |A| |A|^T entrywise; that matrix is symmetric and non-negative, so its
    2-norm is at most its largest row sum, and at most ||A||_F^2.
    """
    _, s, length = a.shape
    absolute = a.abs()
    rows = absolute @ absolute.sum(1).unsqueeze(2)
    by_rows = widened(float(rows.max()), s + length)
    flat = absolute.reshape(len(a), 1, -1)
    by_frobenius = widened(float((flat @ flat.mT).max()), s * length)
    square = min(by_rows, by_frobenius)
    return up_mul(gamma(length + 1), square), up_sqrt(square)


def _witnessed(a: Tensor, y: Tensor, size: float) -> float:
    """||A^T y|| / ||y|| for y `(s,)` near the top left singular vector of A `(s, l)`, rounded down."""
    ratio = float(torch.linalg.vector_norm(a.mT @ y) / torch.linalg.vector_norm(y))
    terms = sum(a.shape)
    return max(0.0, ratio * (1.0 - 4.0 * gamma(terms)) - 2.0 * gamma(terms) * size)


def spectral_norm(matrices: Tensor, deadline: Deadline = NEVER) -> Bracket:
    """Largest singular value over a batch `(b, o, i)`; work 2 s^2 l and memory s^2 for sides s <= l.

    OutOfTime where the next step would end after the deadline.
    """
    scaled, exponent = normalised(matrices)
    if scaled.numel() == 0 or not bool(scaled.any()):
        return Bracket(0.0, 0.0)
    a = scaled if scaled.shape[1] <= scaled.shape[2] else scaled.mT
    deadline.begin(len(a) * (float(a.shape[1]) ** 2 * a.shape[2] + CHOLESKY * float(a.shape[1]) ** 3))
    gram = gram_matrix(a)
    error, size = _gram_error(a)
    strongest = 0 if len(gram) == 1 else int(torch.linalg.matrix_norm(gram).argmax())
    guess, y = top_pair(gram[strongest], deadline)
    level = verified_level(gram, guess * (1.0 + MARGIN), deadline)
    upper = up_sqrt(proved_eigenvalue(level, gram.shape[-1], error, hermitian=False))
    lower = _witnessed(a[strongest], y, size)
    return Bracket(up_ldexp(upper, exponent), math.ldexp(lower, exponent) * (1.0 - 2.0**-50))
