"""Directed rounding against exact rational arithmetic."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.operators.rounding import gamma, up_add, up_hypot, up_ldexp, up_mul, up_sqrt, widened

positive = st.floats(min_value=0.0, max_value=1e300)


@given(positive, positive)
def test_sums_and_products_are_never_below_and_tight(a: float, b: float) -> None:
    total, product = up_add(a, b), up_mul(a, b)
    assert Fraction(total) >= Fraction(a) + Fraction(b)
    assert Fraction(math.nextafter(total, 0.0)) <= Fraction(a) + Fraction(b)
    if math.isfinite(product):
        assert Fraction(product) >= Fraction(a) * Fraction(b)


@given(positive)
def test_roots(a: float) -> None:
    assert Fraction(up_sqrt(a)) ** 2 >= Fraction(a)


@given(positive, st.integers(-2200, 2200))
def test_powers_of_two(a: float, exponent: int) -> None:
    scaled = up_ldexp(a, exponent)
    if math.isfinite(scaled):
        assert Fraction(scaled) >= Fraction(a) * Fraction(2) ** exponent


@given(st.lists(positive, max_size=5))
def test_hypot(values: list[float]) -> None:
    root = up_hypot(values)
    if math.isfinite(root):
        assert Fraction(root) ** 2 >= sum(Fraction(v) ** 2 for v in values)
        assert root <= math.hypot(*values) * (1 + 1e-14) + 1e-300


def test_exact_results_stay_exact() -> None:
    assert up_mul(1.0, 0.1) == 0.1
    assert up_add(0.5, 0.25) == 0.75
    assert up_sqrt(9.0) == 3.0
    assert up_mul(0.0, math.inf) == 0.0
    assert up_add(1e308, 1e308) == math.inf


@pytest.mark.parametrize("n", [0, 1, 10, 10**6])
def test_gamma(n: int) -> None:
    u = Fraction(1, 2**53)
    assert Fraction(gamma(n)) >= n * u / (1 - n * u)
    assert Fraction(widened(1.0, n)) >= 1 / (1 - n * u)
    assert gamma(2**53) == math.inf
