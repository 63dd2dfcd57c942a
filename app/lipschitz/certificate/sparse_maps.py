"""Linear maps as sparse matrices, each with a bound of its distance to the exact map in the 2-norm.

The entries are those that the graph stores; products and sums of them are formed here, and their rounding is counted
as in `balls`: an inner product of n terms is off by gamma_n times that of the magnitudes.

A product knows its factors. With M_j = A_j M_j-1 + F_j computed for the exact (A_j + E_j) P_j-1, it is off by the sum
of (A_k + E_k) ... (A_j+1 + E_j+1) (F_j - E_j M_j-1): norms of what follows, in which entries cancel as they do in
networks, in place of products of norms of the factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..operators.base import LinearOperator
from ..operators.composite import Adjoint, Composed, Stack, Sum
from .balls import OUTWARD, TINY, Array, share
from .matrices import TooLarge
from .sparse_leaves import MOST_ENTRIES, entries

UNDERFLOWN = 1e-150
"""More than a Frobenius norm loses whose squares underflow."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor A_j within `error` of the exact one, and `lost`, what the product up to it is off by on its account."""

    matrix: sp.csr_array
    error: float
    lost: float


@dataclass(frozen=True, eq=False)
class Map:
    """The maps within `error`, in the 2-norm, of `matrix`, a CSR array `(m, n)`; its `factors`, innermost first."""

    matrix: sp.csr_array
    error: float = 0.0
    factors: tuple[Factor, ...] = ()

    @cached_property
    def norm(self) -> float:
        """At least the 2-norm of the matrix: the root of its largest column sum times its largest row sum."""
        return _norm(abs(self.matrix))

    @property
    def transposed(self) -> Map:
        return Map(self.matrix.T.tocsr(), self.error)

    def __matmul__(self, other: Map) -> Map:
        _check_product(self.matrix, other.matrix)
        terms = share(_longest(self.matrix) + 2)
        sizes = abs(self.matrix), abs(other.matrix)
        ones = np.ones(sizes[1].shape[1]), np.ones(sizes[0].shape[0])
        rows, columns = sizes[0] @ (sizes[1] @ ones[0]), (ones[1] @ sizes[0]) @ sizes[1]
        rounding = terms * _root(rows, columns) + TINY * self.matrix.shape[0]
        spread = self.norm * other.error + self.error * (other.norm + other.error)
        lost = (rounding + self.error * other.norm) * OUTWARD
        product = (self.matrix @ other.matrix).tocsr()
        return Map(product, (rounding + spread) * OUTWARD)._after(other, Factor(self.matrix, self.error, lost))

    def _after(self, inner: Map, factor: Factor) -> Map:
        """This product of a factor and an inner map, off by no more than its factors tell."""
        before = inner.factors or (Factor(inner.matrix, 0.0, inner.error),)
        factors = (*before, factor)
        return Map(self.matrix, min(self.error, _followed(factors)) if self.error else 0.0, factors)

    def __add__(self, other: Map) -> Map:
        total = (self.matrix + other.matrix).tocsr()
        return Map(total, (self.error + other.error + share(2) * _norm(abs(total))) * OUTWARD)

    def rows(self, positions: NDArray[np.intp]) -> Map:
        chosen = sp.csr_array(
            (np.ones(len(positions)), (np.arange(len(positions)), positions)),
            shape=(len(positions), self.matrix.shape[0]),
        )
        return Map(self.matrix[positions], self.error)._after(self, Factor(chosen, 0.0, 0.0))

    def times_range(self, lower: Array, upper: Array) -> Map:
        """diag(s) times the map, for all s in the range."""
        if not (lower.any() or upper.any()):
            return Map(sp.csr_array(self.matrix.shape))
        centre = lower / 2.0 + upper / 2.0
        reach = float((np.maximum(upper - centre, centre - lower) * OUTWARD).max(initial=0.0))
        scaled = (sp.diags_array(centre) @ self.matrix).tocsr()
        scaled.eliminate_zeros()
        most = float(np.abs(centre).max(initial=0.0)) + reach
        lost = ((reach + share(2) * most) * self.norm + TINY) * OUTWARD
        factor = Factor(sp.diags_array(centre, format="csr"), reach, lost)
        return Map(scaled, (lost + most * self.error) * OUTWARD)._after(self, factor)


