"""Nodes that multiply two values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .nodes import Node


@dataclass(frozen=True, eq=False)
class Product(Node):
    """`left * right`, entry by entry."""

    left: Node
    right: Node

    @property
    def sources(self) -> tuple[Node, ...]:
        return self.left, self.right

    def apply(self, *values: Tensor) -> Tensor:
        return values[0] * values[1]


@dataclass(frozen=True, eq=False)
class MatrixProduct(Node):
    """`left @ right` for `b` pairs of matrices, `(b, n, k)` and `(b, k, m)`; `sizes` is (b, n, k, m).

    `stochastic`: the rows of `left` come out of a softmax, so they are non-negative and add up to one.
    """

    left: Node
    right: Node
    sizes: tuple[int, int, int, int]
    stochastic: bool = False

    @property
    def sources(self) -> tuple[Node, ...]:
        return self.left, self.right

    def factors(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Flat values `(B, *)` as matrices `(B, b, n, k)` and `(B, b, k, m)`."""
        b, n, k, m = self.sizes
        return left.reshape(-1, b, n, k), right.reshape(-1, b, k, m)

    def apply(self, *values: Tensor) -> Tensor:
        left, right = self.factors(*values)
        return (left @ right).flatten(1)
