"""Matrices with an error: a floating-point midpoint and, entry by entry, how far the exact matrix may be from it.

The certificate's check is done in these, in numpy, apart from the solver's arithmetic. Every operation adds its own
rounding to the radius: an inner product of n terms is off by gamma_n times that of the magnitudes, whatever the
order (N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.5). Radii are enlarged by `OUTWARD` each
time, which covers their own rounding; what underflows is covered by `TINY`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNIT = 2.0**-53
TINY = 2.0**-1000
"""Far above what underflow loses, far below what rounding does."""
OUTWARD = 1.0 + 2.0**-20


LARGE = 2.0**22
"""Multiplications that are worth more than one thread."""
ROWS = 128
"""Of a Gram matrix at a time."""


def times(left: Array, right: Array) -> Array:
    """left @ right; large ones by torch, as numpy's threads spin while they wait."""
    is_large = left.ndim == right.ndim == 2 and float(left.size) * right.shape[1] > LARGE
    if not (is_large and all(one.flags.writeable and min(one.strides) >= 0 for one in (left, right))):
        return np.asarray(left @ right)
    product: Array = torch.mm(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    return product


def lower_gram(matrix: Array) -> Array:
    """The lower triangle of A A^T, and zeros or entries of it above."""
    product = np.zeros((len(matrix), len(matrix)))
    for start in range(0, len(matrix), ROWS):
        end = start + ROWS
        product[start:end, :end] = times(matrix[start:end], matrix[:end].T)
    return product


def share(terms: int) -> float:
    """gamma_n, rounded up: the relative error of n roundings."""
    return OUTWARD * terms * UNIT / (1.0 - terms * UNIT)


@dataclass(frozen=True, eq=False)
class Ball:
    """The matrices within `radius` of `middle`, both `(m, n)`."""

    middle: Array
    radius: Array

    @classmethod
    def exact(cls, middle: Array) -> Ball:
        return cls(middle, np.zeros_like(middle))

    @property
    def transposed(self) -> Ball:
        return Ball(self.middle.T, self.radius.T)

    @property
    def magnitude(self) -> Array:
        """At least the absolute values of every matrix."""
        size: Array = np.abs(self.middle) + self.radius
        size *= OUTWARD
        return size

    def __matmul__(self, other: Ball) -> Ball:
        size = np.abs(self.middle)
        rounding = share(self.middle.shape[1] + 2) * times(size, np.abs(other.middle))
        spread = _product(size, other.radius) + _product(self.radius, other.magnitude)
        lost = TINY * np.outer(self._rows_that_count, other.transposed._rows_that_count)
        return Ball(times(self.middle, other.middle), (rounding + spread) * OUTWARD + lost)

    @property
    def _rows_that_count(self) -> Array:
        """1 for rows that are not exactly zero: what is multiplied with zeros underflows nowhere."""
        counts: Array = np.any((self.middle != 0.0) | (self.radius != 0.0), axis=1).astype(np.float64)
        return counts

    def gram_row_sums(self, scale: Array) -> Array:
        """What A A^T in floating point may be off by, for every matrix A of the ball: at least the row sums of
        diag(scale) times the matrix of these radii times diag(scale), without forming it. Entries are at most 1, scales
        at least 2^-60, so that `TINY` covers what underflows.
        """
        size = np.abs(self.middle)
        seen = size.T @ scale
        total = share(self.middle.shape[1] + 2) * (size @ seen)
        if self.radius.any():
            unsure = self.radius.T @ scale
            total = total + (size @ unsure + self.radius @ (seen + unsure)) * OUTWARD
        sums: Array = scale * (total * OUTWARD + TINY * float(scale.sum()))
        return sums * OUTWARD

    def __add__(self, other: Ball) -> Ball:
        middle = self.middle + other.middle
        return Ball(middle, (self.radius + other.radius + UNIT * np.abs(middle)) * OUTWARD)

    def __neg__(self) -> Ball:
        return Ball(-self.middle, self.radius)

    def rows(self, positions: Array | Sequence[int] | NDArray[np.intp]) -> Ball:
        return Ball(self.middle[positions], self.radius[positions])

    def scaled_rows(self, factors: Array) -> Ball:
        """diag(factors) times the matrix."""
        middle = self.middle * factors[:, None]
        radius = self.radius * np.abs(factors)[:, None] + UNIT * np.abs(middle)
        return Ball(middle, radius * OUTWARD + TINY)


def _product(left: Array, right: Array) -> Array | float:
    """left @ right; nothing where one of them is zero, which saves most of the work for exact matrices."""
    return times(left, right) if left.any() and right.any() else 0.0


def stacked(parts: Sequence[Ball]) -> Ball:
    """One below the other."""
    return Ball(np.concatenate([p.middle for p in parts]), np.concatenate([p.radius for p in parts]))
