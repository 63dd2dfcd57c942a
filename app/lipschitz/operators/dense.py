"""Matrices that act on the last dimension, or one matrix for each entry of the first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .base import LinearOperator
from .weights import largest_sum, require_finite


@dataclass(frozen=True, eq=False)
class Dense(LinearOperator):
    """y = M x along the last dimension: a block diagonal operator with repeated blocks.

    `matrix` is `(o, i)`, for `in_shape` `(*batch, i)` and `out_shape` `(*batch, o)`; or `(b, o, i)`, one
    matrix for each index of the first dimension of `in_shape` `(b, *rows, i)`. ValueError if they disagree.
    """

    matrix: Tensor
    error: float = 0.0

    def __post_init__(self) -> None:
        require_finite(self.matrix, "Dense")
        *blocks, o, i = self.matrix.shape
        batch = self.in_shape[:-1]
        fits = self.in_shape == (*batch, i) and self.out_shape == (*batch, o)
        if not fits or len(blocks) > 1 or tuple(blocks) != tuple(batch[: len(blocks)]):
            raise ValueError(f"matrix {tuple(self.matrix.shape)}: {self.in_shape} -> {self.out_shape}")

    @property
    def device(self) -> torch.device:
        """Where the matrix lives."""
        return self.matrix.device

    @property
    def depth(self) -> int:
        """Length of the longer inner product."""
        return max(self.matrix.shape[-2:])

    def absolute_sums(self) -> tuple[float, float]:
        """Largest column and row sums of |M|."""
        return largest_sum(self.matrix, (-2,)), largest_sum(self.matrix, (-1,))

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, m)`."""
        return self._apply(self.matrix.mT, x)

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, m)` -> `(B, n)`."""
        return self._apply(self.matrix, y)

    def _apply(self, right: Tensor, x: Tensor) -> Tensor:
        rows = x.reshape(x.shape[0], *right.shape[:-2], -1, right.shape[-2])
        return (rows @ right).flatten(1)

    def as_matrix(self) -> Tensor:
        """The stored matrix itself where it acts once."""
        once = self.in_size == self.matrix.shape[-1]
        return self.matrix.reshape(self.out_size, self.in_size) if once else super().as_matrix()

    def majorant(self) -> LinearOperator:
        """The matrix of absolute values."""
        return replace(self, matrix=self.matrix.abs(), error=0.0)
