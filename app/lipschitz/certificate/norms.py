"""Claims about operator norms, checked: ||A||_p <= c."""

from __future__ import annotations

import math

import numpy as np

from app.lipschitz.certificate.balls import UNIT, Ball
from app.lipschitz.certificate.cholesky import is_positive


def norm_at_most(ball: Ball, value: float, p: str) -> bool:
    """Whether ||A||_p <= value for certain, for every matrix of the ball; p is "1", "2" or "inf"."""
    if not ball.magnitude.any():
        return value >= 0.0
    if not 0.0 < value < math.inf:
        return False
    return _spectral(ball, value) if p == "2" else _sums(ball, 0 if p == "1" else 1) <= value


def _sums(ball: Ball, axis: int) -> float:
    """The largest absolute column or row sum, rounded up."""
    terms: int = ball.middle.shape[axis] + 2
    return float((np.abs(ball.middle) + ball.radius).sum(axis).max()) * (1.0 + 4.0 * UNIT * terms)


def _spectral(ball: Ball, value: float) -> bool:
    """c^2 I - A A^T >= 0, on the smaller side."""
    mantissa, exponent = math.frexp(value)
    scaled = Ball(np.ldexp(ball.middle, -exponent), np.ldexp(ball.radius, -exponent))
    narrow = scaled if len(scaled.middle) <= scaled.middle.shape[1] else scaled.transposed
    level = mantissa**2 * np.eye(len(narrow.middle))
    return is_positive(Ball(level, 2.0 * UNIT * level) + -(narrow @ narrow.transposed))
