"""Balls hold what exact arithmetic gives; what counts as positive is so in rational numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.certificate.balls import Ball, stacked
from app.lipschitz.certificate.cholesky import covering_factor, is_positive
from app.lipschitz.certificate.norms import norm_at_most
from tests.lipschitz.lipsdp.test_proof import is_positive as is_positive_exactly

Rational = list[list[Fraction]]


def rational(matrix: np.ndarray) -> Rational:
    return [[Fraction(float(x)) for x in row] for row in matrix]


def product(a: Rational, b: Rational) -> Rational:
    return [
        [sum((x * y for x, y in zip(row, column, strict=True)), Fraction(0)) for column in zip(*b, strict=True)]
        for row in a
    ]


def transposed(a: Rational) -> Rational:
    return [list(column) for column in zip(*a, strict=True)]


def difference(a: Rational, b: Rational) -> Rational:
    return [[x - y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def holds(ball: Ball, exact: Rational) -> bool:
    middle, radius = rational(ball.middle), rational(ball.radius)
    apart = difference(middle, exact)
    return all(abs(x) <= r for p, q in zip(apart, radius, strict=True) for x, r in zip(p, q, strict=True))


def drawn(seed: int, *shape: int, decades: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * 10.0 ** rng.integers(-decades, decades + 1, size=shape)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_balls_hold_exact_results(seed: int, m: int, k: int, n: int) -> None:
    a, b, c = drawn(seed, m, k), drawn(seed + 1, k, n), drawn(seed + 2, m, n)
    factors = drawn(seed + 3, m)
    whole = (Ball.exact(a) @ Ball.exact(b) + -Ball.exact(c)).scaled_rows(factors)
    inner = difference(product(rational(a), rational(b)), rational(c))
    exact = [[Fraction(float(f)) * x for x in row] for f, row in zip(factors, inner, strict=True)]
    assert holds(whole, exact)
    assert holds(whole @ whole.transposed, product(exact, transposed(exact)))
    assert holds(stacked([whole, whole]), exact + exact)
    assert (whole.radius <= 1e-13 * (np.abs(a) @ np.abs(b) + np.abs(c)) * np.abs(factors)[:, None] + 1e-290).all()


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(-1e-3, 1e-3))
def test_radii_are_carried_on(seed: int, n: int, share: float) -> None:
    a, b = drawn(seed, n, n, decades=2), drawn(seed + 1, n, n, decades=2)
    wide = Ball(a, np.abs(a) * abs(share))
    moved = [[x * (1 + Fraction(share)) for x in row] for row in rational(a)]
    assert holds(wide @ Ball.exact(b), product(moved, rational(b)))
    assert holds(Ball.exact(b) @ wide, product(rational(b), moved))


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.0, 1e-15, 1e-13, 1e-10, -1e-15, -1e-13, -1e-10]))
def test_what_is_positive_is_so_exactly(seed: int, n: int, shift: float) -> None:
    a = drawn(seed, n, max(1, n - 1), decades=1)
    matrix = a @ a.T
    matrix = np.tril(matrix) + np.tril(matrix, -1).T + shift * np.diag(np.diagonal(matrix))
    if is_positive(Ball.exact(matrix)):
        assert is_positive_exactly(rational(matrix))
    else:
        assert shift < 1e-11


def test_zero_rows_do_not_matter() -> None:
    assert is_positive(Ball.exact(np.diag([1.0, 0.0, 1e-200])))
    assert not is_positive(Ball.exact(np.array([[1.0, 0.1], [0.1, 0.0]])))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_positive(wrong: float) -> None:
    with np.errstate(all="ignore"):
        assert not is_positive(Ball.exact(np.array([[1.0, 0.0], [0.0, wrong]])))
        assert not is_positive(Ball(np.eye(2), np.array([[0.0, abs(wrong)], [0.0, 0.0]]).T))


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 8))
def test_a_covering_factor_covers_exactly(seed: int, k: int, n: int) -> None:
    y = drawn(seed, k, n, decades=3)
    factor = covering_factor(Ball.exact(y) @ Ball.exact(y).transposed)
    assert factor is not None
    assert not np.triu(factor, 1).any()
    gram, cover = (product(one, transposed(one)) for one in (rational(y), rational(factor)))
    assert is_positive_exactly(difference(cover, gram))
    scale = np.array([float(row[i]) for i, row in enumerate(gram)]) ** 0.5
    excess = np.array([[float(x) for x in row] for row in difference(cover, gram)]) / np.outer(scale, scale)
    assert np.abs(excess).max() < 1e-12


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6), st.integers(-300, 300))
def test_norms_are_decided_up_to_rounding(seed: int, m: int, n: int, exponent: int) -> None:
    a = np.ldexp(drawn(seed, m, n, decades=1), exponent)
    for p, order in (("1", 1), ("2", 2), ("inf", np.inf)):
        norm = float(np.linalg.norm(a, order))
        assert norm_at_most(Ball.exact(a), norm * (1 + 1e-12), p)
        assert not norm_at_most(Ball.exact(a), norm * (1 - 1e-12), p)


def test_norms_of_nothing_and_claims_of_nothing() -> None:
    assert norm_at_most(Ball.exact(np.zeros((2, 3))), 0.0, "2")
    assert not norm_at_most(Ball.exact(np.ones((2, 3))), 0.0, "2")
    assert not norm_at_most(Ball.exact(np.ones((2, 3))), np.inf, "2")
