"""Positive semidefinite matrices proved, and Gram matrices covered, by one Cholesky factorisation each.

If the factorisation of a symmetric A completes in floating point, L L^T = A + D with ||D||_2 <= g / (1 - g) trace(A),
g = gamma_{n+1}: S. Rump, Verification of positive definiteness, BIT 46 (2006), theorem 2.3. The constant is taken
for twice as many roundings, since kernels may multiply by reciprocals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .balls import OUTWARD, TINY, UNIT, Array, Ball, share

RowSums = Callable[[Array], Array]
"""Given positive scales d, at least the row sums of D E D for a symmetric non-negative E."""


def is_positive(ball: Ball) -> bool:
    """Whether every symmetric matrix of the ball is certainly positive semidefinite. False proves nothing."""
    mirrored = _without_zeros(_mirrored(ball))
    return is_positive_around(mirrored.middle, lambda scale: _row_sums(mirrored.radius * (scale[:, None] * scale)))


def is_positive_around(middle: Array, radius: RowSums) -> bool:
    """The same for the symmetric matrices whose distance to M is at most E, entry by entry, of which only row sums are
    asked for. Of M the lower triangle counts.
    """
    scale = _unit_scale(middle)
    scaled = middle * (scale[:, None] * scale)
    spread = float(radius(scale).max(initial=0.0)) + len(scaled) * TINY
    return _factor(scaled, -_allowance(scaled, spread)) is not None


def covering_factor(gram: Ball) -> Array | None:
    """A lower triangular L with L L^T >= G for every symmetric G of the ball, exactly; None where there is none.

    L L^T exceeds G by about n u trace(G).
    """
    mirrored = _mirrored(gram)
    scale = _unit_scale(mirrored.middle)
    around = scale[:, None] * scale
    middle, radius = mirrored.middle * around, mirrored.radius * around + TINY
    factor = _factor(middle, _allowance(middle, float(_row_sums(radius).max(initial=0.0))))
    return None if factor is None else factor / scale[:, None]


def _mirrored(ball: Ball) -> Ball:
    """The lower triangle on both sides: as good an enclosure of a symmetric matrix."""
    middle, radius = np.tril(ball.middle), np.tril(ball.radius)
    return Ball(middle + np.tril(middle, -1).T, radius + np.tril(radius, -1).T)


def _without_zeros(ball: Ball) -> Ball:
    """Rows and columns that are exactly zero say nothing."""
    kept = np.flatnonzero(ball.middle.any(1) | ball.radius.any(1))
    if len(kept) == len(ball.middle):
        return ball
    return Ball(ball.middle[np.ix_(kept, kept)], ball.radius[np.ix_(kept, kept)])


def _unit_scale(middle: Array) -> Array:
    """Powers of two, which round nothing, that take the diagonal near 1 from both sides."""
    exponent = np.frexp(np.maximum(np.diagonal(middle), 0.0))[1]
    scale: Array = np.ldexp(np.ones(len(exponent)), -((exponent + 1) // 2))
    return scale


def _row_sums(radius: Array) -> Array:
    sums: Array = radius.sum(1)
    return sums


def _allowance(middle: Array, spread: float) -> float:
    """What the diagonal must move by: the factorisation's rounding, what the radius adds up to, and the rounding of the
    move.
    """
    size = len(middle)
    relative = share(2 * (size + 4))
    trace = float(np.abs(np.diagonal(middle)).sum())
    known = relative / (1.0 - relative) * trace + spread + 4.0 * UNIT * float(np.diagonal(middle).max(initial=0.0))
    return OUTWARD * (1.0 + 4.0 * relative * size) * known


def _factor(middle: Array, move: float) -> Array | None:
    """The Cholesky factor of the matrix with its diagonal moved; None where it has none."""
    if not (np.isfinite(middle).all() and np.isfinite(move)):
        return None
    moved = middle.copy()
    moved.flat[:: len(middle) + 1] += move
    # torch's, as numpy's threads wait for each other without rest: 20 times longer on a busy machine.
    triangle, info = torch.linalg.cholesky_ex(torch.from_numpy(moved))
    factor: Array = triangle.numpy()
    return factor if int(info) == 0 and np.isfinite(factor).all() else None
