"""Layers of a chain as products of two factors, for SeqLip's pairs: M = P Q for all matrices of a ball.

    first layer     M = P K, ||K|| <= 1: P = M if that is tall, else P P^T >= M M^T (R. Douglas, Proc. AMS 17 (1966))
    last layer      M = K Q, ||K|| <= 1: the same for M^T
    layers between  M = P Q: with M near U diag(s) V^T, P = U diag(sqrt s) in floating point, or Q = diag(sqrt s) V^T
                    if M is tall, and the other factor is what is then left of M, in a ball

Small s are raised: any s > 0 gives a factorisation. Nothing is asked of U, V and s but that the narrow factor has an
inverse, so an ordinary singular value decomposition will do, and no error is left over.
"""

from __future__ import annotations

import numpy as np

from .balls import OUTWARD, Array, Ball
from .cholesky import covering_factor
from .fields import InvalidCertificate

SMALLEST = 1e-8
"""Singular values below this share of the largest are raised to it."""


def first_factor(matrix: Ball) -> Ball:
    """P of a chain's first layer, `(m, r)` with r <= n."""
    m, n = matrix.middle.shape
    if m >= n:
        return matrix
    factor = covering_factor(matrix @ matrix.transposed)
    if factor is None:
        raise InvalidCertificate("the first layer of a chain has no factor that covers it")
    return Ball.exact(factor)


def last_factor(matrix: Ball) -> Ball:
    """Q of a chain's last layer, `(r, n)` with r <= m."""
    return first_factor(matrix.transposed).transposed


def middle_factors(matrix: Ball) -> tuple[Ball, Ball]:
    """P `(m, r)` and Q `(r, n)` of a layer between, r = min(m, n)."""
    m, n = matrix.middle.shape
    if m > n:
        right, left = middle_factors(matrix.transposed)
        return left.transposed, right.transposed
    try:
        u, s, _ = np.linalg.svd(matrix.middle, full_matrices=False)
    except np.linalg.LinAlgError as error:
        raise InvalidCertificate("a layer of a chain has no singular value decomposition") from error
    if not s.max(initial=0.0) > 0.0:
        raise InvalidCertificate("a layer of a chain is zero")
    roots = np.sqrt(np.maximum(s, SMALLEST * s.max()))
    left = u * roots
    return Ball.exact(left), _solved(left, u.T / roots[:, None], matrix)


def _solved(left: Array, inverse: Array, matrix: Ball) -> Ball:
    """P^-1 M, in a ball: with X near P^-1 and F = I - X P it is X M + (P^-1 - X) M, P^-1 - X = (I - F)^-1 F X."""
    solution = Ball.exact(inverse) @ matrix
    off = Ball.exact(np.eye(len(left))) + -(Ball.exact(inverse) @ Ball.exact(left))
    size = float(off.magnitude.sum(1).max()) * OUTWARD
    if not size < 0.5:
        raise InvalidCertificate("a layer of a chain is too badly conditioned to be factorised")
    largest = solution.magnitude.max(0) * (2.0 * size * OUTWARD)
    return Ball(solution.middle, (solution.radius + largest) * OUTWARD)