def map_of(operator: LinearOperator) -> Map:
    """The operator's sparse matrix, `(m, n)`; TooLarge where it has too many entries."""
    if isinstance(operator, Composed):
        *outer, product = (map_of(part) for part in operator.parts)
        for part in reversed(outer):
            product = part @ product
        return product
    if isinstance(operator, Sum):
        total, *others = (map_of(part) for part in operator.parts)
        for other in others:
            total = total + other
        return total
    if isinstance(operator, Stack):
        return stacked([map_of(part) for part in operator.parts])
    if isinstance(operator, Adjoint):
        return map_of(operator.operator).transposed
    return Map(entries(operator), operator.error)


def stacked(parts: Sequence[Map]) -> Map:
    """One below the other."""
    if len(parts) == 1:
        return parts[0]
    error = float(np.sqrt(sum(part.error**2 for part in parts))) * OUTWARD + TINY * any(part.error for part in parts)
    return Map(sp.vstack([part.matrix for part in parts], format="csr"), error)


def product_work(left: sp.csr_array, right: sp.csr_array) -> int:
    """Multiplications of a product: entries of the right matrix that meet one of the left."""
    return int(np.diff(right.indptr)[left.indices].sum())


def _check_product(left: sp.csr_array, right: sp.csr_array) -> None:
    """TooLarge where the product may have too many entries."""
    entries = product_work(left, right)
    if min(entries, left.shape[0] * right.shape[1]) > MOST_ENTRIES:
        raise TooLarge(f"a product of sparse matrices takes {entries} multiplications")


def _followed(factors: Sequence[Factor]) -> float:
    """What a product is off by: what each factor has lost, times the norm of all that follow."""
    y = sp.eye_array(factors[-1].matrix.shape[0], format="csr")
    away = total = 0.0
    for i, factor in reversed(list(enumerate(factors))):
        size = min(_norm(abs(y)), float(np.sqrt(np.square(y.data).sum())) * OUTWARD + UNDERFLOWN)
        total += (size + away) * factor.lost
        if i == 0 or product_work(y, factor.matrix) > MOST_ENTRIES:
            return total * OUTWARD if i == 0 else np.inf
        rows, columns = abs(y) @ (abs(factor.matrix) @ np.ones(factor.matrix.shape[1])), _columns(y, factor.matrix)
        own = share(_longest(y) + 2) * _root(rows, columns) + TINY * y.shape[0]
        away = (away * (_norm(abs(factor.matrix)) + factor.error) + size * factor.error + own) * OUTWARD
        y = (y @ factor.matrix).tocsr()
    return np.inf


def _columns(left: sp.csr_array, right: sp.csr_array) -> Array:
    """Column sums of the product of the magnitudes."""
    sums: Array = (np.ones(left.shape[0]) @ abs(left)) @ abs(right)
    return sums


def _longest(matrix: sp.csr_array) -> int:
    """Entries of the longest row."""
    return int(np.diff(matrix.indptr).max(initial=0))


def _norm(sizes: sp.csr_array) -> float:
    """At least the 2-norm of a matrix without negative entries."""
    rows, columns = sizes @ np.ones(sizes.shape[1]), np.ones(sizes.shape[0]) @ sizes
    return _root(rows, columns) * (1.0 + share(max(sizes.shape) + 2))


def _root(rows: Array, columns: Array) -> float:
    """The root of a product of two maxima, rounded up."""
    return float(np.sqrt(rows.max(initial=0.0))) * float(np.sqrt(columns.max(initial=0.0))) * OUTWARD
