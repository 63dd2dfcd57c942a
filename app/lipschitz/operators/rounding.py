"""Arithmetic on bounds, rounded outwards, and the constants of floating-point error analysis.

An `up_` function returns the smallest double that is not below the exact result, so a chain of them never
falls below what real arithmetic would give. Exact results stay exact: 1 * x is x, the root of 4 is 2.
`gamma` and the model behind it: N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
"""

from __future__ import annotations

import math
from fractions import Fraction

UNIT = 2.0**-53
"""Unit roundoff of float64, u."""

TINY = 2.0**-1074
"""Bounds the absolute error of a product that underflows."""


def _outward(value: float, *, too_small: bool) -> float:
    return math.nextafter(value, math.inf) if too_small else value


def up_add(a: float, b: float) -> float:
    """a + b, rounded up."""
    total = a + b
    if not math.isfinite(total):
        return math.inf
    return _outward(total, too_small=Fraction(total) < Fraction(a) + Fraction(b))


def up_mul(a: float, b: float) -> float:
    """a b for a, b >= 0, rounded up; 0 times an overflow to infinity is 0."""
    if a == 0.0 or b == 0.0:
        return 0.0
    product = a * b
    if not math.isfinite(product):
        return math.inf
    return _outward(product, too_small=Fraction(product) < Fraction(a) * Fraction(b))


def up_sqrt(a: float) -> float:
    """The square root of a >= 0, rounded up."""
    root = math.sqrt(a)
    if not math.isfinite(root):
        return math.inf
    return _outward(root, too_small=Fraction(root) ** 2 < Fraction(a))


def up_ldexp(a: float, exponent: int) -> float:
    """a 2^exponent for a >= 0, rounded up where it overflows or falls among the subnormal numbers."""
    try:
        scaled = math.ldexp(a, exponent)
    except OverflowError:
        return math.inf
    return _outward(scaled, too_small=math.ldexp(scaled, -exponent) < a if scaled else a > 0.0)


def up_sum(values: list[float]) -> float:
    """The sum of non-negative values, rounded up."""
    total = 0.0
    for value in values:
        total = up_add(total, value)
    return total


def up_product(values: list[float]) -> float:
    """The product of non-negative values, rounded up; 0 when a factor is 0."""
    result = 1.0
    for value in values:
        result = up_mul(result, value)
    return result


def up_hypot(values: list[float]) -> float:
    """The root of the sum of squares of non-negative values, rounded up."""
    largest = max(values, default=0.0)
    if largest == 0.0 or math.isinf(largest):
        return largest
    _, exponent = math.frexp(largest)
    scaled = [up_ldexp(value, -exponent) for value in values]
    return up_ldexp(up_sqrt(up_sum([up_mul(v, v) for v in scaled])), exponent)


def gamma(terms: int) -> float:
    """gamma_n = n u / (1 - n u), rounded up: relative error of n roundings, whatever their order."""
    share = terms * UNIT
    if share >= 0.5:
        return math.inf
    return math.nextafter(share / (1.0 - share), math.inf)


def widened(value: float, terms: int) -> float:
    """Upper bound of an exact non-negative sum or product from its computed value after n roundings."""
    return up_mul(value, up_add(1.0, gamma(terms + 1)))
