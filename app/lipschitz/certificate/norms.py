"""Claims about operator norms, checked: ||A||_p <= c."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .balls import OUTWARD, UNIT, Array, Ball, lower_gram
from .cholesky import is_positive_around


def norm_at_most(ball: Ball, value: float, p: str) -> bool:
    """Whether ||A||_p <= value for certain, for every matrix of the ball; p is "1", "2" or "inf"."""
    return norm_test(ball, p)(value)


def norm_test(ball: Ball, p: str) -> Callable[[float], bool]:
    """`norm_at_most` for one ball and several values: what it costs is the matrix's, a value adds little."""
    most = float(ball.magnitude.max(initial=0.0))
    if not math.isfinite(most):
        return lambda _: False
    if not most:
        return lambda value: value >= 0.0
    if p == "2":
        test = _spectral(ball, most)
        return lambda value: 0.0 < value < math.inf and test(value)
    largest = _sums(ball, 0 if p == "1" else 1)
    return lambda value: largest <= value < math.inf


def _sums(ball: Ball, axis: int) -> float:
    """The largest absolute column or row sum, rounded up."""
    terms: int = ball.middle.shape[axis] + 2
    return float((np.abs(ball.middle) + ball.radius).sum(axis).max()) * (1.0 + 4.0 * UNIT * terms)


def _spectral(ball: Ball, most: float) -> Callable[[float], bool]:
    """c^2 I - A A^T >= 0, on the smaller side; `most` is the largest magnitude.

    The matrix is scaled by a power of two to entries below 1. What underflows then is below 2^-1074 an entry, which
    the Gram matrix's radius covers.
    """
    _, exponent = math.frexp(most)
    scaled = Ball(_scaled(ball.middle, exponent), _scaled(ball.radius, exponent))
    narrow = scaled if len(scaled.middle) <= scaled.middle.shape[1] else scaled.transposed
    gram, radius = lower_gram(narrow.middle), narrow.gram_row_sums

    def test(value: float) -> bool:
        level = float(np.ldexp(value, -exponent))
        if level >= ball.middle.size:
            return True
        square = level * level
        difference = -gram
        difference.flat[:: len(gram) + 1] += square
        rounding = 4.0 * UNIT * (square + np.diagonal(gram))
        return is_positive_around(difference, lambda scale: radius(scale) + OUTWARD * scale * scale * rounding)

    return test


def _scaled(entries: Array, exponent: int) -> Array:
    """The entries times 2^-exponent."""
    if abs(exponent) < 1000:
        return entries * 2.0**-exponent
    scaled: Array = np.ldexp(entries, -exponent)
    return scaled
