"""A box of slopes that counts as proved is so at every vertex in rational numbers; factors give back the matrix."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.certificate import faces
from app.lipschitz.certificate.balls import Ball
from app.lipschitz.certificate.faces import Face, holds
from app.lipschitz.certificate.factors import first_factor, last_factor, middle_factors
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.matrices import TooLarge
from app.lipschitz.certificate.record import FaceRecord
from tests.lipschitz.certificate.test_arithmetic import difference, drawn, product, rational, transposed
from tests.lipschitz.certificate.test_arithmetic import holds as inside
from tests.lipschitz.lipsdp.test_proof import is_positive as is_positive_exactly

SHIFTS = st.sampled_from([-1e-9, -1e-12, -1e-14, 0.0, 1e-14, 1e-12, 1e-9])
ENDS = ["relu", "gelu", "own"]


def drawn_box(seed: int, p: int, n: int, k: int, ends: str = "relu") -> Face:
    rng = np.random.default_rng(seed)
    lower, upper = np.zeros(n), np.ones(n)
    if ends == "gelu":
        lower, upper = lower - 0.13, upper + 0.13
    if ends == "own":
        lower, upper = np.sort(rng.normal(size=(2, n)), axis=0)
        upper[0] = lower[0]
    return Face(Ball.exact(rng.normal(size=(p, n))), Ball.exact(rng.normal(size=(n, k))), lower, upper)


def vertices(box: Face) -> list[np.ndarray]:
    return [np.array(s) for s in itertools.product(*({*ends} for ends in zip(box.lower, box.upper, strict=True)))]


def greatest(box: Face) -> float:
    return max(float(np.linalg.norm((box.outer.middle * s) @ box.inner.middle, 2)) for s in vertices(box))


def is_below_exactly(box: Face, constant: float) -> bool:
    """c^2 I - N N^T is positive at every vertex."""
    outer, inner = rational(box.outer.middle), rational(box.inner.middle)
    for slopes in vertices(box):
        scaled = [[x * Fraction(float(s)) for x, s in zip(row, slopes, strict=True)] for row in outer]
        matrix = product(scaled, inner)
        square = product(matrix, transposed(matrix))
        level = [[Fraction(constant) ** 2 * (i == j) for j in range(len(square))] for i in range(len(square))]
        if not is_positive_exactly(difference(level, square)):
            return False
    return True


def eigenvalue(box: Face, multipliers: np.ndarray) -> float:
    """The largest of the matrix K that `faces` describes."""
    a, b = box.outer.middle, box.inner.middle
    centre, radius = (box.lower + box.upper) / 2, (box.upper - box.lower) / 2
    m = np.ones(len(radius))
    m[box.free] = multipliers
    corner = (a * centre) @ b
    whole = np.block([[(b.T * (radius * m)) @ b, corner.T], [corner, (a * (radius / m)) @ a.T]])
    return float(np.linalg.eigvalsh(whole)[-1])


sizes = st.tuples(st.integers(1, 3), st.integers(2, 4), st.integers(1, 3))


@given(sizes, st.integers(0, 10**6), st.sampled_from(ENDS), SHIFTS)
def test_vertices_that_hold_do_so_exactly(size: tuple[int, int, int], seed: int, ends: str, shift: float) -> None:
    box = drawn_box(seed, *size, ends)
    constant = greatest(box) * (1 + shift)
    if holds(box, [FaceRecord()], constant):
        assert is_below_exactly(box, constant)
    else:
        assert shift < 1e-12


@given(sizes, st.integers(0, 10**6), st.sampled_from(ENDS), SHIFTS)
def test_multipliers_that_hold_do_so_exactly(size: tuple[int, int, int], seed: int, ends: str, shift: float) -> None:
    box = drawn_box(seed, *size, ends)
    multipliers = np.exp(np.random.default_rng(seed + 1).normal(size=len(box.free)))
    constant = eigenvalue(box, multipliers) * (1 + shift)
    if holds(box, [FaceRecord(multipliers=multipliers.tolist())], constant):
        assert is_below_exactly(box, constant)
        assert shift > -1e-12
    else:
        assert shift < 1e-12


@given(st.integers(0, 10**6), st.sampled_from(ENDS), st.sampled_from([1e-9, 1e-3]))
def test_radii_of_the_matrices_count(seed: int, ends: str, share: float) -> None:
    box = drawn_box(seed, 3, 4, 2, ends)
    outer, inner = (Ball(m.middle, share * np.abs(m.middle)) for m in (box.outer, box.inner))
    wide = Face(outer, inner, box.lower, box.upper)
    worst = greatest(Face(Ball.exact(outer.middle * (1 + share)), inner, box.lower, box.upper))
    leaf = FaceRecord(multipliers=[1.0] * len(box.free))
    assert not holds(wide, [FaceRecord()], worst * (1 + share) * (1 - 1e-12))
    assert not holds(wide, [leaf], eigenvalue(box, np.ones(len(box.free))) * (1 + share))
    assert holds(wide, [FaceRecord()], greatest(box) * (1 + 100 * share))


SPLIT = FaceRecord(split=1)
LEAF = FaceRecord()


def test_a_tree_says_no_more_than_its_leaves() -> None:
    box = drawn_box(3, 2, 4, 3)
    constant = greatest(box) * (1 + 1e-12)
    halves = [greatest(half) for half in box.halves(1)]
    assert max(halves) == pytest.approx(greatest(box))
    assert holds(box, [SPLIT, LEAF, LEAF], constant)
    assert holds(box, [SPLIT, LEAF, FaceRecord(split=3), LEAF, LEAF], constant)
    assert not holds(box, [SPLIT, LEAF, LEAF], constant * (1 - 1e-9))


def test_each_leaf_stands_for_its_own_half() -> None:
    """Multipliers that prove the lower half do not prove the upper one."""
    box = drawn_box(8, 2, 5, 3)
    low, high = box.halves(1)
    multipliers = [np.ones(4), np.full(4, 0.5)]
    values = [eigenvalue(half, m) for half, m in zip((low, high), multipliers, strict=True)]
    leaves = [FaceRecord(multipliers=m.tolist()) for m in multipliers]
    swapped = [eigenvalue(half, m) for half, m in zip((high, low), multipliers, strict=True)]
    constant = max(values) * (1 + 1e-12)
    assert max(swapped) > constant
    assert holds(box, [SPLIT, *leaves], constant)
    assert not holds(box, [SPLIT, *reversed(leaves)], constant)


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ([], "missing"),
        ([SPLIT, LEAF], "missing"),
        ([SPLIT], "missing"),
        ([LEAF, LEAF], "left over"),
        ([SPLIT, LEAF, LEAF, LEAF], "left over"),
        ([FaceRecord(split=4), LEAF, LEAF], "no slope 4"),
        ([FaceRecord(multipliers=[1.0] * 3)], "3 multipliers"),
        ([SPLIT, FaceRecord(multipliers=[1.0] * 4), LEAF], "3 free slopes"),
    ],
)
def test_trees_that_do_not_cover_the_box(tree: list[FaceRecord], reason: str) -> None:
    with pytest.raises(InvalidCertificate, match=reason):
        holds(drawn_box(0, 2, 4, 2), tree, 1e9)


def test_too_many_vertices_are_not_tried() -> None:
    with pytest.raises(InvalidCertificate, match="vertices"):
        holds(drawn_box(0, 2, 18, 2), [LEAF], 1e9)
    with pytest.raises(InvalidCertificate, match="vertices"):
        holds(drawn_box(0, 2, 60, 2), [FaceRecord(split=0), LEAF, LEAF], 1e9)


def test_too_large_a_matrix_is_not_factorised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "LARGEST_SIDE", 4)
    with pytest.raises(TooLarge):
        holds(drawn_box(0, 3, 2, 2), [LEAF], 1e9)


@pytest.mark.parametrize("constant", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("leaf", [LEAF, FaceRecord(multipliers=[1.0] * 4)])
def test_constants_that_are_none(leaf: FaceRecord, constant: float) -> None:
    assert not holds(drawn_box(0, 2, 4, 2), [leaf], constant)


@pytest.mark.parametrize("wrong", [0.0, 1e-320, 1e308, float("nan"), float("inf")])
def test_multipliers_that_are_none(wrong: float) -> None:
    with np.errstate(all="ignore"):
        assert not holds(drawn_box(0, 2, 4, 2), [FaceRecord(multipliers=[1.0, 1.0, wrong, 1.0])], 1e9)


@pytest.mark.parametrize("exponent", [-150, -40, 40, 150])
def test_any_scale(exponent: int) -> None:
    box = drawn_box(5, 3, 4, 2)
    scaled = Face(Ball.exact(np.ldexp(box.outer.middle, exponent)), box.inner, box.lower, box.upper)
    constant = np.ldexp(greatest(box) * (1 + 1e-12), exponent)
    assert holds(scaled, [LEAF], constant)
    assert not holds(scaled, [LEAF], constant * (1 - 1e-9))


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_middle_factors_give_back_the_matrix(seed: int, m: int, n: int) -> None:
    matrix = drawn(seed, m, n, decades=2)
    left, right = middle_factors(Ball.exact(matrix))
    exact, other = (left, right) if m <= n else (right.transposed, left.transposed)
    target = matrix if m <= n else matrix.T
    assert not exact.radius.any()
    assert inside(other, solved(rational(exact.middle), rational(target)))
    assert (other.radius <= 1e-9 * np.abs(other.middle).max()).all()


def solved(a: list[list[Fraction]], b: list[list[Fraction]]) -> list[list[Fraction]]:
    """a^-1 b by elimination."""
    rows = [[*left, *right] for left, right in zip(a, b, strict=True)]
    for k in range(len(a)):
        pivot = next(i for i in range(k, len(a)) if rows[i][k] != 0)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(len(a)):
            if i != k:
                rows[i] = [x - rows[i][k] * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [row[len(a) :] for row in rows]


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6))
def test_end_factors_cover_the_matrix(seed: int, m: int, n: int) -> None:
    matrix = drawn(seed, m, n, decades=1)
    for factor, target in (
        (first_factor(Ball.exact(matrix)), matrix),
        (last_factor(Ball.exact(matrix.T)).transposed, matrix),
    ):
        assert factor.middle.shape == (m, min(m, n))
        cover, gram = (product(one, transposed(one)) for one in (rational(factor.middle), rational(target)))
        if m < n:
            assert is_positive_exactly(difference(cover, gram))
        else:
            assert cover == gram


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.full((2, 3), np.nan)])
def test_matrices_without_factors_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(InvalidCertificate):
        middle_factors(Ball.exact(matrix))
