"""Balls hold what exact arithmetic gives; what counts as positive is so in rational numbers."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.certificate.balls import Ball, lower_gram, stacked, times
from app.lipschitz.certificate.check import check_piece
from app.lipschitz.certificate.cholesky import covering_factor, is_positive
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.norms import norm_at_most, norm_test
from app.lipschitz.certificate.record import NormRecord, PieceRecord
from app.lipschitz.deadline import NEVER
from app.lipschitz.domain import WholeSpace
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem
from tests.lipschitz.helpers import captured
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


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("unknown", [np.inf, np.nan])
@pytest.mark.parametrize("value", [1.0, 6.0, 1e9, 1e308])
def test_a_matrix_with_an_unknown_entry_has_no_norm(unknown: float, p: str, value: float) -> None:
    """The error of a map without a rounding rule is infinite."""
    ones, unsure = np.ones((2, 3)), np.zeros((2, 3))
    unsure[1, 2] = unknown
    assert not norm_at_most(Ball(ones, unsure), value, p)
    assert not norm_at_most(Ball(unsure, 0 * ones), value, p)


@pytest.mark.parametrize("exponent", [-1000, -600, 0, 600, 1000])
def test_one_test_serves_values_of_all_sizes(exponent: int) -> None:
    """Against the norm 2 of a matrix of ones, scaled: what lies below is refused however far, what lies above holds."""
    holds = norm_test(Ball.exact(np.ldexp(np.ones((2, 2)), exponent)), "2")
    norm = 2.0 * 2.0**exponent
    assert [holds(norm * share) for share in (1e-300, 1e-9, 1 - 1e-12)] == [False] * 3
    assert [holds(norm * share) for share in (1 + 1e-12, 1.5, 4.0)] == [True] * 3
    with np.errstate(over="ignore"):  # as the check has it
        assert holds(sys.float_info.max)


@pytest.mark.parametrize("scale", [0.1, 1e-160, 1e-310])
@pytest.mark.parametrize("side", [1, 3, 8])
def test_row_sums_cover_every_gram_matrix_of_a_ball(side: int, scale: float) -> None:
    """In exact fractions, for a matrix anywhere in the ball, at extreme scales as well."""
    rng = np.random.default_rng(side)
    middle = scale * rng.uniform(-1.0, 1.0, (side, 4))
    radius = np.abs(middle) * rng.choice([0.0, 1e-9, 0.5], size=(side, 4))
    weights = np.ldexp(1.0, rng.integers(-9, 9, side))
    inside = rational(middle + radius * rng.uniform(-0.999, 0.999, size=(side, 4)))
    apart = difference(rational(middle @ middle.T), product(inside, transposed(inside)))
    d = [Fraction(float(w)) for w in weights]
    sums = [sum(abs(x) * w for x, w in zip(row, d, strict=True)) * own for row, own in zip(apart, d, strict=True)]
    found = Ball(middle, radius).gram_row_sums(weights)
    assert all(exact <= Fraction(float(bound)) for exact, bound in zip(sums, found, strict=True))
    if scale == 0.1:
        most = np.abs(middle) @ np.abs(middle).T * 1e-14 + (np.abs(middle) + radius) @ radius.T * 1.01
        assert (found <= weights * ((most + most.T) @ weights) + 1e-200).all()


def test_products_with_exact_zeros_are_exact() -> None:
    """Rows and columns of zeros have no radius; what may underflow beside them has one."""
    left = Ball.exact(np.array([[0.0, 0.0], [1e-200, 1.0]]))
    right = Ball.exact(np.array([[1e-200, 0.0], [0.0, 0.0]]))
    found = left @ right
    assert (found.radius[0] == 0.0).all()
    assert (found.radius[:, 1] == 0.0).all()
    assert found.radius[1, 0] > 0.0


@pytest.mark.parametrize("value", [5.0, 1e100])
def test_no_claim_is_granted_of_a_map_that_is_not_known(value: float) -> None:
    graph = captured(lambda x: (x * 1e200) @ torch.full((2, 2), 1e200, dtype=torch.float64), (2,))
    problem = Problem(graph, build(graph, [0]), "2", WholeSpace(), 0, NEVER, lambda _: None)
    forged = PieceRecord("autolip", 0, len(problem.network.nodes) - 1, 2 * value, norms=[NormRecord(1, 0, value)])
    with np.errstate(all="ignore"), pytest.raises(InvalidCertificate):
        check_piece(problem, forged)


def test_large_products_are_those_of_numpy_whatever_the_layout() -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((300, 170)), random.standard_normal((170, 260))
    frozen = b.copy()
    frozen.flags.writeable = False
    for left, right in ((a, b), (b.T, a.T), (a[::-1], b), (a, frozen), (a[:, :80], b[:80])):
        assert np.allclose(times(left, right), left @ right, rtol=1e-12, atol=1e-12)
    assert np.allclose(np.tril(lower_gram(a)), np.tril(a @ a.T), rtol=1e-12, atol=1e-12)
