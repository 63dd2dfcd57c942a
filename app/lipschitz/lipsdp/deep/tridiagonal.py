"""Block tridiagonal matrices, their inverses, and positive definite completions: all that a deep chain needs.

An inverse of a block tridiagonal matrix, and likewise the completion of largest determinant of given block
tridiagonal entries, is M = N D N^T with D block diagonal and N_ij = G_{i+1} ... G_j for i <= j. So M is known by
the `steps` G_k, the `pivots` D_k and its diagonal blocks, and every product below costs one pass along the chain
(M. Fukuda, M. Kojima, K. Murota, K. Nakata, SIAM J. Optim. 11 (2001)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tridiagonal:
    """A symmetric matrix: blocks (k, k), and (k, k - 1) `below` them."""

    diagonal: tuple[Tensor, ...]
    below: tuple[Tensor, ...]

    def plus(self, share: float, other: Tridiagonal) -> Tridiagonal:
        """The sum with `share` times another."""
        pairs = ((self.diagonal, other.diagonal), (self.below, other.below))
        diagonal, below = (tuple(torch.add(a, b, alpha=share) for a, b in zip(*pair, strict=True)) for pair in pairs)
        return Tridiagonal(diagonal, below)

    def times(self, share: float) -> Tridiagonal:
        """A multiple."""
        return Tridiagonal(tuple(share * a for a in self.diagonal), tuple(share * b for b in self.below))

    def inner(self, other: Tridiagonal) -> float:
        """The trace of the product."""
        on = sum(
            float(torch.vdot(a.flatten(), b.flatten())) for a, b in zip(self.diagonal, other.diagonal, strict=True)
        )
        off = sum(float(torch.vdot(a.flatten(), b.flatten())) for a, b in zip(self.below, other.below, strict=True))
        return on + 2.0 * off


@dataclass(frozen=True, eq=False)
class Semiseparable:
    """A positive definite matrix whose inverse is block tridiagonal."""

    diagonal: tuple[Tensor, ...]
    steps: tuple[Tensor, ...]
    pivots: tuple[Tensor, ...]

    def times(self, share: float) -> Semiseparable:
        """A multiple."""
        diagonal, pivots = (tuple(share * block for block in blocks) for blocks in (self.diagonal, self.pivots))
        return Semiseparable(diagonal, self.steps, pivots)

    @cached_property
    def near(self) -> Tridiagonal:
        """Its block tridiagonal entries."""
        pairs = zip(self.diagonal[1:], self.steps, strict=True)
        return Tridiagonal(self.diagonal, tuple(after @ step.T for after, step in pairs))


def inverse(matrix: Tridiagonal) -> Semiseparable | None:
    """The inverse of a positive definite matrix; None where it is not."""
    pivots, steps = [], []
    rest = matrix.diagonal[0]
    for k in range(len(matrix.diagonal)):
        factor, info = torch.linalg.cholesky_ex(rest)
        if int(info) != 0:
            return None
        pivots.append(torch.cholesky_inverse(factor))
        if k < len(matrix.below):
            below = matrix.below[k]
            steps.append(-torch.cholesky_solve(below.T, factor))
            rest = torch.addmm(matrix.diagonal[k + 1], below, steps[-1])
    diagonal = [pivots[-1]]
    for pivot, step in zip(pivots[-2::-1], steps[::-1], strict=True):
        diagonal.append(torch.addmm(pivot, step @ diagonal[-1], step.T))
    return Semiseparable(tuple(diagonal[::-1]), tuple(steps), tuple(pivots))


def is_positive(matrix: Tridiagonal) -> bool:
    """Whether a Cholesky factorisation goes through."""
    rest = matrix.diagonal[0]
    for k in range(len(matrix.diagonal)):
        factor, info = torch.linalg.cholesky_ex(rest)
        if int(info) != 0:
            return False
        if k < len(matrix.below):
            half = torch.linalg.solve_triangular(factor, matrix.below[k].T, upper=False)
            rest = torch.addmm(matrix.diagonal[k + 1], half.T, half, alpha=-1.0)
    return True


def completion(matrix: Tridiagonal) -> Semiseparable | None:
    """The positive definite matrix of largest determinant with these blocks; None where there is none."""
    pivots, steps = [], []
    for (before, after), below in zip(pairwise(matrix.diagonal), matrix.below, strict=True):
        factor, info = torch.linalg.cholesky_ex(after)
        if int(info) != 0:
            return None
        steps.append(torch.cholesky_solve(below, factor).T)
        pivots.append(torch.addmm(before, steps[-1], below, alpha=-1.0))
    pivots.append(matrix.diagonal[-1])
    if any(int(torch.linalg.cholesky_ex(pivot)[1]) != 0 for pivot in pivots):
        return None
    return Semiseparable(matrix.diagonal, tuple(steps), tuple(pivots))


def sandwich(z: Semiseparable, middle: Tridiagonal, x: Semiseparable) -> Tridiagonal:
    """The block tridiagonal entries of the symmetric part of Z M X.

    With Z = N_z D_z N_z^T and likewise X, `inner` are the diagonal blocks of N_z^T M N_x, whose other blocks follow
    from `right` and `left` by the steps alone.
    """
    inner, right, left = [middle.diagonal[0]], [], []
    for k, (g, h) in enumerate(zip(z.steps, x.steps, strict=True)):
        below = middle.below[k]
        right.append(torch.addmm(below.T, inner[-1], h))
        left.append(torch.addmm(below, g.T, inner[-1]))
        inner.append(torch.addmm(torch.addmm(middle.diagonal[k + 1], below, h), g.T, right[-1]))
    last = z.pivots[-1] @ inner[-1] @ x.pivots[-1]
    diagonal, beside = [last], []
    for k in reversed(range(len(z.steps))):
        g, h = z.steps[k], x.steps[k]
        above = z.pivots[k] @ right[k] @ x.diagonal[k + 1]
        under = z.diagonal[k + 1] @ left[k] @ x.pivots[k]
        after = diagonal[-1]
        above = torch.addmm(above, g, after)
        found = torch.addmm(above @ h.T, g, under)
        diagonal.append(found.addmm_(z.pivots[k] @ inner[k], x.pivots[k]))
        under = torch.addmm(under, after, h.T)
        beside.append((under + above.T) / 2.0)
    return Tridiagonal(tuple((d + d.T) / 2.0 for d in diagonal[::-1]), tuple(beside[::-1]))
