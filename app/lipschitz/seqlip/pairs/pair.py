"""Two layers with an activation between: max of ||A diag(s) B||_2 over the slopes l <= s <= u [VS18, section 5]."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...operators.dense_norm import Bracket, spectral_norm
from ...operators.rounding import gamma, up_add, up_mul, widened

UNDERFLOW = 2.0**-800
"""More than underflow loses in A diag(s) B and in the lengths of columns and rows, for norms of at most 1e60."""
_FARTHEST = 1e100
"""Multipliers stay within this and its inverse."""
_NARROW = 1e-7
"""Ranges of slopes below this share of the largest slope."""


@dataclass(frozen=True, eq=False)
class Pair:
    """`outer` A is `(p, n)`, `inner` B `(n, k)`, `lower` and `upper` are `(n,)`; the numbers count as exact.

    The norm is convex in s, so the maximum sits at a vertex of the box.
    """

    outer: Tensor
    inner: Tensor
    lower: Tensor
    upper: Tensor

    @property
    def width(self) -> int:
        """Number of slopes, n."""
        return len(self.lower)

    @cached_property
    def free(self) -> Tensor:
        """Positions of the slopes that can vary, `(f,)`."""
        return torch.nonzero(self.upper > self.lower).squeeze(1)

    @cached_property
    def reach(self) -> Tensor:
        """Largest |s_j| of every slope, `(n,)`."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    @property
    def alive(self) -> Tensor:
        """Which slopes are not always 0, `(n,)`."""
        return self.reach > 0

    def multipliers(self, t: Tensor, width: Tensor) -> Tensor:
        """Multipliers m as they are, `(b, n)`, for slopes of ranges `width`; ||a_j|| / ||b_j|| where a range is next
        to nothing and says nothing about m, and far out for neurons that read nothing or that nothing reads.
        """
        columns, rows = torch.linalg.vector_norm(self.outer, dim=0), torch.linalg.vector_norm(self.inner, dim=1)
        balanced = torch.where(rows > 0.0, columns / rows.clamp(min=1.0 / _FARTHEST), _FARTHEST)
        known = (width > _NARROW * self.reach) & (columns > 0.0) & (rows > 0.0)
        return torch.where(known, t, balanced).clamp(1.0 / _FARTHEST, _FARTHEST)

    @cached_property
    def rounding(self) -> float:
        """Bound on ||fl(A diag(s) B) - A diag(s) B||_2: gamma_{n+1} times the sum of reach_j ||a_j|| ||b_j||."""
        columns = torch.linalg.vector_norm(self.outer, dim=0)
        rows = torch.linalg.vector_norm(self.inner, dim=1)
        total = float((columns * rows * self.reach).sum())
        lost = up_mul(gamma(self.width + 2), widened(total, sum(self.outer.shape) + sum(self.inner.shape) + 6))
        return up_add(lost, UNDERFLOW)

    def matrices(self, slopes: Tensor) -> Tensor:
        """A diag(s) B for every row of `(b, n)`: `(b, p, k)`."""
        return (self.outer * slopes[:, None, :]) @ self.inner

    def values(self, slopes: Tensor) -> Tensor:
        """The norms in float64, neither upper nor lower bounds: `(b, n)` -> `(b,)`."""
        norms: Tensor = torch.linalg.matrix_norm(self.matrices(slopes), 2)
        return norms

    def bracket(self, slopes: Tensor) -> Bracket:
        """Certified and witnessed value of the largest norm over the rows of `(b, n)`."""
        upper, lower = spectral_norm(self.matrices(slopes))
        return Bracket(up_add(upper, self.rounding), max(0.0, lower - 2.0 * self.rounding))

    def transposed(self) -> Pair:
        """The pair of the transposed product, with the same norms."""
        return replace(self, outer=self.inner.mT, inner=self.outer.mT)

    def narrow(self) -> Pair:
        """The pair itself or its transpose, whichever has the smaller input."""
        return self if self.inner.shape[1] <= self.outer.shape[0] else self.transposed()

    def steepest(self) -> Tensor:
        """The vertex with the largest |s_j| everywhere: all ones for ReLU."""
        return torch.where(self.upper.abs() >= self.lower.abs(), self.upper, self.lower)

    def flipped(self, slopes: Tensor) -> Tensor:
        """Every slope of a vertex `(..., n)` at its other end."""
        return torch.where(slopes == self.upper, self.lower, self.upper)


def alive(pair: Pair) -> Pair:
    """The pair without the neurons whose slope is always 0."""
    kept = pair.alive
    if bool(kept.all()):
        return pair
    return Pair(pair.outer[:, kept], pair.inner[kept], pair.lower[kept], pair.upper[kept])
