"""The identity on flat vectors, under two names of one shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from .base import LinearOperator


@dataclass(frozen=True, eq=False)
class Reshape(LinearOperator):
    """x -> x with another shape of the same size; ValueError when the sizes differ."""

    def __post_init__(self) -> None:
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ValueError(f"cannot reshape {self.in_shape} to {self.out_shape}")

    @property
    def depth(self) -> int:
        return 0

    def absolute_sums(self) -> tuple[float, float]:
        """Ones: every row and column holds a single 1."""
        return 1.0, 1.0

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, n)`, unchanged."""
        return x

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, n)` -> `(B, n)`, unchanged."""
        return y

    def majorant(self) -> LinearOperator:
        return self
