"""max ||A diag(s) B|| <= c over slopes l <= s <= u, checked: the box is cut into faces, and each face has a proof.

The norm is convex in s, so its maximum lies at a vertex, and a slope is at its low or at its high end: a tree of such
choices covers the box. A leaf is proved in one of two ways.

Multipliers m > 0, one a free slope. With s = centre + radius t, |t| <= 1, M = A diag(centre) B and unit vectors x, v

    v^T A diag(s) B x  <=  v^T M x + sum_j radius_j (m_j (B x)_j^2 + (A^T v)_j^2 / m_j) / 2  <=  lambda_max(K),
    K = [[B^T diag(radius m) B, M^T], [M, A diag(radius / m) A^T]],

so c I - K >= 0, proved by one Cholesky factorisation, proves the leaf: it is LipSDP's inequality for two layers [F19].
Vertices: all of them are tried, c^2 I - N N^T >= 0 for N = A diag(s) B, where there are few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .balls import OUTWARD, TINY, UNIT, Array, Ball, share, stacked
from .cholesky import is_positive
from .fields import InvalidCertificate
from .matrices import TooLarge
from .record import FaceRecord

MOST_VERTICES = 2**17
"""Of all leaves of a box together."""
LARGEST_SIDE = 6000
"""Of K."""
_UP = 1.0 + 8.0 * UNIT
"""Covers the rounding of two operations."""
UNDERFLOWN = 2.0**-1070
"""More than a product of two numbers loses below the smallest ones."""
_ENTRIES = 2**22
"""Entries of the matrices of one batch of vertices."""


@dataclass(frozen=True, eq=False)
class Face:
    """`outer` A `(p, n)` and `inner` B `(n, k)` with slopes between `lower` and `upper`, `(n,)` each."""

    outer: Ball
    inner: Ball
    lower: Array
    upper: Array

    @property
    def free(self) -> NDArray[np.intp]:
        """Positions of the slopes that can vary."""
        return np.flatnonzero(self.lower < self.upper)

    def halves(self, position: int) -> tuple[Face, Face]:
        """The two faces where one slope is at its lower and at its upper end."""
        low, high = self.upper.copy(), self.lower.copy()
        low[position], high[position] = self.lower[position], self.upper[position]
        return replace(self, upper=low), replace(self, lower=high)


def holds(box: Face, tree: Sequence[FaceRecord], constant: float) -> bool:
    """Whether the norm is certainly at most `constant` on the whole box; `tree` lists its nodes, each before its two
    halves, the lower half first. InvalidCertificate where the leaves do not make up the box.
    """
    side = box.outer.middle.shape[0] + box.inner.middle.shape[1]
    if side > LARGEST_SIDE:
        raise TooLarge(f"a pair of layers of side {side} exceeds the limit of {LARGEST_SIDE}")
    leaves = list(_leaves(box, tree))
    if sum(2 ** len(face.free) for face, leaf in leaves if leaf.multipliers is None) > MOST_VERTICES:
        raise InvalidCertificate("the faces without multipliers have too many vertices")
    return 0.0 < constant < math.inf and all(_leaf_holds(face, leaf, constant) for face, leaf in leaves)


def _leaves(box: Face, tree: Sequence[FaceRecord]) -> Iterator[tuple[Face, FaceRecord]]:
    """The leaves with their faces, once they are known to cover the box."""
    _check_tree(box, tree)
    waiting = [box]
    for one in tree:
        face = waiting.pop()
        if one.split is None:
            yield face, one
        else:
            waiting += reversed(face.halves(one.split))


def _check_tree(box: Face, tree: Sequence[FaceRecord]) -> None:
    """Two children a split, and none of a slope that the certificate does not know."""
    missing = 1
    for one in tree:
        if missing == 0:
            raise InvalidCertificate("faces are left over")
        missing += -1 if one.split is None else 1
        if one.split is not None and one.split >= len(box.lower):
            raise InvalidCertificate(f"there is no slope {one.split} to split at")
    if missing:
        raise InvalidCertificate("faces are missing: the slopes' box is not covered")


def _leaf_holds(face: Face, leaf: FaceRecord, constant: float) -> bool:
    if leaf.multipliers is None:
        return _vertices_hold(face, constant)
    if len(leaf.multipliers) != len(face.free):
        raise InvalidCertificate(f"a face with {len(face.free)} free slopes has {len(leaf.multipliers)} multipliers")
    return _multipliers_hold(face, np.array(leaf.multipliers, dtype=np.float64), constant)


def _multipliers_hold(face: Face, multipliers: Array, constant: float) -> bool:
    """c I - K >= 0."""
    centre = face.lower / 2.0 + face.upper / 2.0
    radius = np.maximum(face.upper - centre, centre - face.lower) * _UP
    free = face.free
    before = radius[free] * multipliers
    after = (radius[free] / before + UNDERFLOWN) * radius[free] * _UP + UNDERFLOWN
    inner, outer = face.inner.rows(free), face.outer.transposed.rows(free)
    first = inner.transposed @ inner.scaled_rows(before)
    last = outer.transposed @ outer.scaled_rows(after)
    corner = face.outer @ _around(face, free, centre, radius)
    above = stacked([first, corner]).transposed
    below = stacked([corner.transposed, last]).transposed
    return is_positive(Ball.exact(constant * np.eye(len(first.middle) + len(last.middle))) + -stacked([above, below]))


def _around(face: Face, free: NDArray[np.intp], centre: Array, radius: Array) -> Ball:
    """diag(s) B for the fixed slopes, diag(centre) B for the free ones; the middle of two equal ends may be rounded."""
    inner = face.inner.scaled_rows(centre)
    spread = radius.copy()
    spread[free] = 0.0
    return Ball(inner.middle, inner.radius + spread[:, None] * face.inner.magnitude * OUTWARD)


def _vertices_hold(face: Face, constant: float) -> bool:
    """Every vertex, in batches; entries of all products are off by less than `off` in the Frobenius norm."""
    _, exponent = math.frexp(constant)
    outer = face.outer if len(face.outer.middle) <= face.inner.middle.shape[1] else face.inner.transposed
    inner = face.inner if outer is face.outer else face.outer.transposed
    reach = np.maximum(np.abs(face.lower), np.abs(face.upper))
    size = outer.magnitude * reach @ inner.magnitude
    spread = outer.radius * reach @ inner.magnitude + outer.magnitude * reach @ inner.radius
    spread = spread + UNDERFLOWN * inner.magnitude.sum(axis=0)  # what an entry times a slope may lose, times the rest
    entries = np.ldexp((share(len(reach) + 4) * size + spread + TINY) * OUTWARD, -exponent)
    off = float(np.sqrt(np.square(entries).sum())) * (1.0 + share(entries.size + 4))
    level = math.ldexp(constant, -exponent) * (1.0 - 4.0 * UNIT) - off * OUTWARD
    count = max(1, _ENTRIES // (outer.middle.size + size.size))
    return level > 0.0 and all(
        _norms_hold(np.ldexp((outer.middle * slopes[:, None]) @ inner.middle, -exponent), level)
        for slopes in _vertices(face, count)
    )


def _vertices(face: Face, count: int) -> Iterator[Array]:
    """All vertices, `(b, n)` with b up to `count`."""
    free = face.free
    for first in range(0, 2 ** len(free), count):
        codes = np.arange(first, min(first + count, 2 ** len(free)))
        slopes = np.tile(face.lower, (len(codes), 1))
        bits = (codes[:, None] >> np.arange(len(free))) & 1
        slopes[:, free] = np.where(bits == 1, face.upper[free], face.lower[free])
        yield slopes


def _norms_hold(matrices: Array, level: float) -> bool:
    """Whether ||N||_2 <= level, at most 1, for every N of `(b, p, k)`: level^2 I - N N^T has a Cholesky factor even
    when lowered by all that its rounding can amount to (see `cholesky`), of which N N^T has its share of ||N||_F^2.
    """
    squares = np.square(matrices).sum((1, 2))
    p, k = matrices.shape[1:]
    if not bool((squares <= 2.0 * p).all()):
        return False
    relative = share(2 * (p + 4))
    lowered = OUTWARD * (relative / (1.0 - relative) * p + share(k + 2) * 3.0 * p + 8.0 * UNIT)
    defects = -(matrices @ matrices.transpose(0, 2, 1))
    defects[:, np.arange(p), np.arange(p)] += level * level - lowered
    try:
        factors = np.linalg.cholesky(defects)
    except np.linalg.LinAlgError:
        return False
    return bool(np.isfinite(factors).all())
